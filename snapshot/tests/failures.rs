//! Programs which fail while they are initialized, and the limits they meet.

#[path = "harness/building.rs"]
#[allow(dead_code, reason = "no test program uses all of it")]
mod building;

use std::time::Duration;

use building::{failure, snapshot, snapshot_with};
use prewasm_snapshot::{Options, RunError};

#[test]
fn a_trap_comes_with_the_names_of_functions() {
    let wat = r#"(module
        (func $deep (param i32) (result i32) (i32.div_s (i32.const 1) (local.get 0)))
        (func (export "wizer-initialize") (drop (call $deep (i32.const 0)))))"#;
    let error = failure(snapshot(wat));
    let RunError::Trapped { function, source } = &error else { panic!("{error}") };
    assert_eq!(function, "wizer-initialize");
    assert!(format!("{source:#}").contains("deep"), "{source:#}");
}

#[test]
fn ending_the_program_is_an_error_with_any_code() {
    for code in [0, 3] {
        let wat = format!(
            r#"(module
                (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
                (memory (export "memory") 1)
                (func (export "wizer-initialize") (call $exit (i32.const {code}))))"#
        );
        let error = failure(snapshot(&wat));
        assert!(matches!(error, RunError::Exited { code: found, .. } if found == code), "{error}");
    }
}

const ENDLESS: &str = r#"(module (func $spin (loop (br 0))) (func (export "wizer-initialize") (call $spin)))"#;

#[test]
fn an_endless_loop_is_stopped_and_located() {
    let mut options = Options::default();
    options.limits.timeout = Duration::from_millis(50);
    let error = failure(snapshot_with(ENDLESS, &options));
    let RunError::TimedOut { location, .. } = &error else { panic!("{error}") };
    assert!(location.contains("spin"), "{error}");
}

#[test]
fn sleeping_takes_no_time() {
    // A clock subscription of an hour: u64 userdata, tag, clock id, timeout in nanoseconds.
    let wat = r#"(module
        (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (data (i32.const 16) "\01")
        (func (export "wizer-initialize")
            (i64.store (i32.const 24) (i64.const 3600000000000))
            (drop (call $poll (i32.const 0) (i32.const 100) (i32.const 1) (i32.const 200)))))"#;
    let made = snapshot(wat).expect("time jumps to where the sleep ends");
    assert!(made.report.init.microseconds < 1_000_000, "{:?}", made.report.init);
}

#[test]
fn fuel_runs_out() {
    let mut options = Options::default();
    options.limits.fuel = Some(10_000);
    let error = failure(snapshot_with(ENDLESS, &options));
    assert!(matches!(error, RunError::OutOfFuel { fuel: 10_000, .. }), "{error}");
    options.limits.fuel = Some(1_000_000);
    snapshot_with(ENDLESS.replace("(br 0)", "").as_str(), &options).expect("enough fuel");
}

#[test]
fn the_memory_limit_is_told_when_it_was_the_cause() {
    let wat = r#"(module
        (memory (export "memory") 1)
        (func (export "wizer-initialize")
            (if (i32.eq (memory.grow (i32.const 15)) (i32.const -1)) (then unreachable))))"#;
    let mut options = Options::default();
    options.limits.memory = 1024 * 1024;
    snapshot_with(wat, &options).expect("exactly enough");
    options.limits.memory = 1024 * 1024 - 1;
    let error = failure(snapshot_with(wat, &options));
    assert!(matches!(error, RunError::OutOfMemory { asked: 1_048_576, limit: 1_048_575, .. }), "{error}");
    options.limits.memory = 10;
    let error = failure(snapshot_with(wat, &options));
    assert!(matches!(error, RunError::OutOfMemory { asked: 65536, limit: 10, .. }), "{error}");
}
