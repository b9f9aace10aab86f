//! Connections and datagrams, by way of each generation of the calls.

use crate::calls::{
    DATAGRAM, INET4, LOOPBACK, NONBLOCK, STREAM, Slice, at, bind, connect, listener, long_address, open, pair, port,
    raw, receive, say, send, set_nonblocking, text,
};

/// Bits of `riflags`.
const PEEK: i32 = 1;
const WAITALL: i32 = 2;

pub fn tcp() {
    first_generation();
    second_generation();
    both_ends();
}

fn first_generation() {
    let (listener, port) = listener();
    addresses("listener", listener, port);
    let client = open(STREAM);
    say("connect", connect(client, port));
    let mut server = 0;
    say("accept", raw::sock_accept(listener, at(&mut server)));
    addresses("server", server, port);
    peers("client", client, port);
    println!("send: {:?}", send(client, "ping"));
    println!("peek: {:?}", receive(server, 2, PEEK));
    println!("receive: {:?}", receive(server, 2, 0));
    println!("receive all: {:?}", receive(server, 2, WAITALL));
    say("connect again", connect(client, port));
    for fd in [client, server, listener] {
        say("close", raw::fd_close(fd));
    }
    println!("receive when closed: {:?}", receive(server, 2, 0));
}

fn second_generation() {
    let (mut listener, mut client, mut server) = (0, 0, 0);
    say("open_v2", raw::sock_open_v2(INET4, STREAM, at(&mut listener)));
    say("open_v2", raw::sock_open_v2(INET4, STREAM, at(&mut client)));
    let mut address = long_address(LOOPBACK);
    let mut address = Slice::of(&mut address);
    say("bind_v2", raw::sock_bind_v2(listener, at(&mut address), 0));
    say("listen_v2", raw::sock_listen_v2(listener, 8));
    let port = port(listener);
    say("connect_v2", raw::sock_connect_v2(client, at(&mut address), port.into()));
    say("accept with flags", raw::sock_accept_3(listener, 0, at(&mut server)));
    long_addresses("server", server, port);
    let mut bytes = *b"second";
    let mut length = 0_u32;
    say("send_v2", raw::sock_send_v2(client, at(&mut Slice::of(&mut bytes)), 1, 0, at(&mut length)));
    let (mut bytes, mut received, mut flags) = ([0; 16], 0_u32, 9_u16);
    let errno = raw::sock_recv_v2(server, at(&mut Slice::of(&mut bytes)), 1, 0, at(&mut received), at(&mut flags));
    println!("recv_v2: {errno} {length} {:?} {flags}", text(&bytes, received));
    let other = open(STREAM);
    say("connect", connect(other, port));
    say("accept_v2", raw::sock_accept_v2(listener, 0, at(&mut server)));
}

/// What happens when one side ends.
fn both_ends() {
    let (client, server) = pair();
    say("shut down writing", raw::sock_shutdown(client, 2));
    println!("receive at the end: {:?}", receive(server, 8, 0));
    println!("send back: {:?}", send(server, "late"));
    println!("receive: {:?}", receive(client, 8, 0));
    println!("send when shut: {:?}", send(client, "no"));
    say("shut down both", raw::sock_shutdown(server, 3));
    say("shut down unconnected", raw::sock_shutdown(open(STREAM), 3));
    say("shut down nothing", raw::sock_shutdown(server, 0));

    let (client, server) = pair();
    let (mut bytes, mut length) = (*b"file", 0_u32);
    say("fd_write", raw::fd_write(client, at(&mut Slice::of(&mut bytes)), 1, at(&mut length)));
    let (mut bytes, mut read) = ([0; 8], 0_u32);
    say("fd_read", raw::fd_read(server, at(&mut Slice::of(&mut bytes)), 1, at(&mut read)));
    println!("{length} {:?}", text(&bytes, read));
    let mut stat = [0_u8; 24];
    for (name, fd) in [("opened", client), ("accepted", server)] {
        say("fd_fdstat_get", raw::fd_fdstat_get(fd, at(&mut stat)));
        println!("{name}: type {} flags {} rights {:x?}", stat[0], stat[2], &stat[8..16]);
    }
}

/// Non-blocking sockets.
pub fn modes() {
    let (listener, port) = listener();
    say("set flags", set_nonblocking(listener));
    let mut server = 0;
    say("accept of nobody", raw::sock_accept(listener, at(&mut server)));
    let client = open(STREAM);
    say("set flags", set_nonblocking(client));
    say("connect", connect(client, port));
    crate::polls::wait(client, false);
    crate::polls::wait(listener, true);
    say("accept", raw::sock_accept(listener, at(&mut server)));
    println!("receive of nothing: {:?}", receive(client, 8, 0));
    say("set flags", set_nonblocking(server));
    println!("receive of nothing: {:?}", receive(server, 8, 0));
    println!("send: {:?}", send(server, "hello"));
    crate::polls::wait(client, true);
    println!("receive: {:?}", receive(client, 8, 0));

    let (closed, port) = self::listener();
    raw::fd_close(closed);
    println!("connect to nobody: {}", connect(open(STREAM), port));

    let (listener, port) = self::listener();
    let (client, mut server) = (open(STREAM), 0);
    connect(client, port);
    say("accept as non-blocking", raw::sock_accept_3(listener, NONBLOCK, at(&mut server)));
    let mut stat = [0_u8; 24];
    raw::fd_fdstat_get(server, at(&mut stat));
    println!("accepted has flags {}", stat[2]);
    raw::fd_fdstat_get(listener, at(&mut stat));
    println!("listener has flags {}", stat[2]);
}

