//! What is in a frozen module besides what the program itself would have: nothing moves, and little is added.

use std::collections::BTreeSet;

use prewasm_artifact::{Artifact, append_section};
use prewasm_snapshot::{
    BuildError, FreezeError, Layout, Options, Snapshot, Stop, Unfreezable, Until, Verification, build, silent,
};
use wasmparser::{Parser, Payload};

fn freeze(wasm: Vec<u8>) -> Snapshot {
    // As it came: other layouts write zeros down, too.
    let options = Options { until: Until::Stop(Stop::Marker), layout: Layout::Raw, ..Options::default() };
    build(&Artifact::from_bytes("test", wasm).expect("valid"), &options, &silent()).expect("it can be frozen")
}

/// Writes to its stack, calls the marker, and has `more` functions that nobody calls.
fn program(more: usize) -> Vec<u8> {
    let text = format!(
        r#"(module
            (import "prewasm:marker" "here" (func $here))
            (memory (export "memory") 2)
            (global $__stack_pointer (mut i32) (i32.const 65536))
            (data (i32.const 65536) "data")
            (func $leave_traces
                (i32.store (i32.const 65000) (i32.const -1)))
            (func $main (export "_start") (export "__main_void")
                (global.set $__stack_pointer (i32.const 65200))
                (i32.store (i32.const 65200) (i32.const 7))
                (call $leave_traces)
                (call $here)
                (if (i32.ne (i32.load (i32.const 65200)) (i32.const 7)) (then unreachable)))
            {})"#,
        "(func (nop))".repeat(more)
    );
    wat::parse_str(text).expect("valid text")
}

fn bodies(wasm: &[u8]) -> Vec<Vec<u8>> {
    let mut bodies = Vec::new();
    for payload in Parser::new(0).parse_all(wasm) {
        if let Payload::CodeSectionEntry(body) = payload.expect("valid") {
            bodies.push(wasm[body.range()].to_vec());
        }
    }
    bodies
}

/// Where the first body starts, counted from the code section's start, which is how debug information counts.
fn first_body(wasm: &[u8]) -> usize {
    let mut start = 0;
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.expect("valid") {
            Payload::CodeSectionStart { range, .. } => start = range.start,
            Payload::CodeSectionEntry(body) => return body.range().start - start,
            _ => {}
        }
    }
    panic!("no code");
}

fn custom_sections(wasm: &[u8]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for payload in Parser::new(0).parse_all(wasm) {
        if let Payload::CustomSection(section) = payload.expect("valid") {
            names.insert(section.name().to_owned());
        }
    }
    names
}

#[test]
fn function_bodies_stay_byte_for_byte() {
    let original = program(0);
    let frozen = freeze(original.clone());
    let (before, after) = (bodies(&original), bodies(&frozen.wasm));
    assert_eq!(after[..before.len()], before);
    assert_eq!(after.len(), before.len() + 1, "one frame was waiting");
}

#[test]
fn debug_information_is_kept_unless_code_moves() {
    // The number of functions takes one byte up to 127: two functions, and those added here.
    for (more, is_kept) in [(0, true), (124, true), (125, false), (126, true)] {
        let mut original = program(more);
        append_section(&mut original, ".debug_info", b"positions");
        append_section(&mut original, "producers", b"\0");
        let frozen = freeze(original.clone());
        let found = custom_sections(&frozen.wasm);
        assert_eq!(found.contains(".debug_info"), is_kept, "{more}");
        assert_eq!(first_body(&frozen.wasm) == first_body(&original), is_kept, "{more}");
        assert_eq!(frozen.report.freeze.expect("it was frozen").lost_debug_info, !is_kept, "{more}");
        assert!(found.contains("producers") && found.contains("name"), "{found:?}");
    }
}

#[test]
fn what_returned_functions_left_on_the_stack_is_gone() {
    let frozen = freeze(program(0));
    assert_eq!(frozen.report.cleared.stack_bytes, 4);
    // `data` and the live 7, and nothing of the traces.
    assert_eq!(frozen.report.output.initialized_bytes, 5);
}

#[test]
fn other_ways_to_start_the_program_are_gone() {
    let frozen = Artifact::from_bytes("frozen", freeze(program(0)).wasm).expect("valid");
    assert_eq!(frozen.exports(), ["_start"]);
}

/// A program which calls the marker, and does `rest` then.
fn goes_on(rest: &str) -> Artifact {
    let text = format!(
        r#"(module
            (import "prewasm:marker" "here" (func $here))
            (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
            (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
            (import "wasi_snapshot_preview1" "environ_sizes_get" (func $sizes (param i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "environ_get" (func $environ (param i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
            (memory (export "memory") 1)
            (func (export "_start") (call $here) {rest}))"#
    );
    Artifact::from_bytes("test", text.into()).expect("valid text")
}

#[test]
fn a_frozen_program_is_run_beside_the_original() {
    for (rest, calls, end) in [
        ("(nop)", 1, "returned"),
        ("(drop (call $yield)) (call $exit (i32.const 3))", 3, "exited with code 3"),
        ("(loop $again (drop (call $yield)) (br $again))", 1_000, "would have gone on"),
        ("(unreachable)", 1, "ended with: wasm trap: wasm `unreachable` instruction executed"),
        // Both get the same random bytes and the same time.
        (
            "(drop (call $random (i32.const 0) (i32.const 40))) (drop (call $clock (i32.const 1) (i64.const 0) (i32.const 64)))",
            3,
            "returned",
        ),
    ] {
        let options = Options { until: Until::Stop(Stop::Marker), ..Options::default() };
        let made = build(&goes_on(rest), &options, &silent()).unwrap_or_else(|error| panic!("{rest}: {error:?}"));
        let compared = made.report.freeze.expect("frozen").compared.expect("it can be run twice");
        assert_eq!((compared.host_calls, compared.end.as_str()), (calls, end), "{rest}");
        let skipped = Options { verification: Verification::Skip, ..options };
        let made = build(&goes_on(rest), &skipped, &silent()).expect("it freezes");
        assert_eq!(made.report.freeze.expect("frozen").compared, None);
    }
}

#[test]
fn a_program_is_not_frozen_between_size_and_content() {
    let program =
        goes_on("(drop (call $sizes (i32.const 0) (i32.const 4))) (drop (call $environ (i32.const 8) (i32.const 64)))");
    let until = |name: &str| Options {
        until: format!("import:wasi_snapshot_preview1.{name}").parse().expect("a stop point"),
        ..Options::default()
    };
    let result = build(&program, &until("environ_get"), &silent());
    let Err(BuildError::Freeze { source: FreezeError::State { source, .. }, .. }) = result else {
        panic!("{result:?}")
    };
    assert!(matches!(source, Unfreezable::HalfRead), "{source:?}");
    build(&program, &until("environ_sizes_get"), &silent()).expect("it has asked for nothing yet");
}
