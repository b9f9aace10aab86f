//! What is refused, and how.

use crate::calls::{
    DATAGRAM, INET4, INET6, LOOPBACK, STREAM, Slice, at, bind, connect, listener, open, pair, raw, say,
};

/// A descriptor which nobody has.
const NOBODY: i32 = 99;
/// An offset beyond every memory.
const NOWHERE: i32 = -16;

pub fn run() {
    values();
    descriptors();
    pointers();
    states();
}

/// Numbers which are not in the lists.
fn values() {
    let mut fd = 0;
    for (family, kind) in [(0, STREAM), (INET4, 0), (INET4, 3), (9, STREAM), (0, 0), (0, 1), (3, STREAM)] {
        say(&format!("open {family} {kind}"), raw::sock_open(family, kind, at(&mut fd)));
    }
    say("open of IPv6", raw::sock_open(INET6, STREAM, at(&mut fd)));
    say("open, above 8 bits", raw::sock_open(0x101, 0x102, at(&mut fd)));
    let (client, _) = pair();
    let (mut bytes, mut length, mut flags) = ([0; 4], 0_u32, 0_u16);
    let mut data = Slice::of(&mut bytes);
    let data = at(&mut data);
    say("shut down 4", raw::sock_shutdown(client, 4));
    say("send with flags", raw::sock_send(client, data, 1, 1, at(&mut length)));
    say("receive with flags", raw::sock_recv(client, data, 1, 4, at(&mut length), at(&mut flags)));
    say("too many iovecs", raw::sock_send(client, data, 1025, 0, at(&mut length)));
    for size in [0, 3, 5, 16, 128] {
        let mut ip = vec![0; size];
        say(&format!("bind with {size} bytes"), raw::sock_bind(open(STREAM), at(&mut Slice::of(&mut ip)), 0));
    }
    for size in [0, 3, 5, 128] {
        let (mut ip, mut kind, mut port) = (vec![0; size], 0, 0);
        let mut address = Slice::of(&mut ip);
        let address = at(&mut address);
        say(
            &format!("address into {size} bytes"),
            raw::sock_getlocaladdr(client, address, at(&mut kind), at(&mut port)),
        );
    }
    for size in [4, 16] {
        let (mut ip, mut port) = (vec![0; size], 0);
        let mut address = Slice::of(&mut ip);
        let address = at(&mut address);
        say(&format!("long address into {size} bytes"), raw::sock_getlocaladdr_v2(client, address, at(&mut port)));
    }
}

/// Descriptors of nobody, and of standard output.
fn descriptors() {
    let (mut bytes, mut length, mut flags, mut kind) = ([0; 4], 0_u32, 0_u16, 0);
    let mut data = Slice::of(&mut bytes);
    let data = at(&mut data);
    let (length, flags, kind) = (at(&mut length), at(&mut flags), at(&mut kind));
    for fd in [NOBODY, -1] {
        say("bind", raw::sock_bind(fd, data, 0));
        say("listen", raw::sock_listen(fd, 1));
        say("accept", raw::sock_accept(fd, length));
        say("accept with flags", raw::sock_accept_3(fd, 0, length));
        say("connect", raw::sock_connect(fd, data, 1));
        say("recv", raw::sock_recv(fd, data, 1, 0, length, flags));
        say("recv_from", raw::sock_recv_from(fd, data, 1, data, 0, length, flags));
        say("send", raw::sock_send(fd, data, 1, 0, length));
        say("send_to", raw::sock_send_to(fd, data, 1, data, 1, 0, length));
        say("shutdown", raw::sock_shutdown(fd, 1));
        say("getlocaladdr", raw::sock_getlocaladdr(fd, data, kind, length));
        say("getpeeraddr", raw::sock_getpeeraddr(fd, data, kind, length));
        say("getsockopt", raw::sock_getsockopt(fd, 0, 1, kind, length));
        say("setsockopt", raw::sock_setsockopt(fd, 0, 0, kind, 4));
        say("fd_close", raw::fd_close(fd));
    }
    say("listen on standard output", raw::sock_listen(1, 1));
    say("address of standard output", raw::sock_getlocaladdr(1, data, kind, length));
}

