//! Leaving a program, from wherever: nothing more of it runs, and the next request finds a new instance.

use super::{
    harness::{Answer, Call, Program, Running},
    sprinkled::{self, Language, Random},
};
use crate::port::{PortOptions, plan::plan};

/// What says to leave.
const LEAVE: i64 = i32::MIN as i64;

/// Answers the hook with this once it has been asked so often, and otherwise with 0.
#[derive(Clone, Copy)]
struct Order {
    after: usize,
    what: i64,
}

/// All that a host can see of one request.
#[derive(Debug, PartialEq)]
struct Request {
    calls: Vec<Call>,
    has_trapped: bool,
    memory: Vec<u8>,
}

fn host(orders: Vec<Order>) -> impl FnMut(&Call) -> Answer + Send {
    let (mut request, mut yields) = (0, 0);
    move |call: &Call| match call.name.as_str() {
        "server.begin" => {
            (request, yields) = (request + 1, 0);
            Answer::Number(0)
        }
        "wasi.sched_yield" => {
            yields += 1;
            let order = orders.get(request - 1).filter(|order| order.after == yields);
            Answer::Number(order.map_or(0, |order| order.what))
        }
        "sockets.accept" => Answer::Number(LEAVE),
        _ => Answer::Number(0),
    }
}

fn request(running: &mut Running, (pages, behind): (usize, usize)) -> Request {
    let has_trapped = running.handle().is_err();
    let memory = running.memory();
    let memory = [&memory[..pages * 0x10000], &memory[behind * 0x10000..]].concat();
    Request { calls: running.calls(), has_trapped, memory }
}

/// Whether the program could be ported.
fn check(wasm: &[u8], random: &mut Random) -> bool {
    let artifact = prewasm_artifact::Artifact::from_bytes("program", wasm.to_vec()).expect("valid");
    if plan(&artifact, &PortOptions::default()).is_err() {
        return false;
    }
    let pages = usize::try_from(artifact.memories()[0].minimum).expect("few");
    let program = Program::new(wasm);
    let start = |orders| {
        let mut running = program.try_start(host(orders)).ok()?;
        let behind = running.memory().len() / 0x10000;
        Some((running, (pages, behind)))
    };
    let stays = Order { after: 0, what: 0 };
    // Some do not start, by what is in their segments.
    let Some((mut running, place)) = start(vec![stays]) else { return false };
    let fresh = request(&mut running, place);
    let yields = fresh.calls.iter().filter(|call| call.name == "wasi.sched_yield").count();

    let mut orders: Vec<_> = (0..4)
        .map(|_| Order { after: 1 + random.below(yields.max(1) as u64) as usize, what: 1 + random.below(2) as i64 })
        .collect();
    orders.push(stays);
    let last = orders.len() - 1;
    let (mut running, place) = start(orders.clone()).expect("as before");
    for (index, order) in orders.into_iter().enumerate() {
        let found = request(&mut running, place);
        if index == last {
            assert_eq!(found.calls, fresh.calls);
            assert_eq!(found.has_trapped, fresh.has_trapped);
            let length = fresh.memory.len();
            assert!(found.memory[..length] == fresh.memory, "memory differs");
            assert!(found.memory[length..].iter().all(|byte| *byte == 0), "what it does not see is clean");
            break;
        }
        if yields > 0 {
            assert!(!found.has_trapped, "it was left");
            let names: Vec<_> = found.calls.iter().map(|call| call.name.as_str()).collect();
            let behind: &[_] = if order.what == 1 { &["server.end"] } else { &["sockets.accept", "server.end"] };
            assert!(names.ends_with(&[&["wasi.sched_yield"], behind].concat()), "{names:?}");
            assert_eq!(names.iter().filter(|name| **name == "wasi.sched_yield").count(), order.after);
        }
    }
    true
}

fn check_many(language: Language, seeds: u64) {
    let mut ported = 0;
    for seed in 0..seeds {
        let Some(wasm) = sprinkled::program(language, seed) else { continue };
        let result = std::panic::catch_unwind(|| check(&wasm, &mut Random(seed)));
        ported += u64::from(result.unwrap_or_else(|_| panic!("{language:?}, seed {seed}")));
    }
    // Many of those with objects cannot.
    assert!(ported >= seeds / 10, "only {ported} of {seeds} could be ported");
}

#[test]
fn a_basic_program_is_left_from_anywhere() {
    check_many(Language::Basic, 60);
}

#[test]
fn a_program_with_references_and_tail_calls_is_left_from_anywhere() {
    check_many(Language::References, 80);
}

#[test]
fn a_program_with_exceptions_is_left_from_anywhere() {
    check_many(Language::Exceptions, 80);
}

#[test]
fn a_program_with_objects_is_left_from_anywhere() {
    check_many(Language::Objects, 60);
}

