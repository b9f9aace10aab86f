//! `prewasm snapshot`: exit codes, files and reports.

#[path = "harness/program.rs"]
mod program;

use std::fs;

use program::{Folder, finish, sample};

const LAZY: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "\10\00\00\00\09\00\00\00")
    (data (i32.const 16) "warming\n\1b")
    (func (export "wizer-initialize")
        (i32.store (i32.const 4096) (i32.const 1))
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 100))))
    (func (export "_start")))"#;

#[test]
fn a_snapshot_is_written_with_a_report() {
    let folder = Folder::new().with("app.wat", LAZY);
    let run = folder.run(["snapshot", "app.wat", "-o", "out.wasm", "--report", "report.json"]);
    run.succeeds();
    assert!(run.stdout.is_empty(), "nothing of the guest's on our standard output: {run}");
    assert!(run.stderr.contains("guest: warming\nguest: \\u{1b}\n"), "{run}");
    assert!(run.stderr.contains("prewasm: `wizer-initialize` ran for"), "{run}");
    let report = fs::read(folder.path("report.json")).expect("written");
    let report: serde_json::Value = serde_json::from_slice(&report).expect("JSON");
    let written = fs::read(folder.path("out.wasm")).expect("written");
    assert_eq!(report["schemaVersion"], 1);
    assert_eq!(report["output"]["bytes"], written.len());

    let again = folder.run(["-q", "snapshot", "app.wat", "-o", "-"]);
    assert_eq!(again.succeeds().stdout, written, "the same bytes, wherever they go");
    assert!(!again.stderr.contains("ran for"), "{again}");
    let json = folder.run(["snapshot", "app.wat", "-o", "out.wasm", "--format", "json"]);
    let printed: serde_json::Value = serde_json::from_slice(&json.succeeds().stdout).expect("JSON");
    assert_eq!(printed["output"], report["output"]);
    folder.run(["snapshot", "app.wat", "-o", "-", "--format", "json"]).fails(2, ["`--report FILE`"]);
}

#[test]
fn standard_input_is_taken() {
    let folder = Folder::new();
    let run = finish(&mut folder.command(["snapshot", "-", "-o", "out.wasm"]), LAZY.as_bytes());
    run.succeeds();
    assert!(folder.path("out.wasm").exists());
}

#[test]
fn the_clock_is_the_one_of_reproducible_builds() {
    let folder = Folder::new().with("app.wat", LAZY);
    let output = |epoch: &str| {
        let run = finish(folder.command(["snapshot", "app.wat", "-o", "-"]).env("SOURCE_DATE_EPOCH", epoch), b"");
        run.succeeds().stdout.clone()
    };
    assert_eq!(output("1000"), output("1000"));
    assert_ne!(output("1000"), output("2000"), "it is part of the provenance");
    let mut command = folder.command(["snapshot", "app.wat", "-o", "-"]);
    finish(command.env("SOURCE_DATE_EPOCH", "today"), b"").fails(2, ["SOURCE_DATE_EPOCH", "`today`"]);
}

#[test]
fn options_come_from_the_environment_unless_they_widen_the_guests_view() {
    let folder = Folder::new().with("app.wat", LAZY);
    let mut command = folder.command(["snapshot", "app.wat", "-o", "out.wasm"]);
    finish(command.env("PREWASM_INIT", "missing"), b"").fails(3, ["`missing`"]);
    let mut command = folder.command(["snapshot", "app.wat", "-o", "out.wasm"]);
    finish(command.env("PREWASM_DIR", "nonsense").env("PREWASM_ENV", "nonsense"), b"").succeeds();
}

#[test]
fn bad_input_is_rejected_by_name() {
    let wasm = wat::parse_str(LAZY).expect("valid");
    let folder = Folder::new()
        .with("text.txt", "hello")
        .with("cut.wasm", &wasm[..wasm.len() / 2])
        .with("none.wat", r#"(module (func (export "handle")) (func (export "warm_up")))"#)
        .with("foreign.wat", r#"(module (import "env" "magic" (func)) (func (export "wizer-initialize")))"#)
        .with(
            "table.wat",
            r#"(module (table 1 funcref) (func (export "wizer-initialize")
            (table.set (i32.const 0) (ref.null func))))"#,
        );
    let snapshot = |file: &str| folder.run(["snapshot", file, "-o", "out.wasm"]);
    snapshot("missing.wasm").fails(1, ["`missing.wasm`", "caused by: No such file"]);
    snapshot("text.txt").fails(3, ["`text.txt`", "not wasm", "hint:"]);
    snapshot("cut.wasm").fails(3, ["`cut.wasm`", "truncated"]);
    snapshot("none.wat").fails(3, ["`none.wat`", "no init function", "`warm_up`", "--init"]);
    snapshot("foreign.wat").fails(3, ["`env.magic () -> ()`", "hint:"]);
    snapshot("table.wat").fails(3, ["`table.set`", "hint:"]);
    assert!(!folder.path("out.wasm").exists());
}

