//! Sequences of socket calls, and the errno of each, as the published guests meet them.

#[path = "harness/guest.rs"]
mod guest;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use prewasm_ext_http::{Environment, HostOptions, Inbound, Network, Outbound, OutboundPolicy, virtual_inbound};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UdpSocket},
};

use guest::{FREE, Guest, OUT, OUT2, OUT3, Template};

const ACCES: i32 = 2;
const AGAIN: i32 = 6;
const ALREADY: i32 = 7;
const BADF: i32 = 8;
const CONNREFUSED: i32 = 14;
const DESTADDRREQ: i32 = 17;
const EXIST: u16 = 20;
const FAULT: i32 = 21;
const INPROGRESS: i32 = 26;
const INVAL: i32 = 28;
const ISCONN: i32 = 30;
const MSGSIZE: i32 = 35;
const NOPROTOOPT: i32 = 50;
const NOSYS: i32 = 52;
const NOTCONN: i32 = 53;
const NOTSUP: i32 = 58;
const PIPE: i32 = 64;

const DGRAM: i64 = 1;
const STREAM: i64 = 2;
const READ: u8 = 1;
const WRITE: u8 = 2;

fn outbound(allow: &[&str]) -> Arc<Outbound> {
    let allow = allow.iter().map(|pattern| pattern.parse().expect("a pattern")).collect();
    let resolve = [("mapped.test", "127.0.0.1"), ("moved.test", "127.0.0.1:9")];
    let resolve = resolve.map(|(name, to)| (name.to_owned(), to.parse().expect("an address"))).into();
    Arc::new(Outbound::new(Arc::new(OutboundPolicy { allow, resolve, ..OutboundPolicy::default() })))
}

async fn guest(inbound: Inbound, allow: &[&str]) -> Guest {
    let network = Network { inbound, outbound: outbound(allow) };
    Template::new().guest(Environment::default(), HostOptions::silent(network)).await
}

/// A guest which may listen on any port, as it is mapped to the host's loopback, and call whatever is there.
async fn real_guest() -> Guest {
    let rules = ["0.0.0.0:0=127.0.0.1:0", "0.0.0.0:7=127.0.0.1:0"].map(|rule| rule.parse().expect("a rule"));
    guest(Inbound::Real(rules.into()), &["*://127.0.0.1:*", "*://*.test:*"]).await
}

/// An address at which nobody listens.
async fn closed_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.expect("loopback").local_addr().expect("bound")
}

#[tokio::test]
async fn families_and_types_are_those_of_today_and_one_of_old() {
    let mut guest = real_guest().await;
    for (family, kind, errno) in [
        (1, STREAM, 0),
        (2, STREAM, 0),
        (1, DGRAM, 0),
        (2, DGRAM, 0),
        (0x101, 0x202, 0),
        // `wasmedge_wasi_socket` 0.1.0.
        (0, 1, 0),
        (0, 2, INVAL),
        (0, 0, INVAL),
        (1, 0, INVAL),
        (1, 3, INVAL),
        (4, STREAM, INVAL),
        (3, STREAM, NOSYS),
        (3, DGRAM, NOSYS),
    ] {
        assert_eq!(guest.call("sock_open/3", &[family, kind, OUT.into()]).await, errno, "{family} {kind}");
    }
    assert_eq!(guest.call("sock_open/3", &[1, STREAM, 0x7fff_fffd]).await, FAULT);
}