/// Each way to get to a call, with operands below it: the program must come back, and do nothing more.
#[test]
fn every_way_to_a_call_is_a_way_out() {
    let exits = [
        ("(call $exit (i32.const 1))", 0),
        ("(call $f)", 0),
        ("(i32.const 7) (call $number) (drop) (drop)", 0),
        ("(call $several) (drop) (drop) (drop) (drop)", 0),
        ("(call $references) (drop) (drop)", 0),
        ("(call_indirect (type $unit) (i32.const 0))", 0),
        // The import itself.
        ("(i32.const 1) (call_indirect (type $exit) (i32.const 1))", 0),
        ("(call_ref $unit (ref.func $f))", 0),
        ("(call $tail)", 0),
        ("(call $tail_indirect)", 0),
        ("(call $tail_ref)", 0),
        ("(call $tail_import)", 0),
        ("(block (block (loop (i32.const 1) (f64.const 2) (call $f) (drop) (drop))))", 0),
        ("(block $caught (try_table (catch_all $caught) (call $f)))", 0),
        ("(block $caught (try_table (catch_all $caught) (call $f) (throw $tag)))", 0),
        ("(call $recursive (i32.const 100))", 0),
        ("(call $accepts)", LEAVE),
        ("(call $polls)", 0x8000_0000),
    ];
    for (code, answer) in exits {
        let text = format!(
            r#"(module
              (type $unit (func))
              (type $exit (func (param i32)))
              (import "wasi_snapshot_preview1" "proc_exit" (func $exit (type $exit)))
              (import "wasi_snapshot_preview1" "sock_accept" (func $accept (param i32 i32) (result i32)))
              (import "wasi_snapshot_preview1" "epoll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
              (import "wasi_snapshot_preview1" "proc_raise" (func $tell (param i32) (result i32)))
              (memory (export "memory") 1)
              (table 4 funcref)
              (elem (i32.const 0) $f $exit)
              (elem declare func $f $g $exit)
              (tag $tag)
              (func $f (call $exit (i32.const 0)) unreachable)
              (func $g (call $f) unreachable)
              (func $number (result i32) (call $f) unreachable)
              (func $several (result f32 f64 i64 v128) (f32.const 1) (call $f) unreachable)
              (func $references (result funcref externref) (ref.func $f) (call $f) unreachable)
              (func $tail (return_call $g))
              (func $tail_indirect (return_call_indirect (type $unit) (i32.const 0)))
              (func $tail_ref (return_call_ref $unit (ref.func $g)))
              (func $tail_import (return_call $exit (i32.const 1)))
              (func $recursive (param i32)
                (if (local.get 0)
                  (then (call $recursive (i32.sub (local.get 0) (i32.const 1))))
                  (else (call $f)))
                unreachable)
              (func $accepts (drop (call $accept (i32.const 600) (i32.const 0))) unreachable)
              (func $polls
                (i32.store8 (i32.const 8) (i32.const 1))
                (i32.store (i32.const 16) (i32.const 600))
                (drop (call $poll (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128)))
                unreachable)
              (func (export "_start")
                {code}
                (drop (call $tell (i32.const 1)))
                unreachable))"#
        );
        let mut running = Program::new(text).start(move |call: &Call| match call.name.as_str() {
            "sockets.accept" => Answer::Number(answer),
            "sockets.poll" => Answer::Error(u32::try_from(answer).expect("32 bits")),
            _ => Answer::Number(0),
        });
        for _ in 0..3 {
            running.handle().unwrap_or_else(|error| panic!("{code}: {error:?}"));
            let calls = running.calls();
            assert!(calls.iter().all(|call| call.name != "wasi.proc_raise"), "{code}");
            assert_eq!(calls.last().expect("a call").name, "server.end", "{code}");
        }
    }
}

#[test]
fn a_start_function_which_leaves_leaves_the_program() {
    let text = r#"(module
        (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (import "wasi_snapshot_preview1" "sock_accept" (func $accept (param i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
        (memory (export "memory") 1)
        (start $begin)
        (func $begin (if (call $yield) (then (call $exit (i32.const 0)))))
        (func (export "_start") (drop (call $accept (i32.const 600) (i32.const 8)))))"#;
    let mut yields = 0;
    let mut running = Program::new(text).start(move |call: &Call| {
        if call.name == "wasi.sched_yield" {
            yields += 1;
        }
        // Every second request.
        Answer::Number(yields % 2)
    });
    assert!(running.calls().is_empty(), "nothing runs before there is a request");
    for request in 0..4 {
        running.handle().expect("no trap");
        let accepts = running.calls().iter().filter(|call| call.name == "sockets.accept").count();
        assert_eq!(accepts, request % 2);
    }
}

#[test]
fn calls_are_followed_through_long_chains_in_any_order() {
    use std::fmt::Write as _;
    let mut functions = String::new();
    const LENGTH: usize = 100_000;
    for index in 0..LENGTH {
        let callee = if index + 1 == LENGTH { "$exit".to_owned() } else { format!("$f{}", index + 1) };
        let argument = if index + 1 == LENGTH { "(i32.const 0)" } else { "" };
        let _ = write!(functions, "(func $f{index} (call {callee} {argument}))");
    }
    let text = format!(
        r#"(module
          (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
          (import "wasi_snapshot_preview1" "sock_listen" (func (param i32 i32) (result i32)))
          (memory (export "memory") 1)
          {functions}
          (func (export "_start") (call $f0)))"#
    );
    let linked = super::harness::linked(text, &PortOptions::default());
    // A question in each function: more than ten bytes.
    assert!(linked.len() > LENGTH * 10);
}
