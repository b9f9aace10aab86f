//! Using an instance again: the program finds memory, globals and tables as in a new one.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::harness::{Answer, Call, Program};

/// A server with these fields; its `_start` yields first, and then does this.
fn server(fields: &str, code: &str) -> String {
    format!(
        r#"(module
          (import "wasi_snapshot_preview1" "sock_listen" (func (param i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
          (import "wasi_snapshot_preview1" "proc_raise" (func $tell (param i32) (result i32)))
          {fields}
          (func $say (param i32) (drop (call $tell (local.get 0))))
          (func (export "_start")
            (drop (call $yield))
            {code}))"#
    )
}

/// What the program tells in each of three requests, which must be the same.
fn told(text: &str) -> Vec<i64> {
    let mut running = Program::new(text).start(|_: &Call| Answer::Number(0));
    let mut requests: Vec<Vec<i64>> = (0..3)
        .map(|_| {
            running.handle().expect("no trap");
            let calls = running.calls().into_iter().filter(|call| call.name == "wasi.proc_raise");
            calls.map(|call| call.numbers[0]).collect()
        })
        .collect();
    requests.dedup();
    assert_eq!(requests.len(), 1, "{requests:?}");
    requests.remove(0)
}

#[test]
fn globals_are_put_back_whatever_their_value_is_made_of() {
    let fields = r#"(memory (export "memory") 1)
        (global $base i32 (i32.const 7))
        (global $a (mut i32) (i32.const 1))
        (global $b (mut i64) (i64.const -2))
        (global $c (mut f32) (f32.const 0.5))
        (global $d (mut f64) (f64.const nan:0x8000000000001))
        (global $e (mut v128) (v128.const i32x4 1 2 3 4))
        (global $f (mut funcref) (ref.func $one))
        (global $g (mut funcref) (ref.null func))
        (global $h (mut i32) (i32.add (global.get $base) (i32.mul (i32.const 3) (i32.const 5))))
        (global $i (mut externref) (ref.null extern))
        (global $j (mut (ref $unit)) (ref.func $one))
        (type $unit (func))
        (func $one (call $say (i32.const 100)))
        (func $two (call $say (i32.const 200)))
        (elem declare func $one $two)"#;
    let code = r#"(call $say (global.get $a))
        (call $say (i32.wrap_i64 (global.get $b)))
        (call $say (i32.reinterpret_f32 (global.get $c)))
        (call $say (i32.wrap_i64 (i64.reinterpret_f64 (global.get $d))))
        (call $say (i32x4.extract_lane 3 (global.get $e)))
        (call $say (ref.is_null (global.get $f)))
        (call $say (ref.is_null (global.get $g)))
        (call $say (global.get $h))
        (call_ref $unit (global.get $j))
        (global.set $a (i32.const 11))
        (global.set $b (i64.const 12))
        (global.set $c (f32.const 13))
        (global.set $d (f64.const 14))
        (global.set $e (v128.const i32x4 0 0 0 0))
        (global.set $f (ref.null func))
        (global.set $g (ref.func $two))
        (global.set $h (i32.const 15))
        (global.set $j (ref.func $two))"#;
    let half = i64::from(0.5f32.to_bits());
    assert_eq!(told(&server(fields, code)), [1, 0xffff_fffe, half, 1, 4, 0, 1, 22, 100]);
}

#[test]
fn tables_are_put_back_whatever_has_changed_them() {
    let fields = r#"(memory (export "memory") 1)
        (type $unit (func))
        (table $t 6 funcref)
        (table $filled 3 (ref $unit) (ref.func $two))
        (table $long i64 4 funcref)
        (global $at i32 (i32.const 2))
        (elem (table $t) (i32.const 0) func $one $two)
        ;; Over the first.
        (elem (table $t) (offset (i32.add (global.get $at) (i32.const -1))) func $one)
        (elem (table $t) (i32.const 6) func)
        (elem (table $filled) (i32.const 1) (ref $unit) (ref.func $one))
        (elem (table $long) (i64.const 1) func $two)
        (elem $passive func $two $two $two)
        (elem declare func $one $two)
        (func $one (call $say (i32.const 100)))
        (func $two (call $say (i32.const 200)))"#;
    let look = r#"(call_indirect $t (type $unit) (i32.const 0))
        (call_indirect $t (type $unit) (i32.const 1))
        (call $say (ref.is_null (table.get $t (i32.const 2))))
        (call_ref $unit (table.get $filled (i32.const 0)))
        (call_ref $unit (table.get $filled (i32.const 1)))
        (call $say (ref.is_null (table.get $long (i64.const 0))))
        (call_indirect $long (type $unit) (i64.const 1))"#;
    let seen = [100, 100, 1, 200, 100, 1, 200];
    let changes = [
        "",
        "(table.set $t (i32.const 0) (ref.func $two))",
        "(table.fill $t (i32.const 0) (ref.null func) (i32.const 6))",
        "(table.copy $t $t (i32.const 2) (i32.const 0) (i32.const 2))",
        "(table.init $t $passive (i32.const 1) (i32.const 0) (i32.const 3))",
        "(table.set $filled (i32.const 1) (ref.func $two))",
        "(table.fill $long (i64.const 0) (ref.func $one) (i64.const 4))",
    ];
    for change in changes {
        assert_eq!(told(&server(fields, &format!("{look}{change}"))), seen, "{change}");
    }
}

#[test]
fn segments_which_code_copies_stay() {
    let fields = r#"(memory (export "memory") 1)
        (data $passive "ABCD")
        (data (i32.const 16) "abcd")"#;
    let code = r#"(call $say (i32.load (i32.const 16)))
        (memory.init $passive (i32.const 16) (i32.const 0) (i32.const 4))
        (call $say (i32.load (i32.const 16)))"#;
    assert_eq!(told(&server(fields, code)), [0x6463_6261, 0x4443_4241]);
}

#[test]
fn the_start_function_runs_in_each_request_before_the_program() {
    let fields = r#"(memory (export "memory") 1)
        (global $a (mut i32) (i32.const 1))
        (start $begin)
        (func $begin (global.set $a (i32.add (global.get $a) (i32.const 1))) (call $say (i32.const 5)))"#;
    assert_eq!(told(&server(fields, "(call $say (global.get $a))")), [5, 2]);
}

#[test]
fn files_which_a_request_leaves_open_are_closed_before_the_next() {
    let fields = r#"(import "wasi_snapshot_preview1" "path_open"
          (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
        (memory (export "memory") 1)"#;
    let code = r#"(drop (call $open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i64.const 0)
          (i64.const 0) (i32.const 0) (i32.const 8)))"#;
    let mut running =
        Program::new(server(fields, code)).start(|call: &Call| match (call.name.as_str(), call.numbers[..].first()) {
            // Two directories are given.
            ("wasi.fd_prestat_get", Some(3..=4)) => Answer::Number(0),
            ("wasi.fd_prestat_get" | "wasi.fd_close", _) => Answer::Number(8),
            _ => Answer::Number(0),
        });
    for request in 0..3 {
        running.handle().expect("no trap");
        let calls = running.calls();
        let closed: Vec<_> =
            calls.iter().filter(|call| call.name == "wasi.fd_close").map(|call| call.numbers[0]).collect();
        let expected = if request == 0 { Vec::new() } else { (5..256).collect() };
        assert_eq!(closed, expected);
        let places = ["wasi.fd_close", "server.begin"].map(|name| calls.iter().rposition(|call| call.name == name));
        assert!(places[0] < places[1], "before the request begins");
    }
}

#[derive(Clone, Debug)]
struct Segment {
    at: usize,
    bytes: Vec<u8>,
}

const PAGES: usize = 5;
const SIZE: usize = PAGES * 0x10000;

/// What compresses in all the ways there are.
fn content() -> impl Strategy<Value = Vec<u8>> {
    let random = |most| proptest::collection::vec(any::<u8>(), 0..most);
    let repeated =
        (proptest::collection::vec(any::<u8>(), 1..40), 1..3000usize).prop_map(|(unit, count)| unit.repeat(count));
    // Lengths around those which need another byte.
    let lengths = (any::<u8>(), prop_oneof![0..40usize, 260..300usize, 500..560usize], random(20))
        .prop_map(|(byte, length, tail)| [vec![byte; length], tail].concat());
    let mixed = proptest::collection::vec(
        prop_oneof![random(300), (any::<u8>(), 1..70_000usize).prop_map(|(byte, length)| vec![byte; length])],
        0..4,
    )
    .prop_map(|parts| parts.concat());
    prop_oneof![Just(Vec::new()), random(50), random(70_000), repeated, lengths, mixed]
}

fn segment() -> impl Strategy<Value = Segment> {
    (content(), any::<prop::sample::Index>(), any::<bool>()).prop_map(|(mut bytes, at, at_end)| {
        bytes.truncate(SIZE);
        let room = SIZE - bytes.len();
        Segment { at: if at_end { room } else { at.index(room + 1) }, bytes }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn segments_are_unpacked_to_where_they_were(segments in proptest::collection::vec(segment(), 0..4)) {
        let mut expected = vec![0; SIZE];
        let mut fields = format!(r#"(memory (export "memory") {PAGES})"#);
        for Segment { at, bytes } in &segments {
            expected[*at..at + bytes.len()].copy_from_slice(bytes);
            let text = bytes.iter().fold(String::new(), |mut text, byte| { let _ = write!(text, "\\{byte:02x}"); text });
            let _ = write!(fields, r#"(data (i32.const {at}) "{text}")"#);
        }
        let code = format!("(if (i32.eqz (call $yield)) (then (memory.fill (i32.const 0) (i32.const 255) (i32.const {SIZE}))))");
        // The first request overwrites everything, the second nothing.
        let mut yields = 0;
        let mut running = Program::new(server(&fields, &code)).start(move |call: &Call| {
            if call.name == "wasi.sched_yield" {
                yields += 1;
            }
            Answer::Number(i64::from(yields > 2))
        });
        prop_assert!(running.memory()[..SIZE] == expected, "a new instance");
        running.handle().expect("no trap");
        prop_assert!(running.memory()[..SIZE].iter().all(|byte| *byte == 255));
        running.handle().expect("no trap");
        prop_assert!(running.memory()[..SIZE] == expected, "one that is used again");
    }
}
