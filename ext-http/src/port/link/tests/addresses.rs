//! Addresses and names, in all layouts.

use super::{
    case::{ADDRESS, BUFFER, Case, OUT, OUT_2, call, check, ipv6, word, words},
    harness::Answer::Number,
};

#[test]
fn addresses_are_passed_as_they_are() {
    let names = [
        ("sock_bind", "sockets.bind"),
        ("sock_bind_v2", "sockets.bind"),
        ("sock_connect", "sockets.connect"),
        ("sock_connect_v2", "sockets.connect"),
    ];
    let cases = names.into_iter().flat_map(|(name, asked)| {
        [0, 4, 16, 128].map(|room| {
            let list = [0xab; 128];
            call(name, &[600, ADDRESS, 80])
                .finds_address(room)
                .finds(BUFFER, list)
                .asks_with(asked, &[600, 80], &[&list[..room as usize]], Number(-28))
                .gives(28)
        })
    });
    check(cases);
}

#[test]
fn an_address_is_stored_in_the_layout_of_its_room() {
    let (six, [first, second]) = ipv6();
    let four = vec![10, 0, 0, 1];
    let layouts = [
        (4, 1, 0, four.clone()),
        (16, 1, 0, four.clone()),
        (128, 1, 0, [vec![1, 0], four].concat()),
        (5, 1, 28, vec![]),
        (0, 1, 28, vec![]),
        (4, 2, 48, vec![]),
        (16, 2, 0, six.clone()),
        (128, 2, 0, [vec![2, 0], six].concat()),
        (17, 2, 28, vec![]),
    ];
    let mut cases = Vec::new();
    for (side, name) in [(0, "sock_getlocaladdr"), (1, "sock_getpeeraddr")] {
        let asks = |case: Case, family: i64| {
            let words = if family == 1 { [0x0100_000a, 0] } else { [first, second] };
            case.asks("sockets.get-address", &[600, side, 0], Number(family | 8080 << 16))
                .asks("sockets.get-address", &[600, side, 1], Number(words[0]))
                .asks("sockets.get-address", &[600, side, 2], Number(words[1]))
        };
        for (room, family, result, bytes) in layouts.clone() {
            let v1 = call(name, &[600, ADDRESS, OUT, OUT_2]);
            let v2 = call(&format!("{name}/3"), &[600, ADDRESS, OUT]);
            let other = call(&format!("{name}_v2"), &[600, ADDRESS, OUT]);
            let of_ip = words(&[if family == 1 { 4 } else { 6 }]);
            let told = [
                v1.clone().stores(OUT, of_ip).stores(OUT_2, words(&[8080])),
                v2.clone().stores(OUT, words(&[8080])),
                other.clone().stores(OUT, words(&[8080])),
            ];
            let told = if result == 0 { told } else { [v1, v2, other] };
            cases.extend(
                told.map(|case| asks(case, family).finds_address(room).stores(BUFFER, bytes.clone()).gives(result)),
            );
        }
        let failed = call(name, &[600, ADDRESS, OUT, OUT_2]).finds_address(16);
        cases.push(failed.asks("sockets.get-address", &[600, side, 0], Number(-53)).gives(53));
    }
    check(cases);
}

const HINTS: usize = 0x500;
const RESULT: usize = 0x520;
const ENTRY: usize = 0x600;
const SOCKADDR: usize = 0x640;
const DATA: usize = 0x680;

/// A question for the address of a name, with room for one answer.
fn asks_for_name() -> Case {
    call("sock_getaddrinfo", &[BUFFER, 12, BUFFER + 12, 4, HINTS, RESULT, 10, OUT])
        .finds(BUFFER, *b"example.com\0http")
        .finds(HINTS, [0, 0, 1, 2, 1])
        .finds(RESULT, words(&[word(ENTRY)]))
        .finds(ENTRY, [vec![9; 8], words(&[0, word(SOCKADDR), 1, 0, 0])].concat())
        .finds(SOCKADDR, [vec![9; 4], words(&[14, word(DATA)])].concat())
}

