//! The test's own side: peers of clients, clients of servers.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::{
    engine::{PATIENCE, Running},
    observation::Wire,
};

/// An HTTP server which answers each request with its number and body, and keeps what it got.
pub struct Peer {
    pub address: SocketAddr,
    closing: Arc<AtomicBool>,
    accepting: JoinHandle<()>,
    got: Arc<Mutex<Wire>>,
}

impl Peer {
    pub fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback");
        let address = listener.local_addr().expect("bound");
        let (closing, got) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Wire::new())));
        let (seen, kept) = (Arc::clone(&closing), Arc::clone(&got));
        let accepting = thread::spawn(move || {
            for stream in listener.incoming() {
                if seen.load(Ordering::SeqCst) {
                    return;
                }
                // One after the other, as clients here ask.
                let bytes = answer(&stream.expect("a client"));
                kept.lock().expect("no panic").push(bytes);
            }
        });
        Self { address, closing, accepting, got }
    }

    /// What came, a connection each.
    pub fn finish(self) -> Wire {
        self.closing.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        self.accepting.join().expect("no panic");
        std::mem::take(&mut *self.got.lock().expect("no panic"))
    }
}

/// Answers until the client closes, or says that it will. The result is all it sent.
fn answer(mut stream: &TcpStream) -> Vec<u8> {
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let (mut got, mut start, mut number) = (Vec::new(), 0, 0);
    loop {
        let Some(end) = request_end(&got[start..]) else {
            let mut piece = [0; 4096];
            match stream.read(&mut piece) {
                Ok(0) | Err(_) => return got,
                Ok(length) => got.extend_from_slice(&piece[..length]),
            }
            continue;
        };
        let request = String::from_utf8_lossy(&got[start..start + end]).into_owned();
        start += end;
        number += 1;
        let line = request.lines().next().unwrap_or_default();
        let sent = request.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        let body = format!("answer {number} to {line}, with {sent:?}");
        let close = line.ends_with("HTTP/1.0") || request.to_lowercase().contains("connection: close");
        let connection = if close { "close" } else { "keep-alive" };
        let length = body.len();
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: {connection}\r\n\r\n{body}");
        if stream.write_all(answer.as_bytes()).is_err() || close {
            let _ = stream.shutdown(Shutdown::Write);
            // To its end: a close with unread bytes would be a reset.
            let _ = stream.read_to_end(&mut got);
            return got;
        }
    }
}

/// Where the first request ends, if it is there in full. Heads may end in bare line feeds.
fn request_end(bytes: &[u8]) -> Option<usize> {
    let text = String::from_utf8_lossy(bytes).to_lowercase();
    let head =
        [text.find("\r\n\r\n").map(|at| at + 4), text.find("\n\n").map(|at| at + 2)].into_iter().flatten().min()?;
    let length = text[..head]
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"))
        .map_or(0, |length| length.trim().parse().expect("a length"));
    (bytes.len() >= head + length).then_some(head + length)
}

/// A port where nobody listens.
pub fn nobody() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr()).expect("loopback")
}

/// Connects as soon as the guest listens.
pub fn connect(address: SocketAddr, guest: &mut Running) -> TcpStream {
    let started = Instant::now();
    loop {
        match TcpStream::connect(address) {
            Ok(stream) => {
                stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
                stream.set_nodelay(true).expect("an option");
                return stream;
            }
            Err(error) => {
                assert!(started.elapsed() < PATIENCE && !guest.has_ended(), "nobody listens on {address}: {error}")
            }
        }
        thread::yield_now();
    }
}

/// What comes until the other side closes.
pub fn read_to_end(mut stream: &TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    bytes
}

/// So many bytes, or fewer if the other side closes.
pub fn read_exactly(mut stream: &TcpStream, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    let mut filled = 0;
    while filled < length {
        match stream.read(&mut bytes[filled..]) {
            Ok(0) | Err(_) => break,
            Ok(more) => filled += more,
        }
    }
    bytes.truncate(filled);
    bytes
}

/// A UDP socket on this port.
pub fn datagrams(port: u16) -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).unwrap_or_else(|error| panic!("port {port}: {error}"));
    socket.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    socket
}
