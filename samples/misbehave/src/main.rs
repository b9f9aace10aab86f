//! A server that does, by request path, what a gateway has to survive.
//!
//! It exists to test limits and failure handling: a guest may hang, crash, exhaust memory, leave in the middle of a
//! response or not speak HTTP at all. It keeps connections open as the client wishes, so that these things can also
//! happen to a later request.
//!
//! | Path | What happens |
//! |---|---|
//! | `/ok` | `ok` |
//! | `/count` | how many responses this instance has begun, this one included: 1 in a fresh instance |
//! | `/log` | one line on stdout, one on stderr, then `ok` |
//! | `/big`, `/chunked` | 3 MiB, with a length or chunked: byte number i is i modulo 251 |
//! | `/204`, `/304` | these statuses, without a body |
//! | `/early` | `early`, and the connection is closed before the request's body is read |
//! | `/loop` | computes for ever |
//! | `/alloc` | allocates, and writes to, memory for ever |
//! | `/silent` | reads for ever, answers nothing |
//! | `/close` | closes the connection without an answer |
//! | `/trap` | traps |
//! | `/panic` | panics: a message on stderr, then a trap |
//! | `/exit` | exits with code 3 |
//! | `/garbage` | bytes that are not HTTP, and the connection is closed |
//! | `/partial` | announces 100 bytes, sends 10 and traps |
//!
//! Listens on 1236. HEAD is answered like GET, without the body.

mod connection;
mod request;

use std::arch::wasm32;
use std::hint;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};

use connection::Connection;
use request::{Body, Request};
use wasmedge_wasi_socket::TcpListener;

static BEGUN: AtomicU32 = AtomicU32::new(0);

fn main() -> io::Result<()> {
    let listener = TcpListener::bind("0.0.0.0:1236", false)?;
    loop {
        let (stream, _) = listener.accept(false)?;
        // A client which breaks off is daily business here, and logging it would blur what `/log` writes.
        let _ = serve(&mut Connection::new(stream));
    }
}

fn serve(connection: &mut Connection) -> io::Result<()> {
    while let Some(mut request) = connection.read_head()? {
        act(connection, &mut request)?;
        if !request.keep_alive {
            break;
        }
    }
    Ok(())
}

fn act(connection: &mut Connection, request: &mut Request) -> io::Result<()> {
    match request.path.as_str() {
        "/early" => {
            request.keep_alive = false;
            return answer(connection, request, "200 OK", "early\n");
        }
        "/silent" => return connection.drain(&Body::UntilClosed),
        _ => connection.drain(&request.body)?,
    }

    match request.path.as_str() {
        "/ok" => answer(connection, request, "200 OK", "ok\n"),
        "/count" => {
            let count = BEGUN.load(Ordering::Relaxed) + 1;
            answer(connection, request, "200 OK", &format!("{count}\n"))
        }
        "/log" => {
            println!("a line on stdout");
            eprintln!("a line on stderr");
            answer(connection, request, "200 OK", "ok\n")
        }
        "/big" => big(connection, request),
        "/chunked" => chunked(connection, request),
        "/204" => head(connection, request, "204 No Content", ""),
        "/304" => head(connection, request, "304 Not Modified", "ETag: \"prewasm\"\r\n"),
        "/loop" => compute_for_ever(),
        "/alloc" => allocate_for_ever(),
        "/close" => {
            request.keep_alive = false;
            Ok(())
        }
        "/trap" => wasm32::unreachable(),
        "/panic" => panic!("asked to panic"),
        "/exit" => std::process::exit(3),
        "/garbage" => {
            request.keep_alive = false;
            connection.send(b"\x16\x03\x01 this is not HTTP\n\n")
        }
        "/partial" => {
            head(connection, request, "200 OK", "Content-Length: 100\r\n")?;
            connection.send(b"0123456789")?;
            wasm32::unreachable()
        }
        _ => answer(connection, request, "404 Not Found", "not found\n"),
    }
}

fn answer(connection: &mut Connection, request: &Request, status: &str, body: &str) -> io::Result<()> {
    let length = body.len();
    head(connection, request, status, &format!("Content-Type: text/plain\r\nContent-Length: {length}\r\n"))?;
    if request.wants_body { connection.send(body.as_bytes()) } else { Ok(()) }
}

/// Sends status line and headers. `fields` are whole lines.
fn head(connection: &mut Connection, request: &Request, status: &str, fields: &str) -> io::Result<()> {
    BEGUN.fetch_add(1, Ordering::Relaxed);
    let closes = if request.keep_alive { "" } else { "Connection: close\r\n" };
    connection.send(format!("HTTP/1.1 {status}\r\n{fields}{closes}\r\n").as_bytes())
}

const BIG: usize = 3 * 1024 * 1024;

fn big(connection: &mut Connection, request: &Request) -> io::Result<()> {
    head(connection, request, "200 OK", &format!("Content-Length: {BIG}\r\n"))?;
    if !request.wants_body {
        return Ok(());
    }
    pieces().try_for_each(|piece| connection.send(&piece))
}

fn chunked(connection: &mut Connection, request: &Request) -> io::Result<()> {
    head(connection, request, "200 OK", "Transfer-Encoding: chunked\r\n")?;
    if !request.wants_body {
        return Ok(());
    }
    for piece in pieces() {
        let mut chunk = format!("{:x}\r\n", piece.len()).into_bytes();
        chunk.extend_from_slice(&piece);
        chunk.extend_from_slice(b"\r\n");
        connection.send(&chunk)?;
    }
    connection.send(b"0\r\n\r\n")
}

/// The big body. 251 is prime, so a piece lost, doubled or moved shows; 10,000 does not divide the size, so that the
/// last piece is shorter.
fn pieces() -> impl Iterator<Item = Vec<u8>> {
    (0..BIG).step_by(10_000).map(|start| {
        let end = BIG.min(start + 10_000);
        (start..end).map(|position| (position % 251) as u8).collect()
    })
}

fn compute_for_ever() -> ! {
    let mut state = 1_u32;
    loop {
        // The value is looked at, so the loop cannot be optimized to one which a host could see through.
        state = hint::black_box(state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
    }
}

/// Ends, if at all, in the trap of a failed allocation.
fn allocate_for_ever() -> ! {
    let mut kept = Vec::new();
    loop {
        // Not zeroes: those would be fresh pages which nobody has touched.
        kept.push(hint::black_box(vec![0xa5_u8; 1024 * 1024]));
    }
}
