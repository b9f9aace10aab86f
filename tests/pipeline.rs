//! What makes `prewasm snapshot` fit build pipelines: checks, caches, depfiles, budgets, attestations.

#[path = "harness/program.rs"]
mod program;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, SystemTime},
};

use program::{Folder, Run, finish, sample};
use serde_json::Value;

/// Reads standard input, and keeps it at 64; says so.
const READER: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "prewasm:marker" "here" (func $here))
    (memory (export "memory") 1)
    (data (i32.const 0) "\40\00\00\00\ff\00\00\00")
    (data (i32.const 16) "\20\00\00\00\08\00\00\00")
    (data (i32.const 32) "reading\n")
    (func $warm_up (export "wizer-initialize")
        (drop (call $write (i32.const 2) (i32.const 16) (i32.const 1) (i32.const 48)))
        (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 48))))
    (func (export "_start") (call $warm_up) (call $here)))"#;

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).expect("readable")).expect("JSON")
}

fn contains(bytes: &[u8], part: &str) -> bool {
    bytes.windows(part.len()).any(|window| window == part.as_bytes())
}

#[test]
fn a_snapshot_is_checked_byte_for_byte() {
    let folder = Folder::new().with("app.wat", READER).with("other.wat", READER.replace("reading", "loading"));
    folder.run(["snapshot", "app.wat", "-o", "app.snap.wasm"]).succeeds();
    let same = folder.run(["snapshot", "app.wat", "--check", "app.snap.wasm"]);
    assert!(same.succeeds().stderr.contains("prewasm: `app.snap.wasm` is what `app.wat` gives: "), "{same}");
    assert!(!same.stderr.contains("ran for"), "one line: {same}");

    let right = fs::read(folder.path("app.snap.wasm")).expect("written");
    let at = right.windows(7).position(|window| window == b"reading").expect("in a data segment");
    let mut wrong = right.clone();
    wrong[at + 1] = b'E';
    fs::write(folder.path("wrong.wasm"), &wrong).expect("writable");
    let run = folder.run(["snapshot", "app.wat", "--check", "wrong.wasm"]);
    let offset = format!("first at offset {:#x}", at + 1);
    run.fails(
        5,
        [&offset, "(data), segment", "memory 0 at 0x21", "1 bytes in 1 ranges", "0x21..0x22", "`-o wrong.wasm`"],
    );
    assert_eq!(fs::read(folder.path("wrong.wasm")).expect("there"), wrong, "nothing is written");

    let check = |input: &str, file: &str| folder.run(["snapshot", input, "--check", file]);
    let other = check("other.wat", "app.snap.wasm");
    other.fails(5, ["cannot be the same", "inputSha256", "memory 0"]);
    assert!(other.stderr.find("inputSha256") < other.stderr.find("first at"), "{other}");
    fs::write(folder.path("cut.wasm"), &right[..right.len() - 5]).expect("writable");
    check("app.wat", "cut.wasm").fails(5, ["truncated", "first differs at offset", "prewasm.snapshot"]);
    fs::write(folder.path("text.wasm"), "(module)").expect("writable");
    check("app.wat", "text.wasm").fails(5, ["no wasm binary", "offset 0x0"]);
    check("app.wat", "missing.wasm").fails(1, ["`missing.wasm`", "hint:"]);
    folder.run(["snapshot", "app.wat"]).fails(2, ["--output"]);
    folder.run(["snapshot", "app.wat", "-o", "x.wasm", "--check", "x.wasm"]).fails(2, ["cannot be used with"]);
}

#[test]
fn files_are_compared_by_inspect_too() {
    let folder = Folder::new().with("a.wat", READER).with("b.wat", READER.replace("reading", "loading"));
    for name in ["a", "b"] {
        folder.run(["snapshot", &format!("{name}.wat"), "-o", &format!("{name}.wasm")]).succeeds();
    }
    let run = folder.run(["inspect", "--diff", "a.wasm", "b.wasm"]);
    assert_eq!(run.code, 5, "{run}");
    assert!(run.text().contains("memory 0: 2 bytes in 1 ranges"), "{run}");
    assert!(run.stderr.is_empty(), "{run}");
    let run = folder.run(["inspect", "--diff", "a.wasm", "b.wasm", "--format", "json"]);
    let found: Value = serde_json::from_slice(&run.stdout).expect("JSON");
    assert_eq!((run.code, &found["schemaVersion"], &found["same"]), (5, &1.into(), &false.into()));
    assert_eq!(found["modules"]["first"][0]["memories"][0]["bytes"], 2);
    assert_eq!(folder.run(["inspect", "--diff", "a.wasm", "a.wasm"]).code, 0);
    folder.run(["inspect", "--diff", "a.wasm"]).fails(2, ["OTHER"]);
    folder.run(["inspect", "a.wasm", "b.wasm"]).fails(2, ["--diff"]);
}

