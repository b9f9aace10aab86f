//! `poll_oneoff` and `epoll_oneoff`, event by event.

use crate::calls::{STREAM, accept, at, connect, listener, open, pair, raw, receive, send, set_nonblocking};

/// `__wasi_subscription_t`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Subscription {
    userdata: u64,
    tag: u64,
    /// The descriptor, or the clock.
    subject: u64,
    timeout: u64,
    precision: u64,
    flags: u64,
}

/// `__wasi_event_t`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Event {
    userdata: u64,
    errno: u16,
    kind: u8,
    length: u64,
    flags: u16,
}

const CLOCK: u64 = 0;
const READ: u64 = 1;
const WRITE: u64 = 2;

type Poll = extern "C" fn(i32, i32, i32, i32) -> i32;

pub fn run() {
    for (name, call) in [("poll", raw::poll_oneoff as Poll), ("epoll", raw::epoll_oneoff)] {
        let (client, server) = pair();
        show(name, "writable", call, &[io(1, WRITE, client)]);
        show(name, "nothing to read", call, &[io(1, READ, client), clock(2, 1, 0)]);
        send(server, "hello");
        show(name, "readable", call, &[io(1, READ, client), clock(2, 1, 60_000_000_000)]);
        show(name, "both", call, &[io(1, READ, server), io(2, WRITE, server), io(3, WRITE, client)]);
        receive(client, 16, 0);
        raw::sock_shutdown(server, 2);
        show(name, "half closed", call, &[io(1, READ, client)]);
        let (client, server) = pair();
        raw::fd_close(server);
        show(name, "closed by the peer", call, &[io(1, READ, client)]);
        let (listener, port) = listener();
        show(name, "nobody came", call, &[io(1, READ, listener), clock(2, 0, 1_000_000)]);
        let client = open(STREAM);
        connect(client, port);
        show(name, "somebody came", call, &[io(1, READ, listener)]);
        accept(listener);
        show(name, "realtime clock", call, &[clock(7, 0, 1_000_000)]);
        show(name, "absolute time in the past", call, &[Subscription { flags: 1, ..clock(7, 0, 1) }]);
    }
    let (client, _server) = pair();
    let poll = raw::poll_oneoff as Poll;
    show("poll", "twice", poll, &[io(1, WRITE, client), io(2, WRITE, client)]);
    show("poll", "unknown descriptor", poll, &[io(1, READ, 99), clock(2, 1, 0)]);
    show("poll", "nothing", poll, &[]);
    let (closed, port) = listener();
    raw::fd_close(closed);
    let client = open(STREAM);
    set_nonblocking(client);
    let errno = connect(client, port);
    println!("connect to nobody: {errno}");
    wait(client, false);
    let (mut error, mut length) = (0_i32, 4_u32);
    let errno = raw::sock_getsockopt(client, 0, 2, at(&mut error), at(&mut length));
    println!("its error: {errno} {error}");
    let errno = raw::sock_getsockopt(client, 0, 2, at(&mut error), at(&mut length));
    println!("asked again: {errno} {error}");
    println!("receive: {:?}", receive(client, 4, 0));
}

/// Waits until a socket may be read or written.
pub fn wait(fd: i32, read: bool) {
    let mut subscription = io(1, if read { READ } else { WRITE }, fd);
    let (mut event, mut count) = (Event::default(), 0_u32);
    let errno = raw::poll_oneoff(at(&mut subscription), at(&mut event), 1, at(&mut count));
    assert_eq!((errno, count), (0, 1), "cannot wait");
}

fn io(userdata: u64, tag: u64, fd: i32) -> Subscription {
    let subject = u64::from(fd.cast_unsigned());
    Subscription { userdata, tag, subject, timeout: 0, precision: 0, flags: 0 }
}

fn clock(userdata: u64, id: u64, nanoseconds: u64) -> Subscription {
    Subscription { userdata, tag: CLOCK, subject: id, timeout: nanoseconds, precision: 0, flags: 0 }
}

fn show(name: &str, what: &str, poll: Poll, subscriptions: &[Subscription]) {
    let mut subscriptions = subscriptions.to_vec();
    let mut events = vec![Event::default(); subscriptions.len()];
    let mut count = 0_u32;
    let length = i32::try_from(subscriptions.len()).expect("small");
    let errno = poll(at(subscriptions.as_mut_slice()), at(events.as_mut_slice()), length, at(&mut count));
    println!("{name}, {what}: {errno} {count}");
    for event in events.iter().take(usize::try_from(count).expect("small")) {
        // How many bytes is a guess on every host.
        println!("  {} kind {} errno {} flags {}", event.userdata, event.kind, event.errno, event.flags);
    }
}