#[tokio::test]
async fn a_refused_nonblocking_connect_is_told_by_the_next_transfer() {
    let mut guest = real_guest().await;
    let fd = guest.open(STREAM).await;
    guest.set_nonblocking(fd).await;
    assert_eq!(guest.connect(fd, closed_port().await).await, INPROGRESS);
    let events = guest.poll(&[(READ, fd), (WRITE, fd)], 5000).await;
    assert!(events.iter().all(|(_, _, kind, _)| *kind != 0), "no timeout: {events:?}");
    assert!(events.iter().all(|(_, errno, _, flags)| (*errno, *flags) == (0, 0)), "no error event: {events:?}");
    assert_eq!(guest.send(fd, b"x").await, CONNREFUSED);
    assert_eq!(guest.receive(fd).await, Err(CONNREFUSED));
    let option = [fd, 0, 2, OUT3.into(), OUT.into()];
    guest.write_u32(OUT, 4);
    guest.ok("sock_getsockopt/5", &option).await;
    assert_eq!(guest.u32(OUT3), CONNREFUSED.cast_unsigned());
    guest.ok("sock_getsockopt/5", &option).await;
    assert_eq!(guest.u32(OUT3), 0, "told once");
    assert_eq!(guest.call("sock_shutdown/2", &[fd, 3]).await, NOTCONN);
}

#[tokio::test]
async fn a_guest_which_never_polls_still_gets_connected() {
    let mut guest = real_guest().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let fd = guest.open(STREAM).await;
    assert_eq!(guest.receive(fd).await, Err(NOTCONN));
    guest.set_nonblocking(fd).await;
    assert_eq!(guest.connect(fd, listener.local_addr().expect("bound")).await, INPROGRESS);
    let (mut peer, _) = listener.accept().await.expect("loopback");
    let mut errno = guest.send(fd, b"hello").await;
    while errno == AGAIN {
        tokio::task::yield_now().await;
        errno = guest.send(fd, b"hello").await;
    }
    assert_eq!(errno, 0);
    assert_eq!(guest.connect(fd, listener.local_addr().expect("bound")).await, ISCONN);
    let mut bytes = [0; 5];
    peer.read_exact(&mut bytes).await.expect("sent");
    assert_eq!(guest.receive(fd).await, Err(AGAIN), "never 0 for no data");
}

#[tokio::test]
async fn a_listener_is_only_ever_readable() {
    let mut guest = real_guest().await;
    let fd = guest.open(STREAM).await;
    assert_eq!(guest.bind(fd, 0).await, 0);
    assert_eq!(guest.bind(fd, 0).await, INVAL, "bound already");
    guest.ok("sock_listen/2", &[fd, 128]).await;
    guest.set_nonblocking(fd).await;
    assert_eq!(guest.call("sock_accept/2", &[fd, OUT.into()]).await, AGAIN);
    assert_eq!(guest.poll(&[(READ, fd), (WRITE, fd)], 0).await, [(2, 0, 0, 0)], "0 is now");
    let port = guest.local_port(fd).await;
    let _client = TcpStream::connect(("127.0.0.1", port)).await.expect("listening");
    assert_eq!(guest.poll(&[(READ, fd), (WRITE, fd)], 5000).await, [(0, 0, READ, 0)]);
    guest.ok("sock_accept/3", &[fd, 4, OUT.into()]).await;
    let accepted = i64::from(guest.u32(OUT));
    assert_eq!(guest.receive(accepted).await, Err(AGAIN), "non-blocking from the start");
    let address = guest.address(&[0; 4]);
    guest.ok("sock_getpeeraddr/4", &[accepted, address, OUT.into(), OUT2.into()]).await;
    assert_eq!((guest.u32(OUT), guest.address_bytes(4)), (4, vec![127, 0, 0, 1]));
}

#[tokio::test]
async fn polls_tell_what_is_wrong_with_a_subscription_at_once() {
    let mut guest = real_guest().await;
    let fd = guest.open(STREAM).await;
    assert_eq!(guest.bind(fd, 0).await, 0);
    guest.ok("sock_listen/2", &[fd, 128]).await;
    let events = guest.poll(&[(READ, fd), (READ, fd), (READ, 999)], 60_000).await;
    assert_eq!(events, [(1, EXIST, READ, 0), (2, BADF as u16, READ, 0)]);
}

