//! What each call asks the shim, and what it stores: the same as natively, by any name.

use super::{
    case::{BUFFER, OUT, OUT_2, OUT_3, PARTS, call, check, word, words},
    harness::Answer::{List, Number},
};

#[test]
fn sockets_are_opened_and_accepted() {
    check([
        call("sock_open", &[1, 2, OUT]).asks("sockets.open", &[1, 2], Number(600)).stores(OUT, words(&[600])),
        call("sock_open", &[3, 2, OUT]).asks("sockets.open", &[3, 2], Number(-52)).gives(52),
        call("sock_accept", &[599, OUT]).asks("sockets.accept", &[599, 0], Number(600)).stores(OUT, words(&[600])),
        call("sock_accept/3", &[599, 4, OUT]).asks("sockets.accept", &[599, 4], Number(600)).stores(OUT, words(&[600])),
        call("sock_accept_v2", &[599, 4, OUT]).asks("sockets.accept", &[599, 4], Number(-6)).gives(6),
        call("sock_listen", &[600, 128]).asks("sockets.listen", &[600, 128], Number(0)),
        call("sock_shutdown", &[600, 3]).asks("sockets.shutdown", &[600, 3], Number(-53)).gives(53),
        call("sock_setsockopt", &[600, 0, 11, BUFFER, 20]).finds(BUFFER, [1; 20]).asks_with(
            "sockets.set-option",
            &[600, 0, 11],
            &[&[1; 16]],
            Number(0),
        ),
    ]);
}

#[test]
fn everything_is_sent_as_far_as_the_socket_takes_it() {
    let parts = words(&[0, 0, word(BUFFER), 3, 0, 0, word(BUFFER + 3), 2, 0, 0]);
    let sends =
        |name: &str, arguments: &[usize]| call(name, arguments).finds(PARTS, parts.clone()).finds(BUFFER, *b"abcde");
    let send = "sockets.send";
    check([
        sends("sock_send", &[600, PARTS, 5, 0, OUT])
            .asks_with(send, &[600, 0], &[b"abc"], Number(3))
            .asks_with(send, &[600, 0], &[b"de"], Number(2))
            .stores(OUT, words(&[5])),
        sends("fd_write", &[600, PARTS, 5, OUT])
            .asks_with(send, &[600, 0], &[b"abc"], Number(2))
            .stores(OUT, words(&[2])),
        sends("sock_send_to", &[600, PARTS, 5, 0, 80, 0, OUT])
            .asks_with(send, &[600, 0], &[b"abc"], Number(3))
            .asks_with(send, &[600, 0], &[b"de"], Number(-6))
            .stores(OUT, words(&[3])),
        sends("sock_send", &[600, PARTS, 5, 1, OUT]).asks_with(send, &[600, 1], &[b"abc"], Number(-28)).gives(28),
        // Whether it can send at all is asked nevertheless.
        sends("sock_send", &[600, PARTS, 1, 0, OUT]).asks_with(send, &[600, 0], &[b""], Number(-8)).gives(8),
        sends("sock_send", &[600, PARTS, 0, 0, OUT])
            .asks_with(send, &[600, 0], &[b""], Number(0))
            .stores(OUT, words(&[0])),
        sends("sock_send", &[600, PARTS, 1025, 0, OUT]).gives(28),
    ]);
}

#[test]
fn long_parts_are_sent_in_pieces() {
    let driver = super::driver::Driver::new();
    let mut memory = vec![7; 0x10000];
    // The pages behind the program's are zero, and may be read as well.
    memory[PARTS..PARTS + 8].copy_from_slice(&words(&[0x8000, 0x2_8000]));
    let outcome = driver.call("fd_write", &[600, PARTS, 1, OUT], &memory, |call| {
        Number(i64::try_from(call.lists[0].len()).expect("small"))
    });
    let lengths: Vec<_> = outcome.calls.iter().map(|call| call.lists[0].len()).collect();
    assert_eq!(lengths, [0x2_0000, 0x8000]);
    assert_eq!(outcome.memory[OUT..OUT + 4], words(&[0x2_8000]));
}

