//! One program gives one snapshot: wherever it is made, whoever makes it, and however often.

#[path = "harness/program.rs"]
mod program;

use std::{env, fs, path::PathBuf, sync::Mutex, thread};

use program::{Folder, finish, sample};

/// Samples which are not snapshotted as they are: a component without an init function, and a client which needs
/// somebody to talk to before it waits for connections.
const LEFT_OUT: [&str; 3] = ["component-hello", "component-hello-default", "socket-calls"];
/// Samples which would not be snapshotted without a flag.
const DRAWS_RANDOM_BYTES: [&str; 1] = ["own-generator"];
/// Up to this many bytes a sample is compiled within a second or two, even without optimization.
const SMALL: u64 = 115_000;
/// How often each small sample is snapshotted, unless `PREWASM_ROUNDS` says how often each sample is.
const ROUNDS: usize = 3;

/// What is different in each round.
const LANGUAGES: [&str; 3] = ["C", "de_DE.UTF-8", "ja_JP.EUC-JP"];
const ZONES: [&str; 3] = ["UTC", "America/St_Johns", "Asia/Kathmandu"];

fn samples(is_wanted: impl Fn(u64) -> bool) -> Vec<String> {
    let any = sample("cgi-hello");
    let mut names = Vec::new();
    for file in fs::read_dir(any.parent().expect("a folder")).expect("readable") {
        let file = file.expect("readable");
        let path = PathBuf::from(file.file_name());
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let is_module = path.extension().is_some_and(|extension| extension == "wasm");
        if is_module && !LEFT_OUT.contains(&name.as_str()) && is_wanted(file.metadata().expect("readable").len()) {
            names.push(name);
        }
    }
    names.sort();
    names
}

/// The snapshot of a sample, made in surroundings of its own, of which nothing may be in it.
fn snapshot(name: &str, round: usize) -> Vec<u8> {
    let folder = Folder::new().with("app.wasm", fs::read(sample(name)).expect("there"));
    let canary = format!("canary-{round}-of-{name}");
    let home = folder.path(&format!("home-{round}"));
    let (language, zone) = (LANGUAGES[round % LANGUAGES.len()], ZONES[round % ZONES.len()]);
    let mut command = folder.command(["snapshot", "app.wasm", "-o", "out.wasm", "--report", "report.json"]);
    if DRAWS_RANDOM_BYTES.contains(&name) {
        command.arg("--allow-frozen-entropy");
    }
    command.env("HOME", &home).env("LANG", language).env("LC_ALL", language).env("TZ", zone);
    command.env(format!("CANARY_{round}"), &canary).env("USER", &canary);
    let run = finish(&mut command, b"");
    run.succeeds();

    let out = fs::read(folder.path("out.wasm")).expect("written");
    let report = fs::read(folder.path("report.json")).expect("written");
    let place = folder.path("");
    for secret in [canary.as_str(), place.to_str().expect("in UTF-8"), home.to_str().expect("in UTF-8")] {
        let secret = secret.trim_end_matches('/').as_bytes();
        for (what, bytes) in [("the snapshot", &out), ("the report", &report), ("standard output", &run.stdout)] {
            let is_there = bytes.windows(secret.len()).any(|window| window == secret);
            assert!(!is_there, "{name}: `{}` is in {what}", String::from_utf8_lossy(secret));
        }
    }
    out
}

#[test]
fn every_sample_gives_one_snapshot_wherever_it_is_made() {
    let rounds = env::var("PREWASM_ROUNDS").ok().map(|rounds| rounds.parse().expect("`PREWASM_ROUNDS` is a number"));
    let names = samples(|bytes| rounds.is_some() || bytes <= SMALL);
    assert!(names.len() >= 10, "{names:?}");
    let rounds = rounds.unwrap_or(ROUNDS);
    let waiting = Mutex::new(names);
    let next = || waiting.lock().expect("no panic").pop();
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(name) = next() {
                    let first = snapshot(&name, 0);
                    for round in 1..rounds {
                        assert!(snapshot(&name, round) == first, "{name}: round {round} gave another snapshot");
                    }
                }
            });
        }
    });
}

/// Directories are an input, and what is not in them is none.
#[test]
fn a_listed_directory_gives_one_snapshot_whoever_made_it() {
    const LISTS: &str = r#"(module
        (import "wasi_snapshot_preview1" "fd_readdir" (func $list (param i32 i32 i32 i64 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_filestat_get" (func $stat (param i32 i32) (result i32)))
        (memory (export "memory") 1)
        (func (export "wizer-initialize")
            (if (call $list (i32.const 3) (i32.const 1024) (i32.const 4096) (i64.const 0) (i32.const 8))
                (then unreachable))
            (if (call $stat (i32.const 3) (i32.const 64)) (then unreachable))))"#;
    let snapshot = |files: [&str; 4]| {
        let folder = Folder::new().with("app.wat", LISTS);
        fs::create_dir(folder.path("data")).expect("writable");
        let folder = files.iter().fold(folder, |folder, name| folder.with(&format!("data/{name}"), *name));
        folder.run(["snapshot", "app.wat", "-o", "out.wasm", "--dir", "data::/data"]).succeeds();
        fs::read(folder.path("out.wasm")).expect("written")
    };
    let first = snapshot(["one", "two", "three", "four"]);
    assert!(first == snapshot(["four", "three", "two", "one"]), "in another order");
    assert!(first != snapshot(["one", "two", "three", "five"]), "with other files");
}