/// Pointers to nowhere.
fn pointers() {
    let mut out = 0;
    let out = at(&mut out);
    say("open", raw::sock_open(INET4, STREAM, NOWHERE));
    say("bind", raw::sock_bind(open(STREAM), NOWHERE, 0));
    let mut outside = Slice { start: std::ptr::without_provenance_mut(0xffff_fff0), length: 4 };
    say("bind inside of nowhere", raw::sock_bind(open(STREAM), at(&mut outside), 0));
    let (listener, port) = listener();
    let client = open(STREAM);
    say("connect", raw::sock_connect(client, NOWHERE, port.into()));
    say("connect inside of nowhere", raw::sock_connect(client, at(&mut outside), port.into()));
    assert_eq!(connect(client, port), 0);
    say("accept", raw::sock_accept(listener, NOWHERE));
    say("send", raw::sock_send(client, NOWHERE, 1, 0, out));
    say("send from nowhere", raw::sock_send(client, at(&mut outside), 1, 0, out));
    let mut bytes = [0; 4];
    say("send, length", raw::sock_send(client, at(&mut Slice::of(&mut bytes)), 1, 0, NOWHERE));
    say("recv", raw::sock_recv(client, NOWHERE, 1, 0, out, out));
    say("recv into nowhere", raw::sock_recv(client, at(&mut outside), 1, 0, out, out));
    say("getlocaladdr", raw::sock_getlocaladdr(client, NOWHERE, out, out));
    say("getpeeraddr", raw::sock_getpeeraddr(client, at(&mut outside), out, out));
    let mut four = 4;
    say("getsockopt", raw::sock_getsockopt(client, 0, 1, NOWHERE, at(&mut four)));
    say("getsockopt, length", raw::sock_getsockopt(client, 0, 1, out, NOWHERE));
    say("setsockopt", raw::sock_setsockopt(client, 0, 0, NOWHERE, 4));
    say("poll", raw::poll_oneoff(NOWHERE, NOWHERE, 1, out));
    let mut odd = [0_u8; 8];
    say("open, odd pointer", raw::sock_open(INET4, STREAM, at(&mut odd) | 1));
}

/// Calls at the wrong time.
fn states() {
    let mut out = 0;
    let fresh = open(STREAM);
    say("accept of no listener", raw::sock_accept(fresh, at(&mut out)));
    let (mut bytes, mut length, mut flags) = ([0; 4], 0_u32, 0_u16);
    let mut data = Slice::of(&mut bytes);
    say("send unconnected", raw::sock_send(fresh, at(&mut data), 1, 0, at(&mut length)));
    let (length, flags) = (at(&mut length), at(&mut flags));
    say("receive unconnected", raw::sock_recv(fresh, at(&mut data), 1, 0, length, flags));
    let (mut ip, mut kind) = (LOOPBACK, 0);
    let mut address = Slice::of(&mut ip);
    say("peer of nobody", raw::sock_getpeeraddr(fresh, at(&mut address), at(&mut kind), length));
    say("address of unbound", raw::sock_getlocaladdr(fresh, at(&mut address), at(&mut kind), length));
    println!("it is {ip:?}");
    let (listener, port) = listener();
    say("bind again", bind(listener, 0));
    say("bind where another listens", bind(open(STREAM), port));
    say("listen again", raw::sock_listen(listener, 1));
    say("connect a listener", connect(listener, port));
    let (client, server) = pair();
    say("listen on a connection", raw::sock_listen(client, 1));
    say("bind a connection", bind(server, 0));
    let mut six = [0; 16];
    six[15] = 1;
    say("IPv6 on an IPv4 socket", raw::sock_bind(open(STREAM), at(&mut Slice::of(&mut six)), 0));
    say("send_to without an address", {
        let mut none = [];
        raw::sock_send_to(open(DATAGRAM), at(&mut data), 1, at(&mut Slice::of(&mut none)), 1, 0, length)
    });
}