fn found(case: Case, count: i64) -> Case {
    // Type and protocol are in one number.
    case.asks_with("sockets.look-up", &[0, 1, 0x102, 10], &[b"example.com\0", b"http"], Number(count))
}

#[test]
fn names_are_looked_up_into_the_programs_structs() {
    let (six, [first, second]) = ipv6();
    check([
        found(asks_for_name(), 1)
            .asks("sockets.found", &[0, 0], Number(1 | 2 << 8 | 1 << 16 | 80 << 32))
            .asks("sockets.found", &[0, 1], Number(0x0100_12c6))
            .stores(ENTRY, [0, 0, 1, 2, 1])
            .stores(ENTRY + 8, words(&[16]))
            .stores(SOCKADDR, [1])
            .stores(SOCKADDR + 4, words(&[14]))
            .stores(DATA, [0, 80, 198, 18, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0])
            .stores(OUT, words(&[1])),
        found(asks_for_name(), 1)
            .asks("sockets.found", &[0, 0], Number(2 | 2 << 8 | 1 << 16 | 0x1f90 << 32))
            .asks("sockets.found", &[0, 1], Number(first))
            .asks("sockets.found", &[0, 2], Number(second))
            .stores(ENTRY, [0, 0, 2, 2, 1])
            .stores(ENTRY + 8, words(&[28]))
            .stores(SOCKADDR, [2])
            .stores(SOCKADDR + 4, words(&[26]))
            .stores(DATA, [vec![0x1f, 0x90, 0, 0, 0, 0], six, vec![0; 4]].concat())
            .stores(OUT, words(&[1])),
        found(asks_for_name(), -84).gives(84),
        // The program has made no struct at all.
        found(asks_for_name().finds(RESULT, words(&[0])), 1).stores(OUT, words(&[0])),
    ]);
}

#[test]
fn a_chain_of_structs_is_filled_as_far_as_there_are_addresses() {
    let next = 0x700;
    let chain = asks_for_name()
        .finds(ENTRY + 24, words(&[word(next)]))
        .finds(next, [vec![9; 8], words(&[0, word(SOCKADDR + 12), 1, 0, 0])].concat())
        .finds(SOCKADDR + 12, [vec![9; 4], words(&[14, word(DATA + 26)])].concat());
    let mut case = found(chain, 3);
    for (index, (entry, sockaddr, data)) in
        [(ENTRY, SOCKADDR, DATA), (next, SOCKADDR + 12, DATA + 26)].into_iter().enumerate()
    {
        let index = i64::try_from(index).expect("small");
        case = case
            .asks("sockets.found", &[index, 0], Number(1 | 2 << 8 | 1 << 16))
            .asks("sockets.found", &[index, 1], Number(0x0100_12c6))
            .stores(entry, [0, 0, 1, 2, 1])
            .stores(entry + 8, words(&[16]))
            .stores(sockaddr, [1])
            .stores(sockaddr + 4, words(&[14]))
            .stores(data, [0, 0, 198, 18, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    }
    check([case.stores(OUT, words(&[2]))]);
}

#[test]
fn addresses_of_a_name_are_stored_in_a_row() {
    let asks = |room: usize| {
        call("sock_lookup_ip", &[BUFFER, 11, 1, DATA, room, OUT]).finds(BUFFER, *b"example.com").asks_with(
            "sockets.look-up",
            &[0, 1, 0, 64],
            &[b"example.com", b""],
            Number(2),
        )
    };
    let one = asks(7)
        .asks("sockets.found", &[0, 1], Number(0x0100_12c6))
        .asks("sockets.found", &[0, 2], Number(0))
        .stores(DATA, [198, 18, 0, 1])
        .stores(OUT, words(&[1]));
    check([one, asks(3).stores(OUT, words(&[0])), call("sock_lookup_ip", &[BUFFER, 11, 3, DATA, 7, OUT]).gives(28)]);
}
