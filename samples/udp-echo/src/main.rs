//! Answers datagrams with their bytes in reverse order, on `UdpSocket` of `wasmedge_wasi_socket`.
//!
//! It exists for `sock_recv_from`, whose second generation gives the sender's port in an argument of its own, and for
//! `sock_send_to`.
//!
//! `udp-echo [COUNT]` listens on 3000, says `ready`, and ends after COUNT datagrams (default 1). It prints what it got.

use std::{env, io};

use wasmedge_wasi_socket::UdpSocket;

fn main() -> io::Result<()> {
    let count = env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(1);
    let socket = UdpSocket::bind("0.0.0.0:3000")?;
    println!("ready");
    for _ in 0..count {
        let mut buffer = [0; 128];
        let (length, sender) = socket.recv_from(&mut buffer)?;
        println!("{length} bytes from {}", sender.ip());
        buffer[..length].reverse();
        socket.send_to(&buffer[..length], sender)?;
    }
    Ok(())
}