#[tokio::test]
async fn hanging_up_takes_both_directions() {
    let mut guest = real_guest().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let fd = guest.open(STREAM).await;
    assert_eq!(guest.connect(fd, listener.local_addr().expect("bound")).await, 0);
    let (mut peer, _) = listener.accept().await.expect("loopback");
    peer.shutdown().await.expect("connected");
    assert_eq!(guest.poll(&[(READ, fd)], 5000).await, [(0, 0, READ, 0)], "half closed is not hung up");
    assert_eq!(guest.receive(fd).await, Ok(Vec::new()));
    guest.ok("sock_shutdown/2", &[fd, 2]).await;
    assert_eq!(guest.send(fd, b"x").await, PIPE);
    // The host tells in its own time that both are closed.
    let mut events = guest.poll(&[(READ, fd)], 5000).await;
    while events == [(0, 0, READ, 0)] {
        tokio::task::yield_now().await;
        events = guest.poll(&[(READ, fd)], 5000).await;
    }
    assert_eq!(events, [(0, 0, READ, 1)]);
}

#[tokio::test]
async fn datagrams_cross_both_ways_with_their_addresses() {
    let mut guest = real_guest().await;
    let fd = guest.open(DGRAM).await;
    assert_eq!(guest.bind(fd, 7).await, 0);
    let peer = UdpSocket::bind("127.0.0.1:0").await.expect("loopback");
    let peer_port = u32::from(peer.local_addr().expect("bound").port());
    assert_eq!(guest.local_port(fd).await, 7, "as the guest asked");
    assert_eq!(guest.call("sock_listen/2", &[fd, 1]).await, NOTSUP);
    assert_eq!(guest.call("sock_accept/2", &[fd, OUT.into()]).await, NOTSUP);
    guest.ok("fd_close/1", &[fd]).await;

    let fd = guest.open(DGRAM).await;
    assert_eq!(guest.bind(fd, 0).await, 0, "a rule names port 0");
    let port = guest.local_port(fd).await;
    peer.send_to(b"hello", ("127.0.0.1", port)).await.expect("loopback");
    assert_eq!(guest.poll(&[(READ, fd), (WRITE, fd)], 5000).await[0].2, WRITE, "sending never waits");
    guest.write_u32(OUT3, 0xffff_ffff);
    for (length, at) in [(4, 0), (16, 0), (128, 2)] {
        let address = guest.address(&vec![0; length]);
        let iovec = guest.iovec(FREE, 3);
        // Peek, with each layout.
        guest.ok("sock_recv_from/8", &[fd, iovec, 1, address, 1, OUT3.into(), OUT.into(), OUT2.into()]).await;
        assert_eq!((guest.u32(OUT), guest.u32(OUT2) & 0xffff), (3, 1), "truncated");
        assert_eq!((guest.u32(OUT3), &guest.read(FREE, 3)[..]), (peer_port, b"hel".as_slice()), "port in host order");
        assert_eq!(guest.address_bytes(length)[at..at + 4], [127, 0, 0, 1]);
    }
    let address = guest.address(&[0; 4]);
    let iovec = guest.iovec(FREE, 64);
    guest.ok("sock_recv_from/7", &[fd, iovec, 1, address, 0, OUT.into(), OUT2.into()]).await;
    assert_eq!((guest.u32(OUT), guest.address_bytes(4)), (5, vec![127, 0, 0, 1]));
    // The descriptor has the sender's address now.
    guest.ok("sock_send_to/7", &[fd, iovec, 1, address, peer_port.into(), 0, OUT.into()]).await;
    let mut bytes = [0; 64];
    let (length, from) = peer.recv_from(&mut bytes).await.expect("answered");
    assert_eq!((length, from.port()), (64, port));
    assert_eq!(guest.send(fd, b"x").await, DESTADDRREQ);
}