pub fn udp() {
    let (one, two) = (open(DATAGRAM), open(DATAGRAM));
    say("bind", bind(one, 0));
    say("bind", bind(two, 0));
    let (from, to) = (port(one), port(two));
    let (mut ip, mut address) = (LOOPBACK, long_address(LOOPBACK));
    let mut long = Slice::of(&mut address);
    let mut short = Slice::of(&mut ip);

    let send = |bytes: &str| {
        let (mut bytes, mut length) = (bytes.as_bytes().to_vec(), 0_u32);
        let mut ip = LOOPBACK;
        let (mut data, mut address) = (Slice::of(&mut bytes), Slice::of(&mut ip));
        let errno = raw::sock_send_to(one, at(&mut data), 1, at(&mut address), to.into(), 0, at(&mut length));
        println!("send_to: {errno} {length}");
    };
    send("first");
    let (mut bytes, mut length, mut flags) = ([0; 16], 0_u32, 9_u16);
    let mut data = Slice::of(&mut bytes);
    let mut sender = [0; 16];
    let mut sender_at = Slice::of(&mut sender);
    let errno = raw::sock_recv_from(two, at(&mut data), 1, at(&mut sender_at), 0, at(&mut length), at(&mut flags));
    println!("recv_from: {errno} {:?} {flags} from {:?}", text(&bytes, length), &sender[..4]);

    for (name, call) in [
        ("recv_from with port", raw::sock_recv_from_8 as extern "C" fn(i32, i32, i32, i32, i32, i32, i32, i32) -> i32),
        ("recv_from_v2", raw::sock_recv_from_v2),
    ] {
        send("second");
        let mut sender = [0; 128];
        let mut sender_at = Slice::of(&mut sender);
        let mut port = 0_u32;
        let errno = call(two, at(&mut data), 1, at(&mut sender_at), 0, at(&mut port), at(&mut length), at(&mut flags));
        println!("{name}: {errno} {:?} {flags} from {:?}", text(&bytes, length), &sender[..6]);
        let swapped = u32::from(from.swap_bytes());
        // A port which reads the same both ways tells nothing: the host's order is assumed.
        let order = if port == from.into() {
            "host's"
        } else if port == swapped {
            "network's"
        } else {
            "neither"
        };
        println!("{name}: the port is in the {order} byte order");
    }

    let mut payload = *b"third";
    let mut payload = Slice::of(&mut payload);
    let errno = raw::sock_send_to_v2(one, at(&mut payload), 1, at(&mut long), to.into(), 0, at(&mut length));
    println!("send_to_v2: {errno} {length}");
    println!("truncated: {:?}", receive(two, 3, 0));
    say("connect", raw::sock_connect(one, at(&mut short), to.into()));
    let errno = raw::sock_send(one, at(&mut payload), 1, 0, at(&mut length));
    println!("send: {errno} {length}");
    println!("receive: {:?}", receive(two, 16, 0));
    say("set flags", set_nonblocking(two));
    println!("receive of nothing: {:?}", receive(two, 16, 0));
    say("listen", raw::sock_listen(one, 1));
    let mut other = 0;
    say("accept", raw::sock_accept(two, at(&mut other)));
}

/// Which numbers sockets get.
pub fn descriptors() {
    let (one, two) = (open(STREAM), open(STREAM));
    println!("the lowest free number: {}", one < 8);
    println!("in sequence: {}", two == one + 1);
}

/// Prints both forms of a socket's own address.
fn addresses(name: &str, fd: i32, expected: u16) {
    for size in [4, 16] {
        let (mut ip, mut kind, mut port) = (vec![0xee; size], 0, 0_u32);
        let errno = raw::sock_getlocaladdr(fd, at(&mut Slice::of(&mut ip)), at(&mut kind), at(&mut port));
        println!("{name}'s address, {size} bytes: {errno} {ip:?} {kind} {}", port == expected.into());
    }
}

fn peers(name: &str, fd: i32, expected: u16) {
    for size in [4, 16] {
        let (mut ip, mut kind, mut port) = (vec![0xee; size], 0, 0_u32);
        let errno = raw::sock_getpeeraddr(fd, at(&mut Slice::of(&mut ip)), at(&mut kind), at(&mut port));
        println!("{name}'s peer, {size} bytes: {errno} {ip:?} {kind} {}", port == expected.into());
    }
}

fn long_addresses(name: &str, fd: i32, expected: u16) {
    type Call = extern "C" fn(i32, i32, i32) -> i32;
    for (form, call) in [
        ("getlocaladdr with 3", raw::sock_getlocaladdr_3 as Call),
        ("getlocaladdr_v2", raw::sock_getlocaladdr_v2),
        ("getpeeraddr with 3", raw::sock_getpeeraddr_3),
        ("getpeeraddr_v2", raw::sock_getpeeraddr_v2),
    ] {
        let (mut address, mut port) = ([0; 128], 0_u32);
        let errno = call(fd, at(&mut Slice::of(&mut address)), at(&mut port));
        let local = form.contains("local");
        println!("{name}, {form}: {errno} {:?} {}", &address[..6], (port == expected.into()) == local);
    }
}
