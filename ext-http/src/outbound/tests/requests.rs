//! Requests to servers on loopback: what is dialled, how often, and within which limits.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::*;
use crate::{
    Inbound, Network,
    abi::{errno::Errno, memory::GuestMemory},
    sockets::{Failure, Family, Flags, Kind, Sockets},
};

/// A server which says the same to everybody, then holds the connection open or closes it.
struct Server {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

enum Then {
    Close,
    Hold,
}

async fn server(ip: [u8; 4], port: u16, says: &'static str, then: Then) -> Server {
    let listener = TcpListener::bind(SocketAddr::from((ip, port))).await.expect("loopback");
    let address = listener.local_addr().expect("bound");
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::Relaxed);
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(says.as_bytes()).await;
            if matches!(then, Then::Hold) {
                held.push(stream);
            }
        }
    });
    Server { address, connections }
}

impl Server {
    fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    fn pattern(&self) -> String {
        format!("http://{}", self.address)
    }

    fn url(&self) -> String {
        format!("http://{}/", self.address)
    }
}

async fn get(outbound: &Outbound, usage: &Usage, url: &str) -> Result<http::Response<AnswerBody>, RequestError> {
    let request = Request::builder().uri(url).body(Full::new(Bytes::new())).expect("valid");
    outbound.send(usage, request).await
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

#[tokio::test]
async fn the_address_that_was_checked_is_the_one_that_is_dialled() {
    let right = server([127, 0, 0, 1], 0, OK, Then::Close).await;
    let port = right.address.port();
    let wrong = server([127, 0, 0, 2], port, OK, Then::Close).await;
    let url = format!("http://rebind.test:{port}/");
    let pattern = right.pattern();
    let outbound = allow(["http://rebind.test:*", &pattern]).answer(["127.0.0.1"]).answer(["127.0.0.2"]).outbound();
    let usage = Usage::of(&outbound);
    let answer = get(&outbound, &usage, &url).await.expect("the first answer is permitted");
    assert_eq!(answer.into_body().collect().await.expect("complete").to_bytes(), "hello");
    // The server has closed, so this one connects anew: the name now leads elsewhere, and that is judged again.
    let error = get(&outbound, &usage, &url).await.expect_err("the second answer is not permitted");
    assert!(matches!(error, RequestError::Refused(Refusal::Guarded { .. })), "{error:?}");
    assert_eq!((right.connections(), wrong.connections()), (1, 0));

    let outbound =
        Arc::new(allow(["http://rebind.test:*", &pattern]).answer(["127.0.0.1"]).answer(["127.0.0.2"]).outbound());
    let usage = Usage::of(&outbound);
    let mut sockets = Sockets::new(Network { inbound: Inbound::Denied, outbound }, usage);
    let found = sockets.lookup("rebind.test", Family::Inet4).await.expect("permitted");
    let fd = sockets.open(Family::Inet4, Kind::Stream).expect("room");
    sockets.connect(fd, SocketAddr::new(found[0], port)).await.expect("what was looked up is what is dialled");
    assert_eq!(wrong.connections(), 0);
}

#[tokio::test]
async fn redirects_are_the_guests_affair() {
    let inner = server([127, 0, 0, 1], 0, OK, Then::Close).await;
    let says = format!("HTTP/1.1 302 Found\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n", inner.url());
    let outer = server([127, 0, 0, 1], 0, says.leak(), Then::Close).await;
    let (to_outer, to_inner) = (outer.pattern(), inner.pattern());
    let outbound = allow([to_outer.as_str(), &to_inner]).outbound();
    let answer = get(&outbound, &Usage::of(&outbound), &outer.url()).await.expect("an answer");
    assert_eq!(answer.status(), 302);
    assert_eq!((outer.connections(), inner.connections()), (1, 0));
}

#[tokio::test]
async fn a_failed_request_is_not_tried_again() {
    let server = server([127, 0, 0, 1], 0, "", Then::Close).await;
    let outbound = allow([server.pattern().as_str()]).outbound();
    let error = get(&outbound, &Usage::of(&outbound), &server.url()).await.expect_err("no answer");
    assert!(matches!(error, RequestError::Transfer(_)), "{error:?}");
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn silence_ends_a_request() {
    let short = Duration::from_millis(50);
    let limits = OutboundLimits { connect: short, first_byte: short, idle: short, ..OutboundLimits::default() };
    let mute = server([127, 0, 0, 1], 0, "", Then::Hold).await;
    let outbound = allow([mute.pattern().as_str()]).limits(limits).outbound();
    let error = get(&outbound, &Usage::of(&outbound), &mute.url()).await.expect_err("no answer");
    assert!(matches!(error, RequestError::NoAnswer { .. }) && error.is_timeout(), "{error:?}");

    let half = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello";
    let stuck = server([127, 0, 0, 1], 0, half, Then::Hold).await;
    let outbound = allow([stuck.pattern().as_str()]).limits(limits).outbound();
    let answer = get(&outbound, &Usage::of(&outbound), &stuck.url()).await.expect("a head");
    let error = answer.into_body().collect().await.expect_err("half a body");
    assert!(matches!(error, RequestError::Silent { .. }) && error.is_timeout(), "{error:?}");
}

#[tokio::test]
async fn an_instance_has_so_many_connections_and_bytes() {
    let server = server([127, 0, 0, 1], 0, OK, Then::Close).await;
    let limits = OutboundLimits { connections: 1, bytes: Some(8), ..OutboundLimits::default() };
    let outbound = allow([server.pattern().as_str()]).limits(limits).outbound();
    let usage = Usage::of(&outbound);
    let first = get(&outbound, &usage, &server.url()).await.expect("an answer");
    let error = get(&outbound, &usage, &server.url()).await.expect_err("one is open");
    assert!(matches!(error, RequestError::Refused(Refusal::TooManyConnections { limit: 1 })), "{error:?}");
    assert!(get(&outbound, &Usage::of(&outbound), &server.url()).await.is_ok(), "another instance has its own");
    assert_eq!(first.into_body().collect().await.expect("5 bytes").to_bytes(), "hello");
    let second = get(&outbound, &usage, &server.url()).await.expect("the first has ended");
    let error = second.into_body().collect().await.expect_err("10 bytes");
    assert!(matches!(error, RequestError::Refused(Refusal::TooManyBytes { limit: 8 })), "{error:?}");
    let request = Request::builder().uri(server.url()).body(Full::new(Bytes::from_static(b"hello"))).expect("valid");
    let error = outbound.send(&usage, request).await.expect_err("a body counts too");
    assert!(matches!(error, RequestError::Refused(Refusal::TooManyBytes { limit: 8 })), "{error:?}");
}

#[tokio::test]
async fn sockets_count_like_requests() {
    let server = server([127, 0, 0, 1], 0, "hello world", Then::Hold).await;
    let limits = OutboundLimits { connections: 1, bytes: Some(8), ..OutboundLimits::default() };
    let outbound = Arc::new(allow([server.pattern().as_str()]).limits(limits).outbound());
    let usage = Usage::of(&outbound);
    let mut sockets = Sockets::new(Network { inbound: Inbound::Denied, outbound }, usage);
    let mut open = || sockets.open(Family::Inet4, Kind::Stream).expect("room");
    let (first, second) = (open(), open());
    sockets.connect(first, server.address).await.expect("permitted");
    assert_eq!(sockets.connect(second, server.address).await, Err(Errno::MFile));
    let mut bytes = *b"hi.............";
    let mut memory = GuestMemory::new(&mut bytes);
    let (request, rest) = (memory.range(0, 2).expect("in range"), memory.range(2, 13).expect("in range"));
    assert_eq!(sockets.send(first, &memory, &[request], None).await, Ok(2));
    let received = sockets.receive(first, &mut memory, &[rest], Flags { wait_all: true, peek: false }).await;
    assert_eq!(received.expect("what is left").length, 6);
    let received = sockets.receive(first, &mut memory, &[rest], Flags::default()).await;
    assert_eq!(received.expect_err("nothing is left"), Failure::Errno(Errno::Acces));
    sockets.close(first).expect("open");
    assert_eq!(sockets.connect(second, server.address).await, Ok(()), "a closed socket counts no more");
    assert_eq!(sockets.send(second, &memory, &[request], None).await, Err(Failure::Errno(Errno::Acces)));
}
