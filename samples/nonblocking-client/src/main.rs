//! A client which never blocks: it starts to connect, polls until it may write, writes, and polls for each piece of the
//! answer.
//!
//! It exists because a host has to tell the start of a connection (`INPROGRESS`), its end (writable, and `SO_ERROR`) and
//! an empty socket (`AGAIN`) apart.
//!
//! `nonblocking-client IP:PORT` sends a request of HTTP/1.0 without a `Host`, as programs of its kind do, and prints
//! what it saw, then the answer. A failure is a line on stderr and exit code 1.

use std::env;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use wasmedge_wasi_socket::TcpStream;
use wasmedge_wasi_socket::poll::{EventType, Subscription, poll};
use wasmedge_wasi_socket::socket::{AddressFamily, Socket, SocketType};

/// `INPROGRESS` of WASI preview 1.
const IN_PROGRESS: i32 = 26;
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let Some(address) = env::args().nth(1).and_then(|address| address.parse().ok()) else {
        eprintln!("usage: nonblocking-client IP:PORT");
        return ExitCode::FAILURE;
    };
    match exchange(address) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("nonblocking-client: {error}");
            ExitCode::FAILURE
        }
    }
}

fn exchange(address: SocketAddr) -> io::Result<()> {
    let socket = Socket::new(AddressFamily::Inet4, SocketType::Stream)?;
    socket.set_nonblocking(true)?;
    match socket.connect(&address) {
        Ok(()) => println!("connected at once"),
        Err(error) if error.raw_os_error() == Some(IN_PROGRESS) => println!("connecting"),
        Err(error) => return Err(error),
    }
    wait(&socket, false)?;
    socket.take_error()?;
    println!("connected");

    let mut stream = TcpStream::new(socket);
    stream.write_all(b"GET /get HTTP/1.0\n\n")?;
    let mut answer = Vec::new();
    let mut piece = [0; 1024];
    loop {
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(length) => answer.extend_from_slice(&piece[..length]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => wait(&stream, true)?,
            Err(error) => return Err(error),
        }
    }
    io::stdout().write_all(&answer)
}

/// Waits until `socket` may be read or written.
fn wait(socket: &impl AsRawFd, read: bool) -> io::Result<()> {
    let deadline = Some(SystemTime::now() + PATIENCE);
    for event in poll(&[Subscription::io(1, socket, read, !read, deadline)])? {
        match event.event_type {
            EventType::Timeout => return Err(io::ErrorKind::TimedOut.into()),
            // What has happened is in `SO_ERROR`, or in the next transfer.
            EventType::Error(_) | EventType::Read | EventType::Write => {}
        }
    }
    Ok(())
}
