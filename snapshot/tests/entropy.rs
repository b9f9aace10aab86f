//! Random bytes and the time of a build: what a snapshot may hold of them, and what it must not.

#[path = "harness/building.rs"]
#[allow(dead_code, reason = "no test program uses all of it")]
mod building;

use building::snapshot_with;
use prewasm_artifact::Artifact;
use prewasm_snapshot::{BuildError, EntropyError, EntropyPolicy, Options, Seen, Snapshot, Stop, Until, build, silent};

/// Keeps its keys as Rust's standard library does: 16 bytes at 1024, of which the first half is counted up for each map.
/// Two maps were made, with keys at 2048 and 2064. `BODY` comes before the marker.
const KEYS: &str = r#"(module
    (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "environ_sizes_get" (func $environ (param i32 i32) (result i32)))
    (import "prewasm:marker" "here" (func $here))
    (memory (export "memory") 1)
    (func $make_map (param $keys i32)
        (i64.store (local.get $keys) (i64.load (i32.const 1024)))
        (i64.store offset=8 (local.get $keys) (i64.load (i32.const 1032)))
        (i64.store (i32.const 1024) (i64.add (i64.load (i32.const 1024)) (i64.const 1))))
    (func $make_keys (drop (call $random (i32.const 1024) (i32.const 16))))
    (func $seed_generator
        (drop (call $random (i32.const 512) (i32.const 32)))
        (i64.store (i32.const 512) (i64.mul (i64.load (i32.const 512)) (i64.const 0x9E3779B97F4A7C15))))
    (func $__wasilibc_initialize_environ
        (drop (call $environ (i32.const 0) (i32.const 4)))
        (i32.store (i32.const 8) (i32.add (i32.load (i32.const 8)) (i32.const 1))))
    (func (export "_start") BODY (call $here)))"#;

const TWO_MAPS: &str = "(call $make_keys) (call $make_map (i32.const 2048)) (call $make_map (i32.const 2064))";

fn frozen(body: &str, entropy: EntropyPolicy) -> Result<Snapshot, BuildError> {
    let options = Options { until: Until::Stop(Stop::Marker), entropy, ..Options::default() };
    snapshot_with(&KEYS.replace("BODY", body), &options)
}

fn initialized(body: &str) -> Result<Snapshot, BuildError> {
    let module = KEYS.replace("\"_start\"", "\"wizer-initialize\"").replace("BODY", body).replace("(call $here)", "");
    snapshot_with(&module, &Options::default())
}

