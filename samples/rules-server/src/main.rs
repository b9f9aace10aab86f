//! A server which is slow to start: it compiles some hundred patterns before it can answer.
//!
//! It exists to show what a snapshot saves. The work is done either by the exported `wizer-initialize`, which a snapshot
//! tool calls at build time, or by `main`, so that the program runs the same without a snapshot.
//!
//! `GET /check?q=TEXT` (percent-encoded) answers how many rules TEXT matches, `GET /rules` how many there are. The header
//! `rules-ready` says when they were compiled: `before-start` or `at-start`.
//!
//! Listens on 1235, one request per connection.

mod patterns;
mod rules;

use std::io::{self, Read, Write};
use std::sync::OnceLock;

use rules::Rules;
use wasmedge_wasi_socket::{TcpListener, TcpStream};

static RULES: OnceLock<Rules> = OnceLock::new();

// SAFETY: no other symbol here, nor in the libraries linked, has this name.
#[unsafe(export_name = "wizer-initialize")]
extern "C" fn initialize() {
    RULES.get_or_init(Rules::compile);
}

fn main() -> io::Result<()> {
    let ready = if RULES.get().is_some() { "before-start" } else { "at-start" };
    let rules = RULES.get_or_init(Rules::compile);

    let listener = TcpListener::bind("0.0.0.0:1235", false)?;
    loop {
        let (stream, _) = listener.accept(false)?;
        if let Err(error) = serve(stream, rules, ready) {
            eprintln!("connection ended early: {error}");
        }
    }
}

fn serve(mut stream: TcpStream, rules: &Rules, ready: &str) -> io::Result<()> {
    let Some(target) = read_target(&mut stream)? else {
        return Ok(());
    };
    let (status, body) = match target.split_once("?q=") {
        Some(("/check", text)) => ("200 OK", rules.matches(&decoded(text)).to_string()),
        None if target == "/rules" => ("200 OK", rules.len().to_string()),
        _ => ("404 Not Found", "ask for /check?q=TEXT or /rules".to_owned()),
    };
    let length = body.len() + 1;
    let response = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\nRules-Ready: {ready}\r\n\
         Connection: close\r\n\r\n{body}\n"
    );
    stream.write_all(response.as_bytes())
}

/// Reads the head of a request and returns what it asks for, or `None` if the client left before it was complete.
fn read_target(stream: &mut TcpStream) -> io::Result<Option<String>> {
    let mut received = Vec::new();
    let mut piece = [0; 1024];
    loop {
        let length = stream.read(&mut piece)?;
        if length == 0 {
            return Ok(None);
        }
        received.extend_from_slice(&piece[..length]);

        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut head = httparse::Request::new(&mut headers);
        let parsed = head.parse(&received).map_err(io::Error::other)?;
        if parsed.is_complete() {
            return Ok(head.path.map(str::to_owned));
        }
    }
}

/// Undoes the encoding of a query value. What is not validly encoded stands for itself: the rules shall see it.
fn decoded(text: &str) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, tail @ ..] = rest {
        let (byte, tail) = match (byte, tail) {
            (b'+', _) => (b' ', tail),
            (b'%', [high, low, tail @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => (high * 16 + low, tail),
                _ => (b'%', &rest[1..]),
            },
            (byte, _) => (*byte, tail),
        };
        decoded.push(byte);
        rest = tail;
    }
    decoded
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}