#[test]
fn standard_input_is_what_is_declared() {
    let folder = Folder::new().with("app.wat", READER).with("rules.txt", "a rule to keep");
    for until in ["init", "marker"] {
        let run = folder.run(["snapshot", "app.wat", "-o", "-", "--until", until, "--stdin", "rules.txt"]);
        assert!(contains(&run.succeeds().stdout, "a rule to keep"), "{until}");
        let without = folder.run(["snapshot", "app.wat", "-o", "-", "--until", until]);
        assert!(!contains(&without.succeeds().stdout, "a rule to keep"), "{until}");
    }
    let mut command = folder.command(["snapshot", "app.wat", "-o", "-", "--stdin", "-"]);
    assert!(contains(&finish(&mut command, b"from a pipe").succeeds().stdout, "from a pipe"));
    folder.run(["snapshot", "app.wat", "-o", "-", "--stdin", "none.txt"]).fails(2, ["`none.txt`", "standard input"]);
    folder.run(["snapshot", "-", "-o", "x.wasm", "--stdin", "-"]).fails(2, ["cannot give both"]);
}

#[test]
fn an_output_beyond_its_budget_is_refused() {
    let folder = Folder::new().with("app.wat", READER);
    let with = |option: &str| folder.run(["snapshot", "app.wat", "-o", "out.wasm", "--depfile", "out.d", option]);
    with("--max-size=100").fails(6, ["`--max-size` allows 100", "hint:"]);
    with("--max-growth=1.01x").fails(6, ["`--max-growth` allows", "bytes"]);
    with("--max-growth=1B").fails(6, ["`--max-growth`"]);
    with("--max-growth=1.0.1x").fails(2, ["`1.5x`"]);
    assert!(!folder.path("out.wasm").exists() && !folder.path("out.d").exists());
    with("--max-growth=1MiB").succeeds();
    with("--max-size=1MiB").succeeds();
}

/// Builds `app.wat` with a cache.
fn cached(folder: &Folder, options: &[&str]) -> Run {
    let args = ["snapshot", "app.wat", "-o", "out.wasm", "--report", "report.json", "--cache-dir", "kept/results"];
    folder.run(args.iter().chain(options))
}

fn is_from_cache(folder: &Folder, run: &Run) -> bool {
    let from_cache = json(&folder.path("report.json"))["fromCache"].as_bool().expect("a boolean");
    assert_eq!(run.succeeds().stderr.contains("from cache"), from_cache, "{run}");
    assert_eq!(!run.stderr.contains("guest: reading"), from_cache, "{run}");
    from_cache
}

fn entries(folder: &Folder) -> Vec<PathBuf> {
    fs::read_dir(folder.path("kept/results")).expect("made").map(|entry| entry.expect("readable").path()).collect()
}

#[test]
fn a_result_is_made_once() {
    let folder = Folder::new().with("app.wat", READER).with("in.txt", "one");
    fs::create_dir(folder.path("data")).expect("new");
    let options = ["--stdin", "in.txt", "--dir", "data::/data"];
    let build = || is_from_cache(&folder, &cached(&folder, &options));
    assert!(!build());
    let made = fs::read(folder.path("out.wasm")).expect("written");
    assert!(build());
    assert_eq!(fs::read(folder.path("out.wasm")).expect("written"), made);
    fs::write(folder.path("in.txt"), "two").expect("writable");
    assert!(!build() && build());
    fs::write(folder.path("data/new"), "").expect("writable");
    assert!(!build() && build());
    fs::write(folder.path("app.wat"), READER.replace("48", "52")).expect("writable");
    assert!(!build() && build());
    let mut command = folder.command(["snapshot", "app.wat", "-o", "x.wasm", "--cache-dir", "kept/results"]);
    let run = finish(command.args(options).env("SOURCE_DATE_EPOCH", "1"), b"");
    assert!(!run.succeeds().stderr.contains("from cache"), "{run}");
    assert_eq!(entries(&folder).len(), 5);
    let check = folder.run([
        "snapshot",
        "app.wat",
        "--check",
        "out.wasm",
        "--cache-dir",
        "kept/results",
        "--stdin=in.txt",
        "--dir=data::/data",
    ]);
    assert!(check.succeeds().stderr.contains("guest: reading"), "what is checked is built: {check}");
}

