//! What a program sees of its memory: its own pages, the same in each request.

use super::harness::{ADAPTER, Answer, Call, Program};
use crate::port::{
    PortOptions,
    link::{LinkError, link},
    plan::plan,
};

/// A server which tells what `memory.size` and `memory.grow` give it, and what it finds in its last page.
fn program(memory: &str, customs: &str) -> String {
    format!(
        r#"(module
          (import "wasi_snapshot_preview1" "sock_listen" (func (param i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
          (import "wasi_snapshot_preview1" "proc_raise" (func $tell (param i32) (result i32)))
          (memory (export "memory") {memory})
          {customs}
          (func $step
            (drop (call $yield))
            (drop (call $tell (memory.size))))
          (func $grow (param i32) (local $first i32)
            (local.set $first (memory.grow (local.get 0)))
            (drop (call $tell (local.get $first)))
            (if (i32.and (i32.gt_s (local.get $first) (i32.const 0)) (i32.gt_s (local.get 0) (i32.const 0))) (then
              ;; What is there, which is to be 0.
              (drop (call $tell (i32.load (i32.shl (local.get $first) (i32.const 16)))))
              (i32.store (i32.shl (local.get $first) (i32.const 16)) (i32.const -1))))
            (call $step))
          (func (export "_start")
            (call $step)
            (i32.store (i32.const 1024) (i32.const -1))
            (call $grow (i32.const 0))
            (call $grow (i32.const 3))
            (call $grow (i32.const 1))
            (call $grow (i32.const 0))))"#
    )
}

/// Runs it for some requests; the adapter takes pages at the yields of these numbers. What it tells, by request.
fn told(program: &str, requests: usize, pages_at: &'static [usize]) -> (Vec<Vec<i64>>, Vec<u8>) {
    let mut yields = 0;
    let mut running = Program::new(program).start(move |call: &Call| {
        if call.name == "wasi.sched_yield" {
            yields += 1;
            if pages_at.contains(&yields) {
                return Answer::AdapterPage;
            }
        }
        Answer::Number(0)
    });
    let mut requests: Vec<_> = (0..requests)
        .map(|_| {
            running.handle().expect("no trap");
            let told = running.calls().into_iter().filter(|call| call.name == "wasi.proc_raise");
            told.map(|call| i64::from(u32::try_from(call.numbers[0]).expect("a word").cast_signed())).collect()
        })
        .collect();
    requests.dedup();
    (requests, running.memory().to_vec())
}

/// Two pages of the program's, two of the adapter's, one of ours.
const BEHIND: i64 = 5;

#[test]
fn a_program_sees_its_own_pages_at_all_times() {
    for pages_at in [&[][..], &[1, 2], &[2, 3], &[1, 4], &[4, 5], &[1, 7], &[6, 9]] {
        let (told, memory) = told(&program("2", ""), 10, pages_at);
        let grown = [BEHIND, 0, BEHIND + 3, BEHIND + 3, 0, BEHIND + 4, BEHIND + 4, BEHIND + 4];
        assert_eq!(told, [[&[2, 2, 2][..], &grown].concat()], "{pages_at:?}");
        assert_eq!(memory.len(), 9 * 0x10000, "no more pages than one request needs");
        let adapter = &memory[2 * 0x10000..(2 + pages_at.len()) * 0x10000];
        assert!(adapter.iter().all(|byte| *byte == ADAPTER), "the adapter's pages are as it left them");
    }
}

#[test]
fn a_program_gets_as_many_pages_as_its_memory_has_at_most() {
    let (most, _) = told(&program("2 5", ""), 3, &[1, 2]);
    assert_eq!(most, [[2, 2, 2, BEHIND, 0, BEHIND + 3, -1, BEHIND + 3, BEHIND + 3, BEHIND + 3]]);
    let (none, _) = told(&program("2 2", ""), 3, &[5, 8]);
    assert_eq!(none, [[2, 2, 2, -1, 2, -1, 2, 2, 2]]);
}

#[test]
fn a_memory_without_pages_has_none_until_it_grows() {
    let text = program("0", "").replace("(i32.store (i32.const 1024) (i32.const -1))", "");
    let (told, _) = told(&text, 3, &[1, 2]);
    assert_eq!(told, [[0, 0, 0, 3, 0, 6, 6, 0, 7, 7, 7]]);
}

#[test]
fn what_lies_between_is_as_if_it_were_the_programs_in_go() {
    // Its runtime adds up what it has grown by, from `memory.size`.
    let (told, _) = told(&program("2", r#"(@custom "go:buildid" "x")"#), 3, &[1, 2]);
    let grown = [BEHIND, 0, BEHIND + 3, BEHIND + 3, 0, BEHIND + 4, BEHIND + 4, BEHIND + 4];
    assert_eq!(told, [[&[BEHIND, BEHIND, BEHIND][..], &grown].concat()]);
}

#[test]
fn a_memory_which_is_all_there_can_be_is_an_error() {
    let artifact = prewasm_artifact::Artifact::from_bytes("program", program("65534", "").into()).expect("valid");
    let plan = plan(&artifact, &PortOptions::default()).expect("nothing stands in the way");
    let error = link(artifact.bytes(), &plan).expect_err("no room");
    assert!(matches!(error, LinkError::MemoryFull { pages: 65534, added: 3 }), "{error}");
}