#[test]
fn receiving_tells_where_from() {
    let receives = |name: &str, arguments: &[usize]| {
        call(name, arguments)
            .finds(PARTS, words(&[0, 0, word(BUFFER + 64), 10]))
            .finds_address(4)
            .asks("sockets.recv", &[600, 10, 2], List(vec![7; 3]))
            .asks("sockets.get-address", &[600, 1, 0], Number(1 | 99 << 16))
            .asks("sockets.get-address", &[600, 1, 1], Number(0x0100_000a))
            .asks("sockets.get-address", &[600, 1, 2], Number(0))
            .stores(BUFFER + 64, [7; 3])
            .stores(BUFFER, [10, 0, 0, 1])
            .stores(OUT, words(&[3]))
            .stores(OUT_2, [0, 0])
    };
    check([
        receives("sock_recv_from", &[600, PARTS, 2, super::case::ADDRESS, 2, OUT, OUT_2]),
        receives("sock_recv_from/8", &[600, PARTS, 2, super::case::ADDRESS, 2, OUT_3, OUT, OUT_2])
            .stores(OUT_3, words(&[99])),
        call("sock_recv", &[600, PARTS, 1025, 0, OUT, OUT_2]).gives(28),
    ]);
}

#[test]
fn polls_without_sockets_are_the_adapters() {
    let subscription = [vec![0; 8], vec![1], vec![0; 7], words(&[5])].concat();
    let polls = |name: &str, count: usize| call(name, &[BUFFER, OUT, count, OUT_3]).finds(BUFFER, subscription.clone());
    check([
        polls("poll_oneoff", 1).asks("wasi.poll_oneoff", &[0x200, 0x300, 1, 0x308], Number(0)),
        polls("epoll_oneoff", 0).asks("wasi.poll_oneoff", &[0x200, 0x300, 0, 0x308], Number(28)).gives(28),
        polls("poll_oneoff", 4097).gives(28),
    ]);
}

#[test]
fn the_plugin_passes_requests() {
    let sends = |name: &str| call(name, &[BUFFER, 4, 443, BUFFER + 4, 3]).finds(BUFFER, *b"hostGET");
    check([
        sends("wasmedge_httpsreq_send_data").asks_with("plugin.send-data", &[443], &[b"host", b"GET"], Number(0)),
        sends("send_data").asks_with("plugin.send-data-until-nul", &[443], &[b"host", b"GET"], Number(0)),
        call("wasmedge_httpsreq_get_rcv_len", &[]).asks("plugin.received-length", &[], Number(9)).gives(9),
        call("get_rcv_len", &[]).asks("plugin.received-length", &[], Number(9)).gives(9),
    ]);
}

#[test]
fn the_codec_passes_numbers_and_bytes() {
    let passes = |name: &str, arguments: &[usize]| call(name, arguments).finds(BUFFER, *b"abc");
    check([
        call("default_config", &[]),
        passes("new_codec", &[0, BUFFER, 3]).asks_with("codec.open", &[0], &[b"abc"], Number(2)).gives(2),
        call("codec_wants", &[2]).asks("codec.wants", &[2], Number(3)).gives(3),
        call("codec_is_handshaking", &[2]).asks("codec.is-handshaking", &[2], Number(-1)).gives(-1),
        call("send_close_notify", &[2]).asks("codec.send-close-notify", &[2], Number(0)),
        call("delete_codec", &[2]).asks("codec.close", &[2], Number(0)),
        passes("write_raw", &[2, BUFFER, 3]).asks_with("codec.write-raw", &[2], &[b"abc"], Number(3)).gives(3),
        passes("read_tls", &[2, BUFFER, 3]).asks_with("codec.read-tls", &[2], &[b"abc"], Number(1)).gives(1),
        call("process_new_packets", &[2, OUT])
            .asks("codec.process", &[2], Number(0))
            .asks("codec.state", &[2, 0], Number(7))
            .asks("codec.state", &[2, 1], Number(8))
            .asks("codec.state", &[2, 2], Number(1))
            .stores(OUT, words(&[7, 8, 1])),
        call("process_new_packets", &[2, OUT]).asks("codec.process", &[2], Number(-12)).gives(-12),
    ]);
}