#[test]
fn a_damaged_or_foreign_result_is_made_again() {
    let folder = Folder::new().with("app.wat", READER);
    assert!(!is_from_cache(&folder, &cached(&folder, &[])));
    let entry = entries(&folder).pop().expect("one");
    let good = fs::read(&entry).expect("readable");
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    for damaged in [Vec::new(), good[..good.len() - 1].to_vec(), flipped] {
        fs::write(&entry, damaged).expect("writable");
        let run = cached(&folder, &[]);
        assert!(!is_from_cache(&folder, &run) && run.stderr.contains("is damaged, or not ours"), "{run}");
        assert!(is_from_cache(&folder, &cached(&folder, &[])), "mended");
    }
    // What belongs to other options, under this name.
    assert!(!is_from_cache(&folder, &cached(&folder, &["--keep-init"])));
    let other = entries(&folder).into_iter().find(|path| *path != entry).expect("two");
    fs::copy(&other, &entry).expect("writable");
    assert!(!is_from_cache(&folder, &cached(&folder, &[])));
}

#[cfg(unix)]
#[test]
fn the_cache_is_ours_and_not_used_for_what_has_effects() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = Folder::new().with("app.wat", READER);
    fs::create_dir(folder.path("data")).expect("new");
    for option in ["--allow-outbound=http://localhost:1", "--dir=data::/data::rw"] {
        for _ in 0..2 {
            let run = cached(&folder, &[option]);
            assert!(!is_from_cache(&folder, &run) && run.stderr.contains("warning: the cache is not used"), "{run}");
        }
    }
    assert!(!folder.path("kept").exists());
    cached(&folder, &[]).succeeds();
    let mode = |name: &str| fs::metadata(folder.path(name)).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode("kept/results"), 0o700);
    fs::set_permissions(folder.path("kept/results"), fs::Permissions::from_mode(0o755)).expect("ours");
    cached(&folder, &[]).fails(2, ["`kept/results`", "chmod 700"]);
}

#[test]
fn builds_at_the_same_time_do_not_disturb_each_other() {
    let folder = Folder::new().with("app.wat", READER);
    thread::scope(|scope| {
        let build = |number: u32| {
            let output = format!("out{number}.wasm");
            folder.run(["snapshot", "app.wat", "-o", &output, "--cache-dir", "kept/results"]).succeeds();
            fs::read(folder.path(&output)).expect("written")
        };
        let builds: Vec<_> = (0..4).map(|number| scope.spawn(move || build(number))).collect();
        let made: Vec<_> = builds.into_iter().map(|build| build.join().expect("no panic")).collect();
        assert!(made.iter().all(|wasm| *wasm == made[0]));
    });
    assert_eq!(entries(&folder).len(), 1, "and nothing half-written is left");
}