#[tokio::test]
async fn a_client_hears_only_from_those_it_has_sent_to() {
    let mut guest = guest(Inbound::Denied, &["udp://127.0.0.1:*"]).await;
    let fd = guest.open(DGRAM).await;
    assert_eq!(guest.bind(fd, 53).await, ACCES);
    assert_eq!(guest.bind(fd, 0).await, 0, "any port is a client's");
    let (peer, stranger) = (UdpSocket::bind("127.0.0.1:0").await, UdpSocket::bind("127.0.0.1:0").await);
    let (peer, stranger) = (peer.expect("loopback"), stranger.expect("loopback"));
    let port = guest.local_port(fd).await;
    stranger.send_to(b"unasked", ("127.0.0.1", port)).await.expect("loopback");
    guest.set_nonblocking(fd).await;
    assert_eq!(guest.receive(fd).await, Err(AGAIN));
    assert_eq!(guest.connect(fd, peer.local_addr().expect("bound")).await, 0);
    assert_eq!(guest.send(fd, b"question").await, 0);
    let mut bytes = [0; 64];
    let (length, from) = peer.recv_from(&mut bytes).await.expect("sent");
    assert_eq!(&bytes[..length], b"question");
    peer.send_to(b"answer", from).await.expect("loopback");
    assert_eq!(guest.poll(&[(READ, fd)], 5000).await, [(0, 0, READ, 0)]);
    assert_eq!(guest.receive(fd).await, Ok(b"answer".to_vec()));
    assert_eq!(guest.receive(fd).await, Err(AGAIN), "the stranger's is gone");
    assert_eq!(guest.send(fd, &vec![0; 65_508]).await, MSGSIZE);
    guest.ok("sock_shutdown/2", &[fd, 3]).await;
    assert_eq!((guest.send(fd, b"x").await, guest.receive(fd).await), (PIPE, Ok(Vec::new())));
}

#[tokio::test]
async fn datagrams_need_a_rule_of_their_own() {
    let mut guest = guest(Inbound::Denied, &["tcp://127.0.0.1:*", "http://127.0.0.1:*"]).await;
    let fd = guest.open(DGRAM).await;
    let to: SocketAddr = "127.0.0.1:9".parse().expect("valid");
    assert_eq!(guest.connect(fd, to).await, ACCES);
    let address = guest.address(&[127, 0, 0, 1]);
    let iovec = guest.iovec(FREE, 1);
    assert_eq!(guest.call("sock_send_to/7", &[fd, iovec, 1, address, 9, 0, OUT.into()]).await, ACCES);
    assert_eq!(guest.call("sock_send_to_v2/7", &[fd, iovec, 1, address, 9, 1, OUT.into()]).await, INVAL, "no flag");

    let (inbound, _connector) = virtual_inbound();
    let mut served = self::guest(Inbound::Virtual(inbound), &[]).await;
    let fd = served.open(DGRAM).await;
    assert_eq!(served.bind(fd, 53).await, ACCES, "requests come over streams");
}

#[tokio::test]
async fn timeouts_end_what_blocks() {
    let mut guest = real_guest().await;
    let fd = guest.open(DGRAM).await;
    assert_eq!(guest.bind(fd, 0).await, 0);
    let timeval: Vec<u8> = [0i64, 20_000].iter().flat_map(|field| field.to_le_bytes()).collect();
    guest.write(FREE, &timeval);
    guest.ok("sock_setsockopt/5", &[fd, 0, 11, FREE.into(), 16]).await;
    guest.ok("sock_setsockopt/5", &[fd, 0, 12, FREE.into(), 16]).await;
    let start = std::time::Instant::now();
    assert_eq!(guest.receive(fd).await, Err(AGAIN));
    assert!(start.elapsed() >= Duration::from_millis(20));
    guest.write_u32(OUT, 16);
    guest.ok("sock_getsockopt/5", &[fd, 0, 11, OUT2.into(), OUT.into()]).await;
    assert_eq!((guest.read(OUT2, 16), guest.u32(OUT)), (timeval, 16));
}