#[test]
fn a_failing_guest_is_told_from_a_bad_input() {
    let init = |body: &str| {
        format!(
            r#"(module
                (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
                (memory (export "memory") 1)
                (func $culprit {body})
                (func (export "wizer-initialize") (call $culprit)))"#
        )
    };
    let folder = Folder::new()
        .with("trap.wat", init("unreachable"))
        .with("loop.wat", init("(loop (br 0))"))
        .with("exit.wat", init("(call $exit (i32.const 0))"))
        .with("grow.wat", init("(if (i32.eq (memory.grow (i32.const 99)) (i32.const -1)) (then unreachable))"));
    let snapshot = |file: &str, limit: &str| folder.run(["snapshot", file, "-o", "out.wasm", limit]);
    snapshot("trap.wat", "--timeout=60s").fails(4, ["`wizer-initialize` trapped", "culprit", "unreachable"]);
    snapshot("loop.wat", "--timeout=100ms").fails(4, ["100ms", "culprit", "--timeout"]);
    snapshot("loop.wat", "--fuel=10000").fails(4, ["10000", "--fuel"]);
    snapshot("exit.wat", "--timeout=60s").fails(4, ["exit code 0", "must return"]);
    snapshot("grow.wat", "--max-memory=1MiB").fails(4, ["6553600 bytes", "1048576 bytes", "--max-memory"]);
    assert!(!folder.path("out.wasm").exists());
}

#[test]
fn usage_errors_end_with_code_2() {
    let folder = Folder::new().with("app.wat", LAZY);
    let with = |arg: &str| folder.run(["snapshot", "app.wat", "-o", "out.wasm", arg]);
    with("--until=accept").fails(3, ["`accept`", "it is no server", "--until pure"]);
    with("--until=sometime").fails(2, ["`sometime`"]);
    with("--dir=/guest:./host").fails(2, ["`./host::/guest`"]);
    with("--dir=./missing::/data").fails(2, ["`./missing`"]);
    with("--env=NAME").fails(2, ["NAME=VALUE"]);
    with("--max-memory=64M").fails(2, ["`64MiB`"]);
    with("--no-such-option").fails(2, ["--no-such-option"]);
    folder.run(["nonsense"]).fails(2, ["nonsense"]);
    assert!(!folder.path("out.wasm").exists());
}

#[test]
fn nothing_half_written_is_left_in_a_folder_that_cannot_be_written_to() {
    // A file in the place of the folder: permissions do not hold back a privileged user.
    let folder = Folder::new().with("app.wat", LAZY).with("taken", "");
    let run = folder.run(["snapshot", "app.wat", "-o", "taken/out.wasm"]);
    run.fails(1, ["cannot write `taken/out.wasm`", "caused by:"]);
    let mut left: Vec<_> =
        fs::read_dir(folder.path(".")).expect("readable").map(|entry| entry.expect("readable").file_name()).collect();
    left.sort();
    assert_eq!(left, ["app.wat", "taken"]);
}

#[test]
fn a_real_server_with_a_heavy_start_is_snapshotted() {
    let folder = Folder::new();
    let input = sample("rules-server");
    let run = folder.run(["snapshot".as_ref(), input.as_os_str(), "-o".as_ref(), "rules.wasm".as_ref()]);
    run.succeeds();
    let inspected = folder.run(["inspect", "rules.wasm", "--format", "json"]);
    let inspected: serde_json::Value = serde_json::from_slice(&inspected.succeeds().stdout).expect("JSON");
    assert_eq!(inspected["kind"], "socket-server");
    assert_eq!(inspected["snapshot"]["init"], "wizer-initialize");
    assert!(inspected["memories"][0]["minimum"].as_u64() > Some(2), "the rules are in memory");
    let path = folder.path("").to_string_lossy().into_owned();
    let written = fs::read(folder.path("rules.wasm")).expect("written");
    assert!(!written.windows(path.len()).any(|window| window == path.as_bytes()), "no path of this machine");
}

#[test]
fn stripped_programs_are_smaller_and_answer_the_same() {
    let cases: [(&str, &[&str]); 2] = [
        (
            "templates",
            &["PATH_INFO=/books", "PATH_INFO=/search\nQUERY_STRING=q=the", "PATH_INFO=/letter", "PATH_INFO=/no"],
        ),
        ("javascript", &["QUERY_STRING=q=bolt&count=7"]),
    ];
    let folder = Folder::new();
    for (name, requests) in cases {
        let build = |output: &str, options: &[&str]| {
            let input = sample(name);
            let mut command = folder.command(["-q", "snapshot", "--until", "init", "-o", output, "--format", "json"]);
            let run = finish(command.args(options).arg(input), b"");
            let report: serde_json::Value = serde_json::from_slice(&run.succeeds().stdout).expect("JSON");
            report["transit"]["gzip"].as_u64().expect("a number")
        };
        let [plain, stripped] = [build("plain.wasm", &[]), build("stripped.wasm", &["--optimize", "wire", "--strip"])];
        assert!(stripped * 100 < plain * 95, "{name}: {plain} -> {stripped}");
        for request in requests {
            let answer = |file: &str| {
                let variables = request.lines().flat_map(|variable| ["--env", variable]);
                let run = folder.run(["run"].into_iter().chain(variables).chain([file]));
                run.succeeds().text()
            };
            let expected = answer("plain.wasm");
            let status = if request.ends_with("/no") { "Status: 404 Not Found\n" } else { "Status: 200 OK\n" };
            assert!(expected.starts_with(status), "{expected}");
            assert_eq!(answer("stripped.wasm"), expected, "{name}: {request}");
        }
    }
}