#[test]
fn an_attestation_names_everything_that_went_in() {
    let folder = Folder::new().with("app.wat", READER).with("in.txt", "content");
    fs::create_dir(folder.path("data")).expect("new");
    fs::write(folder.path("data/b"), "b").expect("writable");
    let attest = |epoch: Option<&str>| {
        let mut command = folder.command(["snapshot", "app.wat", "-o", "out.wasm", "--attestation", "out.json"]);
        command.args(["--stdin=in.txt", "--dir=data::/data", "--env=TOKEN=secret", "--init=wizer-initialize"]);
        if let Some(epoch) = epoch {
            command.env("SOURCE_DATE_EPOCH", epoch);
        }
        finish(&mut command, b"").succeeds();
        fs::read(folder.path("out.json")).expect("written")
    };
    let text = attest(None);
    assert_eq!(attest(None), text, "the same bytes");
    assert!(!contains(&text, "secret") && !contains(&text, &folder.path("").to_string_lossy()));
    let statement: Value = serde_json::from_slice(&text).expect("JSON");
    assert_eq!(statement["_type"], "https://in-toto.io/Statement/v1");
    assert_eq!(statement["predicateType"], "https://slsa.dev/provenance/v1");
    assert_eq!(statement["subject"][0]["name"], "out.wasm");
    let definition = &statement["predicate"]["buildDefinition"];
    let dependencies = definition["resolvedDependencies"].as_array().expect("a list");
    let names: Vec<_> = dependencies.iter().map(|resource| resource["name"].as_str().expect("a name")).collect();
    assert_eq!(names, ["app.wat", "stdin", "/data/b"]);
    let inspected = folder.run(["inspect", "out.wasm", "--format", "json"]);
    let inspected: Value = serde_json::from_slice(&inspected.succeeds().stdout).expect("JSON");
    assert_eq!(statement["subject"][0]["digest"]["sha256"], inspected["sha256"]);
    assert_eq!(dependencies[0]["digest"]["sha256"], inspected["snapshot"]["inputSha256"]);
    assert_eq!(definition["externalParameters"]["env"], serde_json::json!(["TOKEN"]));
    assert!(statement["predicate"]["runDetails"].get("metadata").is_none());
    let timed: Value = serde_json::from_slice(&attest(Some("86400"))).expect("JSON");
    assert_eq!(timed["predicate"]["runDetails"]["metadata"]["startedOn"], "1970-01-02T00:00:00Z");
    folder.run(["snapshot", "app.wat", "-o", "-", "--attestation", "x"]).fails(2, ["--attestation"]);
}

/// The script of the composite action for GitHub.
fn script_of_the_action() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/github-action/action.yml");
    let action = fs::read_to_string(path).expect("there");
    let (_, rest) = action.split_once("      run: |\n").expect("a step with a script");
    let lines = rest.lines().map_while(|line| line.strip_prefix("        "));
    lines.map(|line| format!("{line}\n")).collect()
}