#[tokio::test]
async fn options_are_applied_remembered_or_refused() {
    let mut guest = real_guest().await;
    for kind in [STREAM, DGRAM] {
        let fd = guest.open(kind).await;
        // Set, payload, and what reads back.
        for (option, payload, errno) in [
            (0, [1, 0], 0),
            (1, [1, 0], NOPROTOOPT),
            (2, [0, 0], NOPROTOOPT),
            (3, [1, 0], 0),
            (4, [1, 0], 0),
            (5, [4096, 0], 0),
            (6, [4096, 0], 0),
            (7, [1, 0], 0),
            (8, [1, 0], 0),
            (9, [0, 0], 0),
            (9, [1, 0], 0),
            (9, [1, 5], NOTSUP),
            (10, [1, 0], 0),
            (13, [1, 0], NOPROTOOPT),
            (14, [1, 0], ACCES),
            (15, [1, 0], INVAL),
            (-1, [1, 0], INVAL),
        ] {
            guest.write_u32(FREE, payload[0]);
            guest.write_u32(FREE + 4, payload[1]);
            let result = guest.call("sock_setsockopt/5", &[fd, 0, option, FREE.into(), 8]).await;
            assert_eq!(result, errno, "option {option} to {payload:?}");
        }
        for (option, value) in [(0, 1), (1, kind), (2, 0), (3, 1), (4, 1), (7, 1), (8, 1), (9, 1), (10, 1), (13, 0)] {
            guest.write_u32(OUT, 8);
            guest.ok("sock_getsockopt/5", &[fd, 0, option, OUT2.into(), OUT.into()]).await;
            assert_eq!(i64::from(guest.u32(OUT2)), value, "option {option}");
        }
        assert_eq!(guest.bind(fd, 0).await, 0, "applied to the host's socket");
        // Go's `net` passes the length 4 itself: it is read from address 4, where there is 0.
        guest.ok("sock_getsockopt/5", &[fd, 0, 2, OUT2.into(), 4]).await;
        assert_eq!(guest.call("sock_setsockopt/5", &[fd, 1, 0, FREE.into(), 4]).await, INVAL, "another level");
        assert_eq!(guest.call("sock_setsockopt/5", &[fd, 0, 0, FREE.into(), 3]).await, INVAL, "too short");
        assert_eq!(guest.call("sock_setsockopt/5", &[fd, 0, 0, 0x7fff_0000, 4]).await, FAULT);
    }
    assert_eq!(guest.call("sock_setsockopt/5", &[999, 0, 0, FREE.into(), 4]).await, BADF);
}

/// Asks for a name; the errno and the first entry's data.
async fn ask(guest: &mut Guest, node: &str, service: &str, hints: [u8; 5], max: i64) -> (i32, Vec<u8>) {
    let (node_at, service_at, hints_at, result) = (FREE, FREE + 0x400, FREE + 0x800, FREE + 0x900);
    guest.write(node_at, node.as_bytes());
    guest.write(service_at, service.as_bytes());
    guest.write(hints_at, &[hints[0], hints[1], hints[2], hints[3], hints[4], 0, 0, 0]);
    let (entry, sockaddr, data, name) = (result + 0x10, result + 0x40, result + 0x60, result + 0xa0);
    guest.write(result, &[0; 0x200]);
    guest.write(data, &[0xee; 26]);
    guest.write_u32(result, entry.cast_unsigned());
    guest.write_u32(entry + 12, sockaddr.cast_unsigned());
    guest.write_u32(entry + 16, name.cast_unsigned());
    guest.write_u32(entry + 20, 64);
    guest.write_u32(sockaddr + 4, 14);
    guest.write_u32(sockaddr + 8, data.cast_unsigned());
    let length = |text: &str| i64::try_from(text.len()).expect("short");
    let args = [
        node_at.into(),
        length(node),
        service_at.into(),
        length(service),
        hints_at.into(),
        result.into(),
        max,
        OUT.into(),
    ];
    let errno = guest.call("sock_getaddrinfo/8", &args).await;
    (errno, guest.read(data, 26))
}

