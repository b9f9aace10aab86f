//! What each call asks the shim, and what it stores: the same as natively, by any name and for any layout.

use super::{
    driver::Driver,
    harness::{Answer, Call},
};

/// Where arguments and results lie.
const ADDRESS: usize = 0x100;
const BUFFER: usize = 0x200;
const OUT: usize = 0x300;
const OUT_2: usize = 0x304;
const OUT_3: usize = 0x308;
const PARTS: usize = 0x400;

/// One call, which the shim answers so.
struct Case<'a> {
    call: &'a str,
    arguments: &'a [usize],
    memory: Vec<(usize, Vec<u8>)>,
    answers: Vec<Answer>,
    /// What the shim is asked: name, numbers, lists.
    asks: Vec<(&'a str, &'a [i64], Vec<&'a [u8]>)>,
    result: i64,
    stores: Vec<(usize, Vec<u8>)>,
}

impl Default for Case<'_> {
    fn default() -> Self {
        Self {
            call: "",
            arguments: &[],
            memory: Vec::new(),
            answers: Vec::new(),
            asks: Vec::new(),
            result: 0,
            stores: Vec::new(),
        }
    }
}

fn check(cases: Vec<Case<'_>>) {
    let driver = Driver::new();
    for case in cases {
        let mut memory = vec![0xee; 0x10000];
        let put = |memory: &mut Vec<u8>, parts: &[(usize, Vec<u8>)]| {
            for (at, bytes) in parts {
                memory[*at..at + bytes.len()].copy_from_slice(bytes);
            }
        };
        put(&mut memory, &case.memory);
        let mut answers = case.answers.into_iter();
        let outcome = driver.call(case.call, case.arguments, &memory, move |_| answers.next().expect("an answer"));
        put(&mut memory, &case.stores);
        let asks: Vec<_> = case
            .asks
            .into_iter()
            .map(|(name, numbers, lists)| Call {
                name: name.to_owned(),
                numbers: numbers.to_vec(),
                lists: lists.into_iter().map(<[u8]>::to_vec).collect(),
            })
            .collect();
        let what = format!("{} {:x?}", case.call, case.arguments);
        assert_eq!(outcome.calls, asks, "{what}");
        assert_eq!(outcome.result, Some(case.result), "{what}");
        for (at, (found, expected)) in outcome.memory.iter().zip(&memory).enumerate() {
            assert_eq!(found, expected, "{what}, at {at:#x}");
        }
    }
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn descriptor(room: u32) -> (usize, Vec<u8>) {
    (ADDRESS, words(&[u32::try_from(BUFFER).expect("small"), room]))
}

/// Word 0 of an address.
fn family_and_port(family: i64, port: i64) -> Answer {
    Answer::Number(family | port << 16)
}

fn ipv6() -> (Vec<u8>, [i64; 2]) {
    let bytes: Vec<u8> = (1..=16).collect();
    let word = |at: usize| i64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight"));
    let words = [word(0), word(8)];
    (bytes, words)
}

#[test]
fn sockets_are_opened_and_accepted() {
    let fd = |value: i64| vec![Answer::Number(value)];
    let stored = || vec![(OUT, words(&[600]))];
    check(vec![
        Case {
            call: "sock_open",
            arguments: &[1, 2, OUT],
            answers: fd(600),
            asks: vec![("sockets.open", &[1, 2], vec![])],
            stores: stored(),
            ..Case::default()
        },
        Case {
            call: "sock_open",
            arguments: &[3, 2, OUT],
            answers: fd(-52),
            asks: vec![("sockets.open", &[3, 2], vec![])],
            result: 52,
            ..Case::default()
        },
        Case {
            call: "sock_accept",
            arguments: &[599, OUT],
            answers: fd(600),
            asks: vec![("sockets.accept", &[599, 0], vec![])],
            stores: stored(),
            ..Case::default()
        },
        Case {
            call: "sock_accept/3",
            arguments: &[599, 4, OUT],
            answers: fd(600),
            asks: vec![("sockets.accept", &[599, 4], vec![])],
            stores: stored(),
            ..Case::default()
        },
        Case {
            call: "sock_accept_v2",
            arguments: &[599, 4, OUT],
            answers: fd(-6),
            asks: vec![("sockets.accept", &[599, 4], vec![])],
            result: 6,
            ..Case::default()
        },
    ]);
}

#[test]
fn addresses_are_passed_as_they_are() {
    let mut cases = Vec::new();
    for (call, asked) in [
        ("sock_bind", "sockets.bind"),
        ("sock_connect", "sockets.connect"),
        ("sock_bind_v2", "sockets.bind"),
        ("sock_connect_v2", "sockets.connect"),
    ] {
        for room in [0, 4, 16, 128] {
            static BYTES: [u8; 128] = [0xab; 128];
            cases.push(Case {
                call,
                arguments: &[600, ADDRESS, 80],
                memory: vec![descriptor(room), (BUFFER, BYTES.to_vec())],
                answers: vec![Answer::Number(-28)],
                asks: vec![(asked, &[600, 80], vec![&BYTES[..room as usize]])],
                result: 28,
                ..Case::default()
            });
        }
    }
    check(cases);
}

#[test]
fn an_address_is_stored_in_the_layout_of_its_room() {
    let (six, [first, second]) = ipv6();
    let four = vec![10, 0, 0, 1];
    let ipv4 = || vec![family_and_port(1, 8080), Answer::Number(0x0100_000a), Answer::Number(0)];
    let ipv6 = || vec![family_and_port(2, 8080), Answer::Number(first), Answer::Number(second)];
    let of_room: [(u32, bool, i64, Vec<u8>); 8] = [
        (4, false, 0, four.clone()),
        (16, false, 0, four.clone()),
        (128, false, 0, [vec![1, 0], four].concat()),
        (5, false, 28, vec![]),
        (4, true, 48, vec![]),
        (16, true, 0, six.clone()),
        (128, true, 0, [vec![2, 0], six].concat()),
        (17, true, 28, vec![]),
    ];
    let mut cases = Vec::new();
    for (side, names) in
        [(0, ["sock_getlocaladdr", "sock_getlocaladdr/3"]), (1, ["sock_getpeeraddr", "sock_getpeeraddr/3"])]
    {
        let asks: [&'static [i64]; 3] = if side == 0 {
            [&[600, 0, 0], &[600, 0, 1], &[600, 0, 2]]
        } else {
            [&[600, 1, 0], &[600, 1, 1], &[600, 1, 2]]
        };
        for (room, is_ipv6, result, bytes) in &of_room {
            let told = if *is_ipv6 { 6 } else { 4 };
            let address = (BUFFER, bytes.clone());
            for (call, arguments, told) in [
                (names[0], &[600, ADDRESS, OUT, OUT_2][..], vec![(OUT, words(&[told])), (OUT_2, words(&[8080]))]),
                (names[1], &[600, ADDRESS, OUT][..], vec![(OUT, words(&[8080]))]),
            ] {
                cases.push(Case {
                    call,
                    arguments,
                    memory: vec![descriptor(*room)],
                    answers: if *is_ipv6 { ipv6() } else { ipv4() },
                    asks: asks.iter().map(|numbers| ("sockets.get-address", *numbers, vec![])).collect(),
                    result: *result,
                    stores: if *result == 0 { [vec![address.clone()], told].concat() } else { vec![] },
                });
            }
        }
        cases.push(Case {
            call: names[0],
            arguments: &[600, ADDRESS, OUT, OUT_2],
            memory: vec![descriptor(16)],
            answers: vec![Answer::Number(-53)],
            asks: vec![("sockets.get-address", asks[0], vec![])],
            result: 53,
            ..Case::default()
        });
    }
    check(cases);
}

#[test]
fn receiving_tells_where_from() {
    let part = || vec![(PARTS, words(&[u32::try_from(BUFFER + 64).expect("small"), 10])), descriptor(4)];
    let answers =
        || vec![Answer::List(vec![7; 3]), family_and_port(1, 99), Answer::Number(0x0100_000a), Answer::Number(0)];
    let asks: fn() -> Vec<(&'static str, &'static [i64], Vec<&'static [u8]>)> = || {
        vec![
            ("sockets.recv", &[600, 10, 2], vec![]),
            ("sockets.get-address", &[600, 1, 0], vec![]),
            ("sockets.get-address", &[600, 1, 1], vec![]),
            ("sockets.get-address", &[600, 1, 2], vec![]),
        ]
    };
    let stores =
        || vec![(BUFFER + 64, vec![7; 3]), (BUFFER, vec![10, 0, 0, 1]), (OUT, words(&[3])), (OUT_2, vec![0, 0])];
    check(vec![
        Case {
            call: "sock_recv_from",
            arguments: &[600, PARTS, 1, ADDRESS, 2, OUT, OUT_2],
            memory: part(),
            answers: answers(),
            asks: asks(),
            stores: stores(),
            ..Case::default()
        },
        Case {
            call: "sock_recv_from/8",
            arguments: &[600, PARTS, 1, ADDRESS, 2, OUT_3, OUT, OUT_2],
            memory: part(),
            answers: answers(),
            asks: asks(),
            stores: [stores(), vec![(OUT_3, words(&[99]))]].concat(),
            ..Case::default()
        },
        Case {
            call: "sock_recv",
            arguments: &[600, PARTS, 1025, 0, OUT, OUT_2],
            memory: part(),
            result: 28,
            ..Case::default()
        },
    ]);
}

#[test]
fn everything_is_sent_as_far_as_the_socket_takes_it() {
    let at = |offset: usize| u32::try_from(BUFFER + offset).expect("small");
    let parts = || vec![(PARTS, words(&[0, 0, at(0), 3, 0, 0, at(3), 2, 0, 0])), (BUFFER, b"abcde".to_vec())];
    let asked = |list: &'static [u8]| ("sockets.send", &[600, 0][..], vec![list]);
    let number = Answer::Number;
    check(vec![
        Case {
            call: "sock_send",
            arguments: &[600, PARTS, 5, 0, OUT],
            memory: parts(),
            answers: vec![number(3), number(2)],
            asks: vec![asked(b"abc"), asked(b"de")],
            stores: vec![(OUT, words(&[5]))],
            ..Case::default()
        },
        Case {
            call: "fd_write",
            arguments: &[600, PARTS, 5, OUT],
            memory: parts(),
            answers: vec![number(2)],
            asks: vec![asked(b"abc")],
            stores: vec![(OUT, words(&[2]))],
            ..Case::default()
        },
        Case {
            call: "sock_send_to",
            arguments: &[600, PARTS, 5, ADDRESS, 80, 0, OUT],
            memory: parts(),
            answers: vec![number(3), number(-6)],
            asks: vec![asked(b"abc"), asked(b"de")],
            stores: vec![(OUT, words(&[3]))],
            ..Case::default()
        },
        Case {
            call: "sock_send",
            arguments: &[600, PARTS, 5, 0, OUT],
            memory: parts(),
            answers: vec![number(-64)],
            asks: vec![asked(b"abc")],
            result: 64,
            ..Case::default()
        },
        // Whether it can send at all is asked nevertheless.
        Case {
            call: "sock_send",
            arguments: &[600, PARTS, 1, 0, OUT],
            memory: parts(),
            answers: vec![number(-8)],
            asks: vec![asked(b"")],
            result: 8,
            ..Case::default()
        },
        Case {
            call: "sock_send",
            arguments: &[600, PARTS, 0, 0, OUT],
            memory: parts(),
            answers: vec![number(0)],
            asks: vec![asked(b"")],
            stores: vec![(OUT, words(&[0]))],
            ..Case::default()
        },
        Case {
            call: "sock_send",
            arguments: &[600, PARTS, 1025, 0, OUT],
            memory: parts(),
            result: 28,
            ..Case::default()
        },
    ]);
}

#[test]
fn a_descriptor_of_a_socket_is_told_as_one() {
    let number = Answer::Number;
    let rights = |rights: u64| [vec![6, 0, 4, 0, 0, 0, 0, 0], rights.to_le_bytes().to_vec(), vec![0; 8]].concat();
    let asks = || vec![("sockets.get-flags", &[600][..], vec![])];
    let mut stat = vec![0; 64];
    stat[16] = 6;
    check(vec![
        Case {
            call: "fd_fdstat_get",
            arguments: &[600, OUT],
            answers: vec![number(4)],
            asks: asks(),
            stores: vec![(OUT, rights(0xF_F800_004A))],
            ..Case::default()
        },
        Case {
            call: "fd_fdstat_get",
            arguments: &[600, OUT],
            answers: vec![number(0x1_0004)],
            asks: asks(),
            stores: vec![(OUT, rights(0xF_1800_004A))],
            ..Case::default()
        },
        Case {
            call: "fd_fdstat_get",
            arguments: &[600, OUT],
            answers: vec![number(-8)],
            asks: asks(),
            result: 8,
            ..Case::default()
        },
        Case {
            call: "fd_filestat_get",
            arguments: &[600, OUT],
            answers: vec![number(0)],
            asks: asks(),
            stores: vec![(OUT, stat)],
            ..Case::default()
        },
        Case {
            call: "fd_fdstat_set_flags",
            arguments: &[600, 4],
            answers: vec![number(0)],
            asks: vec![("sockets.set-flags", &[600, 4], vec![])],
            ..Case::default()
        },
        Case {
            call: "fd_close",
            arguments: &[600],
            answers: vec![number(0)],
            asks: vec![("sockets.close", &[600], vec![])],
            ..Case::default()
        },
        Case {
            call: "fd_renumber",
            arguments: &[600, 601],
            answers: vec![number(0)],
            asks: vec![("sockets.renumber", &[600, 601], vec![])],
            ..Case::default()
        },
        Case { call: "fd_renumber", arguments: &[600, 5], result: 58, ..Case::default() },
        Case { call: "fd_renumber", arguments: &[5, 600], result: 58, ..Case::default() },
        Case {
            call: "sock_shutdown",
            arguments: &[600, 3],
            answers: vec![number(-53)],
            asks: vec![("sockets.shutdown", &[600, 3], vec![])],
            result: 53,
            ..Case::default()
        },
        Case {
            call: "sock_listen",
            arguments: &[600, 128],
            answers: vec![number(0)],
            asks: vec![("sockets.listen", &[600, 128], vec![])],
            ..Case::default()
        },
        Case {
            call: "sock_setsockopt",
            arguments: &[600, 0, 0, BUFFER, 4],
            memory: vec![(BUFFER, words(&[1]))],
            answers: vec![number(0)],
            asks: vec![("sockets.set-option", &[600, 0, 0], vec![&[1, 0, 0, 0]])],
            ..Case::default()
        },
    ]);
}

#[test]
fn a_descriptor_of_a_file_is_the_adapters() {
    let calls: [(&str, &[usize], &[i64]); 7] = [
        ("fd_read", &[5, PARTS, 1, OUT], &[5, 0x400, 1, 0x300]),
        ("fd_write", &[511, PARTS, 1, OUT], &[511, 0x400, 1, 0x300]),
        ("fd_close", &[5], &[5]),
        ("fd_fdstat_get", &[5, OUT], &[5, 0x300]),
        ("fd_fdstat_set_flags", &[5, 4], &[5, 4]),
        ("fd_filestat_get", &[5, OUT], &[5, 0x300]),
        ("fd_renumber", &[5, 6], &[5, 6]),
    ];
    for (call, arguments, numbers) in calls {
        let asks = format!("wasi.{call}");
        check(vec![Case {
            call,
            arguments,
            answers: vec![Answer::Number(8)],
            asks: vec![(&asks, numbers, vec![])],
            result: 8,
            ..Case::default()
        }]);
    }
}

#[test]
fn names_are_looked_up_into_the_programs_structs() {
    const HINTS: usize = 0x500;
    const RESULT: usize = 0x520;
    const ENTRY: usize = 0x600;
    const SOCKADDR: usize = 0x640;
    const DATA: usize = 0x680;
    let small = |at: usize| u32::try_from(at).expect("small");
    let memory = || {
        vec![
            (BUFFER, b"example.com\0http".to_vec()),
            (HINTS, vec![0, 0, 1, 2, 1]),
            (RESULT, words(&[small(ENTRY)])),
            (ENTRY, [vec![9; 8], words(&[0, small(SOCKADDR), 1, 0, 0])].concat()),
            (SOCKADDR, [vec![9; 4], words(&[14, small(DATA)])].concat()),
        ]
    };
    let arguments = &[BUFFER, 12, BUFFER + 12, 4, HINTS, RESULT, 10, OUT];
    // Type, protocol, and the rest.
    let asked: (&str, &[i64], Vec<&[u8]>) = ("sockets.look-up", &[0, 1, 0x102, 10], vec![b"example.com\0", b"http"]);
    let (six, [first, second]) = ipv6();
    let found = |word: i64| {
        (
            "sockets.found",
            if word == 0 {
                &[0, 0][..]
            } else if word == 1 {
                &[0, 1]
            } else {
                &[0, 2]
            },
            vec![],
        )
    };
    check(vec![
        Case {
            call: "sock_getaddrinfo",
            arguments,
            memory: memory(),
            answers: vec![
                Answer::Number(1),
                Answer::Number(1 | 2 << 8 | 1 << 16 | 80 << 32),
                Answer::Number(0x0100_12c6),
            ],
            asks: vec![asked.clone(), found(0), found(1)],
            stores: vec![
                (ENTRY, vec![0, 0, 1, 2, 1]),
                (ENTRY + 8, words(&[16])),
                (SOCKADDR, vec![1]),
                (SOCKADDR + 4, words(&[14])),
                (DATA, vec![0, 80, 198, 18, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]),
                (OUT, words(&[1])),
            ],
            ..Case::default()
        },
        Case {
            call: "sock_getaddrinfo",
            arguments,
            memory: memory(),
            answers: vec![
                Answer::Number(1),
                Answer::Number(2 | 2 << 8 | 1 << 16 | 0x1f90 << 32),
                Answer::Number(first),
                Answer::Number(second),
            ],
            asks: vec![asked.clone(), found(0), found(1), found(2)],
            stores: vec![
                (ENTRY, vec![0, 0, 2, 2, 1]),
                (ENTRY + 8, words(&[28])),
                (SOCKADDR, vec![2]),
                (SOCKADDR + 4, words(&[26])),
                (DATA, [vec![0x1f, 0x90, 0, 0, 0, 0], six, vec![0; 4]].concat()),
                (OUT, words(&[1])),
            ],
            ..Case::default()
        },
        Case {
            call: "sock_getaddrinfo",
            arguments,
            memory: memory(),
            answers: vec![Answer::Number(-84)],
            asks: vec![asked.clone()],
            result: 84,
            ..Case::default()
        },
        // The program has made no struct at all.
        Case {
            call: "sock_getaddrinfo",
            arguments,
            memory: [memory(), vec![(RESULT, words(&[0]))]].concat(),
            answers: vec![Answer::Number(1)],
            asks: vec![asked],
            stores: vec![(OUT, words(&[0]))],
            ..Case::default()
        },
        Case {
            call: "sock_lookup_ip",
            arguments: &[BUFFER, 11, 1, DATA, 7, OUT],
            memory: memory(),
            answers: vec![Answer::Number(1), Answer::Number(0x0100_12c6), Answer::Number(0)],
            asks: vec![("sockets.look-up", &[0, 1, 0, 64], vec![b"example.com", b""]), found(1), found(2)],
            stores: vec![(DATA, vec![198, 18, 0, 1]), (OUT, words(&[1]))],
            ..Case::default()
        },
        Case {
            call: "sock_lookup_ip",
            arguments: &[BUFFER, 11, 3, DATA, 7, OUT],
            memory: memory(),
            result: 28,
            ..Case::default()
        },
    ]);
}

#[test]
fn polls_without_sockets_are_the_adapters() {
    let file = || vec![(BUFFER, [vec![0; 8], vec![1], vec![0; 7], words(&[5])].concat())];
    check(vec![
        Case {
            call: "poll_oneoff",
            arguments: &[BUFFER, OUT, 1, OUT_3],
            memory: file(),
            answers: vec![Answer::Number(0)],
            asks: vec![("wasi.poll_oneoff", &[0x200, 0x300, 1, 0x308], vec![])],
            ..Case::default()
        },
        Case {
            call: "epoll_oneoff",
            arguments: &[BUFFER, OUT, 0, OUT_3],
            memory: file(),
            answers: vec![Answer::Number(28)],
            asks: vec![("wasi.poll_oneoff", &[0x200, 0x300, 0, 0x308], vec![])],
            result: 28,
            ..Case::default()
        },
        Case {
            call: "poll_oneoff",
            arguments: &[BUFFER, OUT, 4097, OUT_3],
            memory: file(),
            result: 28,
            ..Case::default()
        },
    ]);
}

#[test]
fn the_codec_passes_numbers_and_bytes() {
    let number = Answer::Number;
    let bytes = || vec![(BUFFER, b"abc".to_vec())];
    check(vec![
        Case { call: "default_config", ..Case::default() },
        Case {
            call: "new_codec",
            arguments: &[0, BUFFER, 3],
            memory: bytes(),
            answers: vec![number(2)],
            asks: vec![("codec.open", &[0], vec![b"abc"])],
            result: 2,
            ..Case::default()
        },
        Case {
            call: "codec_wants",
            arguments: &[2],
            answers: vec![number(3)],
            asks: vec![("codec.wants", &[2], vec![])],
            result: 3,
            ..Case::default()
        },
        Case {
            call: "codec_is_handshaking",
            arguments: &[2],
            answers: vec![number(-1)],
            asks: vec![("codec.is-handshaking", &[2], vec![])],
            result: -1,
            ..Case::default()
        },
        Case {
            call: "delete_codec",
            arguments: &[2],
            answers: vec![number(0)],
            asks: vec![("codec.close", &[2], vec![])],
            ..Case::default()
        },
        Case {
            call: "write_raw",
            arguments: &[2, BUFFER, 3],
            memory: bytes(),
            answers: vec![number(3)],
            asks: vec![("codec.write-raw", &[2], vec![b"abc"])],
            result: 3,
            ..Case::default()
        },
        Case {
            call: "read_tls",
            arguments: &[2, BUFFER, 3],
            memory: bytes(),
            answers: vec![number(1)],
            asks: vec![("codec.read-tls", &[2], vec![b"abc"])],
            result: 1,
            ..Case::default()
        },
        Case {
            call: "process_new_packets",
            arguments: &[2, OUT],
            answers: vec![number(0), number(7), number(8), number(1)],
            asks: vec![
                ("codec.process", &[2], vec![]),
                ("codec.state", &[2, 0], vec![]),
                ("codec.state", &[2, 1], vec![]),
                ("codec.state", &[2, 2], vec![]),
            ],
            stores: vec![(OUT, words(&[7, 8, 1]))],
            ..Case::default()
        },
        Case {
            call: "process_new_packets",
            arguments: &[2, OUT],
            answers: vec![number(-12)],
            asks: vec![("codec.process", &[2], vec![])],
            result: -12,
            ..Case::default()
        },
    ]);
}