#[test]
fn the_action_for_github_builds_and_checks() {
    let folder = Folder::new().with("app.wat", READER).with("in put.txt", "content");
    let step = |input: &str, check: &str| {
        let binaries = Path::new(env!("CARGO_BIN_EXE_prewasm")).parent().expect("a folder").to_path_buf();
        let paths = env::var_os("PATH").unwrap_or_default();
        let paths = env::join_paths(std::iter::once(binaries).chain(env::split_paths(&paths))).expect("no colons");
        let mut command = Command::new("bash");
        // As GitHub calls it for `shell: bash`.
        command.args(["--noprofile", "--norc", "-eo", "pipefail", "-c", &script_of_the_action()]);
        command.current_dir(folder.path(".")).env("PATH", paths).env_remove("SOURCE_DATE_EPOCH");
        command.envs([("INPUT", input), ("OUTPUT", "app.snap.wasm"), ("CHECK", check)]);
        command.envs([("OPTIONS", r#"--until init --stdin "in put.txt""#), ("FOLDER", "temp")]);
        finish(&mut command, b"")
    };
    step("app.wat", "false").succeeds();
    let built = fs::read(folder.path("app.snap.wasm")).expect("written");
    assert!(contains(&built, "content"), "the options count");
    assert_eq!(json(&folder.path("temp/prewasm-report.json"))["fromCache"], false);
    assert_eq!(json(&folder.path("temp/prewasm-attestation.json"))["subject"][0]["name"], "app.snap.wasm");
    step("app.wat", "false").succeeds();
    assert_eq!(json(&folder.path("temp/prewasm-report.json"))["fromCache"], true);
    step("app.wat", "true").succeeds();

    let mut wrong = built;
    *wrong.last_mut().expect("not empty") ^= 1;
    fs::write(folder.path("app.snap.wasm"), wrong).expect("writable");
    step("app.wat", "true").fails(5, ["app.snap.wasm"]);
    step("$(touch executed)", "false").fails(1, ["`$(touch executed)`"]);
    assert!(!folder.path("executed").exists(), "a path is no command");
}

/// GNU Make, if it is there.
fn has_make() -> bool {
    let found =
        Command::new("make").arg("--version").stdout(Stdio::null()).status().is_ok_and(|status| status.success());
    if !found {
        eprintln!("skipped: there is no `make` on the PATH");
    }
    found
}

/// A folder with the Makefile of the examples, a program and its files.
struct Project(Folder);

impl Project {
    fn new(files: &[&str]) -> Self {
        let makefile = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/Makefile");
        let folder = Folder::new().with("Makefile", fs::read(makefile).expect("there")).with("app.wat", READER);
        fs::create_dir_all(folder.path("data/deep")).expect("new");
        for name in files {
            fs::write(folder.path(&format!("data/{name}")), "").expect("writable");
        }
        let project = Self(folder);
        for path in ["app.wat", "data", "data/deep"]
            .map(str::to_owned)
            .into_iter()
            .chain(files.iter().map(|name| format!("data/{name}")))
        {
            project.age(&path, 1000);
        }
        project
    }

    /// Moves a time of modification into the past: times in a test would be too close to each other.
    fn age(&self, name: &str, seconds: u64) {
        let past = SystemTime::now() - Duration::from_secs(seconds);
        fs::File::open(self.0.path(name)).and_then(|file| file.set_modified(past)).expect("ours");
    }

    fn make(&self, target: &str) -> Run {
        let binary = env!("CARGO_BIN_EXE_prewasm");
        let prewasm = match env::var("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER") {
            Ok(runner) => format!("{runner} {binary}"),
            Err(_) => binary.to_owned(),
        };
        let mut command = Command::new("make");
        command.current_dir(self.0.path(".")).env_remove("MAKEFLAGS").env_remove("SOURCE_DATE_EPOCH").args([
            target,
            "BUILD=build",
            "PROGRAM=app.wat",
            "SNAPSHOT_FLAGS=--dir data::/data",
            &format!("PREWASM={prewasm}"),
        ]);
        finish(&mut command, b"")
    }

    /// Whether the snapshot was made, or taken from the cache.
    fn builds(&self) -> bool {
        let run = self.make("all");
        let builds = run.succeeds().text().contains("snapshot app.wat");
        // Older than what changes from now on, and newer than what was there.
        self.age("build/app.snap.wasm", 500);
        builds
    }
}

#[test]
fn make_builds_again_what_has_changed_and_nothing_else() {
    if !has_make() {
        return;
    }
    let project = Project::new(&["old"]);
    #[cfg(unix)]
    std::os::unix::fs::symlink("nowhere", project.0.path("data/link")).expect("new");
    project.age("data", 1000);
    assert!(project.builds());
    assert!(!project.builds(), "nothing has changed");
    project.make("check").succeeds();
    for (change, name) in [("changed", "data/old"), ("made", "data/deep/new"), ("replaced", "app.wat")] {
        fs::write(project.0.path(name), READER.replace("reading", change)).expect("writable");
        assert!(project.builds(), "{name} was {change}");
        for path in ["data", "data/deep", name] {
            project.age(path, 1000);
        }
        assert!(!project.builds(), "after {name} was {change}");
    }
    fs::remove_file(project.0.path("data/old")).expect("ours");
    project.age("data", 1000);
    assert!(project.builds(), "one that is no longer there is no error");
    let run = project.make("clean");
    assert!(run.succeeds().code == 0 && !project.0.path("build/app.snap.wasm").exists());
    let run = project.make("all");
    assert!(run.succeeds().stderr.contains("from cache"), "{run}");
}

#[test]
fn make_understands_every_name_in_a_depfile() {
    if !has_make() {
        return;
    }
    let names = ["with space", "#hash", "$dollar", "a:colon", "x=y", "100%", "back\\slash", "star*", "[x]", "~tilde"];
    let project = Project::new(&names);
    assert!(project.builds());
    assert!(!project.builds());
    for name in names.map(|name| format!("data/{name}")) {
        project.age(&name, 1);
        assert!(project.builds(), "{name} is newer");
        project.age(&name, 1000);
        assert!(!project.builds(), "{name} is older again");
    }
    fs::write(project.0.path("data/a;b"), "").expect("writable");
    project.make("all").fails(2, ["`data/a;b` cannot be named in a depfile"]);
}

#[test]
fn a_depfile_lists_bodies_and_standard_input() {
    let folder = Folder::new().with("in.txt", "").with("body.txt", "hello");
    fs::copy(sample("hyper-server"), folder.path("app.wasm")).expect("there");
    let mut command =
        folder.command(["snapshot", "app.wasm", "-o", "out.wasm", "--depfile", "out.d", "--stdin=in.txt"]);
    finish(command.args(["--warm-up", "POST /echo @body.txt"]), b"").succeeds();
    let text = fs::read_to_string(folder.path("out.d")).expect("written");
    assert_eq!(text, "out.wasm: \\\n  app.wasm \\\n  in.txt \\\n  body.txt\n\napp.wasm:\n\nin.txt:\n\nbody.txt:\n");
    folder.run(["snapshot", "app.wasm", "-o", "-", "--depfile", "x.d"]).fails(2, ["--depfile"]);
}

#[test]
fn an_output_does_not_depend_on_itself() {
    let folder = Folder::new().with("app.wat", READER);
    fs::create_dir(folder.path("data")).expect("new");
    fs::write(folder.path("data/rules"), "").expect("writable");
    for _ in 0..2 {
        folder
            .run(["snapshot", "app.wat", "-o", "data/out.wasm", "--depfile", "data/out.d", "--dir", "data::/data"])
            .succeeds();
        let text = fs::read_to_string(folder.path("data/out.d")).expect("written");
        assert_eq!(text.lines().next(), Some("data/out.wasm: \\"));
        assert_eq!(text.lines().skip(1).take(3).collect::<Vec<_>>(), ["  app.wat \\", "  data/rules", ""], "{text}");
    }
}

#[test]
fn nothing_is_written_if_the_depfile_cannot_be() {
    let folder = Folder::new().with("a;b.wat", READER);
    folder.run(["snapshot", "a;b.wat", "-o", "out.wasm", "--depfile", "out.d"]).fails(2, ["`a;b.wat`", "--depfile"]);
    assert!(!folder.path("out.wasm").exists());
    folder.run(["snapshot", "a;b.wat", "-o", "out.wasm", "--attestation", "nowhere/a"]).fails(1, ["nowhere/a"]);
    assert!(!folder.path("out.wasm").exists());
}

/// Instead of cargo, a script which prints what it would.
#[cfg(unix)]
#[test]
fn cargo_prewasm_snapshots_what_cargo_has_built() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = Folder::new().with("app.wasm", wat::parse_str(READER).expect("valid")).with(
        "cargo",
        r#"#!/bin/sh
echo "$@" >> calls
case "$1" in
metadata) echo "{\"packages\":[{\"id\":\"app 1\",\"name\":\"app\",\"manifest_path\":\"$PWD/Cargo.toml\",\"metadata\":{\"prewasm\":{\"until\":\"marker\"}}}]}" ;;
build) echo "{\"reason\":\"compiler-artifact\",\"package_id\":\"app 1\",\"target\":{\"crate_types\":[\"bin\"]},\"filenames\":[],\"executable\":\"$PWD/app.wasm\"}" ;;
esac
"#,
    );
    fs::set_permissions(folder.path("cargo"), fs::Permissions::from_mode(0o755)).expect("ours");
    let run = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cargo-prewasm"));
        command.args(args).current_dir(folder.path(".")).env("CARGO", folder.path("cargo"));
        command.env_remove("SOURCE_DATE_EPOCH").env("PREWASM", env!("CARGO_BIN_EXE_prewasm"));
        finish(&mut command, b"")
    };
    run(&["prewasm", "build", "--locked", "--", "--report", "report.json"]).succeeds();
    assert_eq!(json(&folder.path("report.json"))["until"], "marker");
    assert!(folder.path("app.snap.wasm").exists());
    let calls = fs::read_to_string(folder.path("calls")).expect("written");
    let expected = "build --message-format=json-render-diagnostics --target wasm32-wasip1 --profile release --locked\n";
    assert!(calls.ends_with(expected), "{calls}");
    run(&["prewasm", "build", "--", "--max-size=1"]).fails(6, ["--max-size"]);
    run(&["prewasm", "test"]).fails(2, ["`test`", "--help"]);
    assert!(run(&["prewasm", "--help"]).succeeds().text().contains("package.metadata.prewasm"));
}
