//! Snapshots of modules with an init function: what the program was, its inputs, its exports, the report.

#[path = "harness/building.rs"]
#[allow(dead_code, reason = "no test program uses all of it")]
mod building;

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
};

use building::{artifact, failure, snapshot, snapshot_with};
use prewasm_artifact::Artifact;
use prewasm_ext_http::{Access, Directory};
use prewasm_snapshot::{EntropyPolicy, Event, InitExport, Options, Rename, RunError, Snapshot, build, silent};
use wasmtime::{Engine, Instance, Module, Store, Val};

fn instantiate(wasm: &[u8]) -> (Store<()>, Instance) {
    let engine = Engine::default();
    let module = Module::new(&engine, wasm).expect("valid");
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).expect("no imports");
    (store, instance)
}

/// Everything an instance shows: its memory, its exported globals, and what `look` answers.
fn state(store: &mut Store<()>, instance: &Instance) -> (Vec<u8>, Vec<String>, Vec<String>) {
    let mut memory = Vec::new();
    let mut globals = Vec::new();
    let exports: Vec<_> = instance.exports(&mut *store).map(wasmtime::Export::into_extern).collect();
    for export in exports {
        match export {
            wasmtime::Extern::Memory(found) => memory.extend_from_slice(found.data(&*store)),
            wasmtime::Extern::Global(found) => globals.push(format!("{:?}", found.get(&mut *store))),
            _ => {}
        }
    }
    let look = instance.get_func(&mut *store, "look").expect("exported");
    let mut answers = Vec::new();
    for argument in 0..4 {
        let mut results = [Val::I64(0)];
        look.call(&mut *store, &[Val::I32(argument)], &mut results).expect("no trap");
        answers.push(format!("{results:?}"));
    }
    (memory, globals, answers)
}

/// Programs with a function `look` from i32 to i64.
const THEOREM_CASES: &[(&str, &str)] = &[
    (
        "globals, data and memory growth",
        r#"(module
            (memory (export "memory") 1)
            (data (i32.const 8) "before")
            (global $g (export "g") (mut i64) (i64.const 1))
            (global (export "f") (mut f64) (f64.const -0.5))
            (func (export "wizer-initialize")
                (global.set $g (i64.const -77))
                (i32.store (i32.const 65532) (i32.const 0x01020304))
                (drop (memory.grow (i32.const 2)))
                (i64.store (i32.const 131000) (i64.const 9))
                (i32.store8 (i32.const 8) (i32.const 0)))
            (func (export "look") (param i32) (result i64)
                (global.set $g (i64.add (global.get $g) (i64.const 1)))
                (i64.add (global.get $g)
                    (i64.add (i64.load (i32.const 131000)) (i64.extend_i32_u (memory.size))))))"#,
    ),
    (
        "passive segments and a start function",
        r#"(module
            (memory (export "memory") 1)
            (data $passive "later")
            (data (i32.const 100) "now")
            (global $starts (mut i32) (i32.const 0))
            (start $start)
            (func $start (global.set $starts (i32.add (global.get $starts) (i32.const 1))))
            (func (export "wizer.initialize") (memory.init $passive (i32.const 0) (i32.const 0) (i32.const 5)))
            (func (export "look") (param i32) (result i64)
                (memory.init $passive (i32.add (i32.const 200) (local.get 0)) (i32.const 1) (i32.const 3))
                (i64.add (i64.load (i32.const 200)) (i64.extend_i32_u (global.get $starts)))))"#,
    ),
    (
        "tables and two memories",
        r#"(module
            (memory $a (export "a") 1)
            (memory $b (export "b") 1)
            (table funcref (elem $one $two))
            (type $f (func (result i64)))
            (global $chosen (mut i32) (i32.const 0))
            (func $one (result i64) (i64.load $a (i32.const 0)))
            (func $two (result i64) (i64.load $b (i32.const 0)))
            (func (export "wizer-initialize")
                (global.set $chosen (i32.const 1))
                (i64.store $a (i32.const 0) (i64.const 11))
                (i64.store $b (i32.const 0) (i64.const 22)))
            (func (export "look") (param i32) (result i64) (call_indirect (type $f) (global.get $chosen))))"#,
    ),
];

