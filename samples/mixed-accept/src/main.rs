//! One module which accepts connections in two ways: through `wasmedge_wasi_socket`, whose `sock_accept` has two
//! parameters, and through `std::net::TcpListener`, whose `sock_accept` has three.
//!
//! It exists because its import section holds the name `sock_accept` twice, with different types. A host that looks
//! imports up by name alone can give the module only one of them.
//!
//! Listens on 1237. `VIA=std` in the environment accepts by way of `std`, anything else by way of
//! `wasmedge_wasi_socket`. Answers every request with the way it was accepted.

use std::env;
use std::io::{self, Read, Write};
use std::os::fd::{FromRawFd, IntoRawFd};

use wasmedge_wasi_socket::TcpListener;

fn main() -> io::Result<()> {
    let listener = TcpListener::bind("0.0.0.0:1237", false)?;
    if env::var_os("VIA").is_some_and(|via| via == "std") {
        // SAFETY: `into_raw_fd` gives the listener's descriptor away, so `std` is its only owner.
        let listener = unsafe { std::net::TcpListener::from_raw_fd(listener.into_raw_fd()) };
        loop {
            let (stream, _) = listener.accept()?;
            report(answer(stream, "std"));
        }
    } else {
        loop {
            let (stream, _) = listener.accept(false)?;
            report(answer(stream, "wasmedge"));
        }
    }
}

fn answer(mut stream: impl Read + Write, way: &str) -> io::Result<()> {
    if !read_head(&mut stream)? {
        return Ok(());
    }
    let body = format!("hello via {way}\n");
    let length = body.len();
    let response = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    stream.write_all(response.as_bytes())
}

/// Reads up to the blank line. `false`: the client left before it.
fn read_head(stream: &mut impl Read) -> io::Result<bool> {
    let mut head = Vec::new();
    let mut piece = [0; 1024];
    while !head.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
        let length = stream.read(&mut piece)?;
        if length == 0 {
            return Ok(false);
        }
        head.extend_from_slice(&piece[..length]);
    }
    Ok(true)
}

fn report(result: io::Result<()>) {
    if let Err(error) = result {
        eprintln!("connection ended early: {error}");
    }
}
