//! Socket options: each number, on each kind of socket.

use crate::calls::{DATAGRAM, STREAM, at, listener, open, pair, raw};

/// Values which are the system's own, and differ between machines: `SO_SNDBUF`, `SO_RCVBUF`.
const SIZES: [i32; 2] = [5, 6];
const LINGER: i32 = 9;
const RECEIVE_TIMEOUT: i32 = 11;
const SEND_TIMEOUT: i32 = 12;
const DEVICE: i32 = 14;

pub fn run() {
    let (listener, _) = listener();
    let (client, server) = pair();
    let sockets = [
        ("stream", open(STREAM)),
        ("datagram", open(DATAGRAM)),
        ("listener", listener),
        ("client", client),
        ("server", server),
    ];
    for (name, fd) in sockets {
        for option in 0..=15 {
            println!("{name}: get {option}: {}", get(fd, option, size(option)));
        }
    }
    for option in 0..=15 {
        let (mut one, fd) = (1_i32, open(STREAM));
        let errno = raw::sock_setsockopt(fd, 0, option, at(&mut one), 4);
        println!("set {option}: {errno}, then {}", get(fd, option, size(option)));
    }
    for option in [RECEIVE_TIMEOUT, SEND_TIMEOUT] {
        // 2 s and 500 ms, as `timeval`.
        let (mut time, fd) = ([2_i64, 500_000], open(STREAM));
        let errno = raw::sock_setsockopt(fd, 0, option, at(&mut time), 16);
        println!("set {option} to a time: {errno}, then {}", get(fd, option, size(option)));
    }
    let (mut one, mut length) = (1_i32, 4_u32);
    println!("get at level 1: {}", raw::sock_getsockopt(client, 1, 1, at(&mut one), at(&mut length)));
    println!("set at level 1: {}", raw::sock_setsockopt(client, 1, 0, at(&mut one), 4));
    println!("set with 3 bytes: {}", raw::sock_setsockopt(client, 0, 0, at(&mut one), 3));
    timeout();
}

/// How long a value is.
fn size(option: i32) -> usize {
    match option {
        LINGER => 8,
        RECEIVE_TIMEOUT | SEND_TIMEOUT | DEVICE => 16,
        _ => 4,
    }
}

/// Asks with room for more or less than the value: some hosts do not survive it.
pub fn odd_lengths() {
    for option in [0, 1] {
        for size in [3, 0, 1, 8, 16] {
            println!("get {option} into {size} bytes: {}", get(open(STREAM), option, size));
        }
    }
}

fn get(fd: i32, option: i32, size: usize) -> String {
    let (mut value, mut length) = ([0_u64; 2], u32::try_from(size).expect("small"));
    let errno = raw::sock_getsockopt(fd, 0, option, at(&mut value), at(&mut length));
    let bytes: Vec<u8> = value.iter().flat_map(|word| word.to_le_bytes()).collect();
    let length = usize::try_from(length).expect("small").min(bytes.len());
    match errno {
        0 if SIZES.contains(&option) => format!("0, {length} bytes"),
        0 => format!("0 {:?}", &bytes[..length]),
        errno => errno.to_string(),
    }
}

/// A blocking receive gives up after its timeout.
fn timeout() {
    let (client, _server) = pair();
    let mut time = [0_i64, 50_000];
    let errno = raw::sock_setsockopt(client, 0, RECEIVE_TIMEOUT, at(&mut time), 16);
    println!("timeout: {errno}, receive: {:?}", crate::calls::receive(client, 4, 0));
}