fn refusal(result: Result<Snapshot, BuildError>) -> String {
    match result {
        Err(BuildError::Entropy { source: EntropyError::Kept { kept }, .. }) => kept.join("\n"),
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn hash_keys_are_told_by_their_value_and_drawn_anew() {
    for made in [frozen(TWO_MAPS, EntropyPolicy::HashKeys), initialized(TWO_MAPS)] {
        let made = made.expect("hash keys are accepted");
        let entropy = made.report.entropy;
        let cells: Vec<_> = entropy.reseeded.iter().map(|part| (part.offset, part.length)).collect();
        assert_eq!(cells, [(1024, 16)]);
        let derived = entropy.hash_keys.expect("the maps' keys");
        assert_eq!((derived.bytes, derived.places), (32, 1));
        assert_eq!(entropy.draws, 1);
        assert!(entropy.frozen.is_none() && entropy.time.is_none());
    }
}

#[test]
fn what_depends_on_hash_keys_can_be_refused() {
    let refused = frozen(TWO_MAPS, EntropyPolicy::DenyHashKeys);
    let Err(BuildError::Entropy { source: EntropyError::HashKeys { derived }, .. }) = refused else {
        panic!("not refused: {refused:?}");
    };
    assert!(derived[0].contains("make_keys") && derived[0].contains("32 bytes in 1 places"), "{derived:?}");
}

#[test]
fn other_random_bytes_are_refused_with_the_function_that_drew_them() {
    for result in [
        frozen("(call $seed_generator)", EntropyPolicy::HashKeys),
        initialized("(call $seed_generator)"),
        frozen(&format!("{TWO_MAPS} (call $seed_generator)"), EntropyPolicy::HashKeys),
    ] {
        let text = refusal(result);
        assert!(text.contains("seed_generator") && text.contains("32 bytes in 1 places"), "{text}");
        assert!(!text.contains("make_keys"), "{text}");
    }
    let accepted = frozen("(call $seed_generator)", EntropyPolicy::Any).expect("allowed");
    assert_eq!(accepted.report.entropy.frozen.expect("reported").bytes, 32);
}

#[test]
fn random_bytes_of_which_nothing_is_left_are_no_matter() {
    let body = "(drop (call $random (i32.const 512) (i32.const 32))) (memory.fill (i32.const 512) (i32.const 0) (i32.const 32))";
    for made in [frozen(body, EntropyPolicy::DenyHashKeys), initialized(body)] {
        let entropy = made.expect("nothing depends on them").report.entropy;
        assert!(entropy.draws == 1 && entropy.reseeded.is_empty() && entropy.frozen.is_none());
    }
}

#[test]
fn random_bytes_which_lead_elsewhere_are_refused() {
    // In the varied run, another call waits.
    let body = "(drop (call $random (i32.const 512) (i32.const 1)))
        (if (i32.and (i32.load8_u (i32.const 512)) (i32.const 1)) (then (call $here)))
        (i32.store8 (i32.const 512) (i32.const 0))";
    let outcome = frozen(body, EntropyPolicy::HashKeys);
    let text = refusal(outcome);
    assert!(text.contains("unknown") || text.contains("stack"), "{text}");
}

#[test]
fn many_draws_share_a_run() {
    let body = "(call $make_keys)".repeat(3) + &"(call $seed_generator)".repeat(30);
    let text = refusal(frozen(&body, EntropyPolicy::HashKeys));
    assert!(text.contains("25 calls of `random_get`, from the 9th on"), "{text}");
}

#[test]
fn the_time_is_told() {
    let body = "(drop (call $clock (i32.const 0) (i64.const 0) (i32.const 256)))";
    for made in [frozen(body, EntropyPolicy::HashKeys), initialized(body)] {
        let time = made.expect("allowed").report.entropy.time.expect("reported");
        assert!(time.known && time.bytes > 0 && time.largest[0].offset >= 256);
    }
    let read_only =
        "(drop (call $clock (i32.const 0) (i64.const 0) (i32.const 256))) (i64.store (i32.const 256) (i64.const 0))";
    assert!(frozen(read_only, EntropyPolicy::HashKeys).expect("allowed").report.entropy.time.is_none());
}

#[test]
fn the_environment_is_read_again_where_the_function_for_it_is_known() {
    let body = "(call $__wasilibc_initialize_environ)";
    assert_eq!(frozen(body, EntropyPolicy::HashKeys).expect("freezes").report.environment, Seen::ReadAgain);
    assert_eq!(initialized(body).expect("runs").report.environment, Seen::ReadAgain);
    let body = "(drop (call $environ (i32.const 0) (i32.const 4)))";
    let nameless = KEYS.replace("BODY", body).replace("$__wasilibc_initialize_environ", "$other");
    let options = Options { until: Until::Stop(Stop::Marker), ..Options::default() };
    assert_eq!(snapshot_with(&nameless, &options).expect("freezes").report.environment, Seen::Frozen);
    assert_eq!(frozen("", EntropyPolicy::HashKeys).expect("freezes").report.environment, Seen::Fresh);
}

#[test]
fn a_program_frozen_twice_keeps_drawing_its_keys_anew() {
    let twice = format!("{TWO_MAPS} (call $here)");
    let first = frozen(&twice, EntropyPolicy::HashKeys).expect("freezes");
    let again = Artifact::from_bytes("first", first.wasm).expect("valid");
    let options = Options { until: Until::Stop(Stop::Marker), ..Options::default() };
    // It stops at the same call, and the second time at the next.
    let second = build(&again, &options, &silent()).expect("freezes");
    let cells: Vec<_> = second.report.entropy.reseeded.iter().map(|part| part.offset).collect();
    assert_eq!(cells, [1024]);
}

#[test]
fn random_numbers_of_components_are_refused() {
    let wat = r#"(component
        (import "wasi:random/random@0.2.0" (instance $random (export "get-random-u64" (func (result u64)))))
        (core func $get (canon lower (func $random "get-random-u64")))
        (core module $m
            (import "random" "get" (func $get (result i64)))
            (memory (export "memory") 1)
            (func (export "init") (i64.store (i32.const 64) (call $get))))
        (core instance $i (instantiate $m (with "random" (instance (export "get" (func $get))))))
        (func (export "wizer-initialize") (canon lift (core func $i "init"))))"#;
    let text = refusal(snapshot_with(wat, &Options::default()));
    assert!(text.contains("`wasi:random`") && text.contains("8 bytes in 1 places"), "{text}");
    let any = Options { entropy: EntropyPolicy::Any, ..Options::default() };
    let made = snapshot_with(wat, &any).expect("allowed");
    assert_eq!(made.report.entropy.frozen.expect("reported").bytes, 8);
    assert!(made.wasm == snapshot_with(wat, &any).expect("allowed").wasm);
}

#[test]
fn random_bytes_which_are_combined_are_found() {
    // The difference of two draws, and of two halves of one.
    let fold = "(i64.store (i32.const 512) (i64.xor (i64.load (i32.const 512)) (i64.load (i32.const 520))))
        (i64.store (i32.const 520) (i64.const 0))";
    let two = format!(
        "(drop (call $random (i32.const 512) (i32.const 8))) (drop (call $random (i32.const 520) (i32.const 8))) {fold}"
    );
    let one = format!("(drop (call $random (i32.const 512) (i32.const 16))) {fold}");
    for body in [two, one] {
        assert!(refusal(frozen(&body, EntropyPolicy::HashKeys)).contains("8 bytes in 1 places"), "{body}");
    }
}

#[test]
fn hash_keys_are_found_behind_many_other_draws() {
    let draw = "(drop (call $random (i32.const 512) (i32.const 8))) (i64.store (i32.const 512) (i64.const 0))";
    let kept = frozen(&(draw.repeat(30) + TWO_MAPS), EntropyPolicy::HashKeys).expect("hash keys only");
    assert_eq!(kept.report.entropy.reseeded.len(), 1);
    assert_eq!(kept.report.entropy.draws, 31);
}

#[test]
fn a_cell_written_a_million_times_is_none() {
    let body = format!(
        "{TWO_MAPS} (i32.store (i32.const 4) (i32.const 4096))
        (loop $next
            (memory.copy (i32.load (i32.const 4)) (i32.const 1024) (i32.const 16))
            (i32.store (i32.const 4) (i32.add (i32.load (i32.const 4)) (i32.const 64)))
            (br_if $next (i32.lt_u (i32.load (i32.const 4)) (i32.const 65000))))"
    );
    assert!(refusal(frozen(&body, EntropyPolicy::HashKeys)).contains("random_get"));
}

#[test]
fn an_environment_which_the_program_changes_is_not_read_again() {
    let body = "(call $__wasilibc_initialize_environ)";
    let writes = KEYS.replace("BODY", body).replace("$make_map", "$setenv");
    let options = Options { until: Until::Stop(Stop::Marker), ..Options::default() };
    assert_eq!(snapshot_with(&writes, &options).expect("freezes").report.environment, Seen::Frozen);
}

#[test]
fn a_snapshot_of_a_snapshot_speaks_for_itself() {
    let keep = Options { init_export: prewasm_snapshot::InitExport::Keep, ..Options::default() };
    let module =
        KEYS.replace("\"_start\"", "\"wizer-initialize\"").replace("BODY", TWO_MAPS).replace("(call $here)", "");
    let first = snapshot_with(&module, &keep).expect("runs");
    let again = Artifact::from_bytes("first", first.wasm).expect("valid");
    let second = build(&again, &keep, &silent()).expect("runs");
    let second = Artifact::from_bytes("second", second.wasm).expect("valid");
    let told = |artifact: &Artifact| String::from_utf8_lossy(artifact.provenance().expect("there")).into_owned();
    assert!(told(&second).contains(&again.sha256().to_string()), "{}", told(&second));
}

#[test]
fn a_program_of_which_nothing_but_memory_is_left_has_no_prologue() {
    let module =
        KEYS.replace("\"_start\"", "\"wizer-initialize\"").replace("BODY", TWO_MAPS).replace("(call $here)", "");
    let options = Options { strip: prewasm_snapshot::Strip::Unreachable, ..Options::default() };
    let made = snapshot_with(&module, &options).expect("it is only a memory");
    assert_eq!(made.report.entropy.reseeded.len(), 1);
}