#[test]
fn init_then_call_equals_snapshot_then_call() {
    for (name, wat) in THEOREM_CASES {
        let before = artifact(wat);
        let made = build(&before, &Options::default(), &silent()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let (mut store, instance) = instantiate(before.bytes());
        let init = instance.get_typed_func::<(), ()>(&mut store, &made.report.init.function).expect("exported");
        init.call(&mut store, ()).expect("no trap");
        let direct = state(&mut store, &instance);
        let (mut store, instance) = instantiate(&made.wasm);
        assert!(instance.get_func(&mut store, &made.report.init.function).is_none(), "{name}: init is gone");
        assert!(direct == state(&mut store, &instance), "{name}");
    }
}

#[test]
fn two_builds_give_the_same_bytes() {
    let wat = r#"(module
        (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
        (import "wasi_snapshot_preview1" "sock_open" (func $open (param i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (func (export "wizer-initialize")
            (drop (call $random (i32.const 0) (i32.const 64)))
            (drop (call $clock (i32.const 0) (i64.const 0) (i32.const 64)))
            (drop (call $clock (i32.const 1) (i64.const 0) (i32.const 72)))
            (drop (call $clock (i32.const 1) (i64.const 0) (i32.const 80)))))"#;
    let options = Options { entropy: EntropyPolicy::Any, ..Options::default() };
    let first = snapshot_with(wat, &options).expect("initializes");
    let second = snapshot_with(wat, &options).expect("initializes");
    assert_eq!(first.wasm, second.wasm);
    assert_eq!(first.report.output.sha256, second.report.output.sha256);
    assert!(first.report.output.initialized_bytes > 60, "random bytes were drawn");

    let mut later = options;
    later.inputs.realtime = 1_700_000_000;
    assert_ne!(snapshot_with(wat, &later).expect("initializes").wasm, first.wasm);
}

/// Reads what the host offers into memory: 0 sizes of arguments, 16 of the environment, 32 the environment.
const LOOKS_AROUND: &str = r#"(module
    (import "wasi_snapshot_preview1" "args_sizes_get" (func $args (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "environ_sizes_get" (func $sizes (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "environ_get" (func $environ (param i32 i32) (result i32)))
    (memory (export "memory") 1)
    (func (export "wizer-initialize")
        (drop (call $args (i32.const 0) (i32.const 4)))
        (drop (call $sizes (i32.const 16) (i32.const 20)))
        (drop (call $environ (i32.const 32) (i32.const 64)))))"#;

fn memory_of(made: &Snapshot) -> Vec<u8> {
    let artifact = Artifact::from_bytes("out", made.wasm.clone()).expect("valid");
    // Imports are in the way of instantiating it without a host: read its data segments instead.
    let mut memory = vec![0; 65536];
    for payload in wasmparser::Parser::new(0).parse_all(artifact.bytes()) {
        let wasmparser::Payload::DataSection(section) = payload.expect("valid") else { continue };
        for segment in section {
            let segment = segment.expect("valid");
            let wasmparser::DataKind::Active { offset_expr, .. } = segment.kind else { continue };
            let mut operators = offset_expr.get_operators_reader();
            let Ok(wasmparser::Operator::I32Const { value }) = operators.read() else { panic!("a constant offset") };
            let at = usize::try_from(value).expect("small");
            memory[at..at + segment.data.len()].copy_from_slice(segment.data);
        }
    }
    memory
}

#[test]
fn only_declared_inputs_are_seen() {
    let memory = memory_of(&snapshot(LOOKS_AROUND).expect("initializes"));
    assert!(memory[..24].iter().all(|byte| *byte == 0), "no arguments, no environment");

    let mut options = Options::default();
    options.inputs.args = vec!["program".into(), "x".into()];
    options.inputs.env = vec![("SECRET_NAME".into(), "hidden".into())];
    let made = snapshot_with(LOOKS_AROUND, &options).expect("initializes");
    let memory = memory_of(&made);
    assert_eq!((memory[0], memory[4], memory[16]), (2, 10, 1));
    assert!(memory[64..].starts_with(b"SECRET_NAME=hidden\0"));
    let artifact = Artifact::from_bytes("out", made.wasm).expect("valid");
    let provenance = String::from_utf8_lossy(artifact.provenance().expect("written")).into_owned();
    assert!(provenance.starts_with(r#"{"schemaVersion":1,"tool":"prewasm","#), "{provenance}");
    assert!(provenance.contains(r#""env":["SECRET_NAME"]"#) && !provenance.contains("hidden"), "{provenance}");
}

#[test]
fn a_declared_directory_is_read_only_and_its_host_path_stays_out() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("rules"), "content!").expect("writable");
    // Opens `rules` and reads it to 100; then tries to create `new` and stores the errno at 200.
    let wat = r#"(module
        (import "wasi_snapshot_preview1" "path_open"
            (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (data (i32.const 0) "rules")
        (data (i32.const 8) "new")
        (data (i32.const 16) "\64\00\00\00\08\00\00\00")
        (func (export "wizer-initialize")
            (if (call $open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 5) (i32.const 0)
                    (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 32)) (then unreachable))
            (if (call $read (i32.load (i32.const 32)) (i32.const 16) (i32.const 1) (i32.const 36)) (then unreachable))
            (i32.store (i32.const 200)
                (call $open (i32.const 3) (i32.const 0) (i32.const 8) (i32.const 3) (i32.const 1)
                    (i64.const 64) (i64.const 0) (i32.const 0) (i32.const 40)))))"#;
    let mut options = Options::default();
    options.inputs.dirs =
        vec![Directory { host: folder.path().to_owned(), guest: "/data".into(), access: Access::ReadOnly }];
    let made = snapshot_with(wat, &options).expect("initializes");
    let memory = memory_of(&made);
    assert_eq!(&memory[100..108], b"content!");
    assert_ne!(memory[200], 0, "creating a file failed");
    assert!(!folder.path().join("new").exists());
    let path = folder.path().to_string_lossy().into_owned();
    assert!(!made.wasm.windows(path.len()).any(|window| window == path.as_bytes()));

    options.inputs.dirs[0].host = PathBuf::from("/no/such/folder");
    assert!(matches!(failure(snapshot_with(wat, &options)), RunError::Directory(_)));
}

#[test]
fn the_guests_output_is_passed_on_by_lines() {
    let wat = r#"(module
        (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (data (i32.const 0) "\10\00\00\00\09\00\00\00")
        (data (i32.const 16) "one\n\1btwo\n")
        (func (export "wizer-initialize")
            (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 100)))))"#;
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&lines);
    let progress: prewasm_snapshot::Progress = Arc::new(move |event: Event<'_>| {
        if let Event::Guest { line } = event {
            sink.lock().expect("no panic").push(line.to_owned());
        }
    });
    build(&artifact(wat), &Options::default(), &progress).expect("initializes");
    assert_eq!(*lines.lock().expect("no panic"), ["one", "\\u{1b}two"]);
}

#[test]
fn the_init_function_is_named_kept_and_renamed_as_asked() {
    let wat = r#"(module
        (global $g (export "g") (mut i32) (i32.const 0))
        (func (export "_start") unreachable)
        (func (export "wizer.resume"))
        (func (export "set-up") (global.set $g (i32.const 5)))
        (func (export "other")))"#;
    let options = Options { init: Some("set-up".into()), ..Options::default() };
    let out = |options: &Options| {
        let made = snapshot_with(wat, options).expect("initializes");
        Artifact::from_bytes("out", made.wasm).expect("valid").exports().to_vec()
    };
    assert_eq!(out(&options), ["_start", "other"], "resume takes the place of _start");
    let options = Options { init_export: InitExport::Keep, ..options };
    assert_eq!(out(&options), ["_start", "set-up", "other"]);
    let renames = vec![Rename { to: "_start".into(), from: "other".into() }];
    let options = Options { renames, init_export: InitExport::Remove, ..options };
    assert_eq!(out(&options), ["wizer.resume", "_start"]);
}

#[test]
fn a_reactors_own_initializer_runs_first() {
    let wat = r#"(module
        (global $g (export "g") (mut i64) (i64.const 0))
        (func (export "_initialize") (global.set $g (i64.add (global.get $g) (i64.const 1))))
        (func (export "wizer-initialize") (global.set $g (i64.mul (global.get $g) (i64.const 10))))
        (func (export "look") (param i32) (result i64) (global.get $g)))"#;
    let made = snapshot(wat).expect("initializes");
    let (mut store, instance) = instantiate(&made.wasm);
    let look = instance.get_typed_func::<i32, i64>(&mut store, "look").expect("exported");
    assert_eq!(look.call(&mut store, 0).expect("no trap"), 10);
    assert!(instance.get_func(&mut store, "_initialize").is_none());
    let named = Options { init: Some("_initialize".into()), ..Options::default() };
    let (mut store, instance) = instantiate(&snapshot_with(wat, &named).expect("initializes").wasm);
    let look = instance.get_typed_func::<i32, i64>(&mut store, "look").expect("exported");
    assert_eq!(look.call(&mut store, 0).expect("no trap"), 1, "not run twice");
}

#[test]
fn the_report_counts_before_and_after() {
    let report = snapshot(THEOREM_CASES[0].1).expect("initializes").report;
    assert_eq!((report.input.memory_pages, report.output.memory_pages), (1, 3));
    assert_eq!(report.input.initialized_bytes, 6);
    assert!(report.output.initialized_bytes > 6);
    let json = serde_json::to_value(&report).expect("serializes");
    assert_eq!(json["schemaVersion"], 1);
    assert_eq!(json["output"]["sha256"], report.output.sha256);
}