#[tokio::test]
async fn names_are_looked_up_with_wasmedges_errors() {
    let mut guest = real_guest().await;
    // Flags, family, type, protocol.
    let any = [0, 0, 0, 0, 0];
    let stream = [0, 0, 1, 2, 1];
    for (node, service, hints, max, errno) in [
        ("", "", any, 0, 84),
        ("\0", "\0", any, 0, 84),
        ("mapped.test", "", [0x80, 0, 9, 9, 9], 0, 82),
        ("mapped.test", "", [0x80, 0, 9, 9, 9], 1, 79),
        ("", "http", [2, 0, 9, 9, 9], 1, 79),
        ("mapped.test", "", [0, 0, 3, 9, 9], 1, 81),
        ("mapped.test", "", [0, 0, 1, 3, 0], 1, 52),
        ("mapped.test", "", [0, 0, 1, 0, 3], 1, 52),
        ("mapped.test", "", [0, 0, 1, 2, 2], 1, 86),
        ("mapped.test", "", [4, 0, 1, 2, 1], 1, 84),
        ("mapped.test", "gopher", stream, 1, 85),
        ("mapped.test", "http", [8, 0, 1, 2, 1], 1, 84),
        ("elsewhere.invalid", "http", stream, 1, 84),
        ("::1", "http", stream, 1, 77),
        ("mapped.test", "http", [0, 0, 2, 2, 1], 1, 83),
    ] {
        assert_eq!(ask(&mut guest, node, service, hints, max).await.0, errno, "{node:?} {service:?} {hints:?}");
    }
    for (node, service, port) in
        [("mapped.test", "http", 80u16), ("mapped.test\0", "https\0", 443), ("127.0.0.1", "8080", 8080), ("", "80", 80)]
    {
        let (errno, data) = ask(&mut guest, node, service, stream, 1).await;
        assert_eq!((errno, guest.u32(OUT)), (0, 1), "{node:?}");
        assert_eq!(data[..2], port.to_be_bytes());
        assert_eq!(data[2..6], [127, 0, 0, 1]);
        assert_eq!(data[14..], [0xee; 12], "never more than 14 bytes for IPv4");
    }
    let entry = FREE + 0x910;
    assert_eq!(guest.u32(entry + 8), 16, "`ai_addrlen` is not zero");
    assert_eq!(guest.u32(entry + 20), 64, "nobody asked for the name");
    let (errno, data) = ask(&mut guest, "::1", "http", any, 1).await;
    assert_eq!((errno, data[6..22].to_vec()), (0, std::net::Ipv6Addr::LOCALHOST.octets().to_vec()));
    assert_eq!(ask(&mut guest, "mapped.test", "http", [2, 0, 1, 2, 1], 1).await.0, 0);
    assert_eq!(guest.read(FREE + 0x9a0, 12), b"mapped.test\0");
    assert_eq!(guest.u32(entry + 20), 11);
    // A name which is mapped to a port of its own gets an address that stands for both.
    let (errno, data) = ask(&mut guest, "moved.test", "http", stream, 1).await;
    assert_eq!((errno, &data[2..4]), (0, [198, 18].as_slice()));
}

#[tokio::test]
async fn connecting_twice_and_unknown_descriptors() {
    let mut guest = real_guest().await;
    let fd = guest.open(STREAM).await;
    guest.set_nonblocking(fd).await;
    let to = closed_port().await;
    assert_eq!(guest.connect(fd, to).await, INPROGRESS);
    // The second finds the attempt either under way, or refused and starts another.
    assert!([ALREADY, INPROGRESS].contains(&guest.connect(fd, to).await));
    assert_eq!(guest.connect(999, to).await, BADF);
    assert_eq!(guest.bind(999, 0).await, BADF);
    let address = guest.address(&[1, 2, 3, 4, 5]);
    assert_eq!(guest.call("sock_bind/3", &[fd, address, 0]).await, INVAL, "no layout has 5 bytes");
}
