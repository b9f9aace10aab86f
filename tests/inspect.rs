//! `prewasm inspect` and `prewasm completions`.

#[path = "harness/frozen.rs"]
mod frozen;
#[path = "harness/program.rs"]
mod program;

use program::{Folder, Run, sample};
use serde_json::Value;

fn json(run: &Run) -> Value {
    serde_json::from_slice(&run.succeeds().stdout).unwrap_or_else(|error| panic!("{error}: {run}"))
}

fn works(inspection: &Value, verb: &str) -> bool {
    let verbs = inspection["verbs"].as_array().expect("a list");
    verbs.iter().find(|row| row["verb"] == verb).expect("listed")["works"].as_bool().expect("a boolean")
}

#[test]
fn every_sample_is_told_for_what_it_is() {
    let folder = Folder::new();
    for (name, kind, serve, run) in [
        ("hyper-server", "socket-server", true, true),
        ("blocking-server", "socket-server", true, true),
        ("mixed-accept", "socket-server", true, true),
        ("rules-server", "socket-server", true, true),
        ("cgi-hello", "command", true, true),
        ("http-client", "command", true, true),
        ("plugin-client", "command", true, true),
        ("component-hello", "wasi-http-0.2-component", true, false),
    ] {
        let file = sample(name);
        let found = json(&folder.run(["inspect".as_ref(), file.as_os_str(), "--format=json".as_ref()]));
        assert_eq!(found["schemaVersion"], 1);
        assert_eq!(found["kind"], kind, "{name}");
        assert_eq!((works(&found, "serve"), works(&found, "run")), (serve, run), "{name}");
        assert_eq!(works(&found, "snapshot"), name != "component-hello", "{name}");
        assert!(works(&found, "compile"), "{name}");
        assert!(found["snapshot"].is_null(), "{name}");
    }
}

#[test]
fn missing_imports_are_marked_with_the_reason() {
    let folder = Folder::new().with(
        "app.wat",
        r#"(module
            (import "wasi_snapshot_preview1" "sock_teleport" (func (param i32) (result i32)))
            (import "wasi_snapshot_preview1" "path_open"
                (func (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
            (memory (export "memory") 1 5)
            (func (export "_start")))"#,
    );
    let run = folder.run(["inspect", "app.wat"]);
    for part in [
        "app.wat: command",
        "1 pages of 64 KiB, at most 5",
        "opens files",
        "NOT PROVIDED",
        "serve     no: some imports",
    ] {
        assert!(run.text().contains(part), "`{part}` is missing in {run}");
    }
    let found = json(&folder.run(["inspect", "app.wat", "--format", "json"]));
    assert_eq!(found["imports"][0]["provided"], false);
    assert_eq!(found["imports"][0]["family"], "sockets");
    assert!(found["imports"][0]["reason"].as_str().is_some_and(|reason| reason.contains("sock_teleport")));
    assert_eq!(found["imports"][1]["provided"], true);
    assert!(!works(&found, "run"));
}

#[test]
fn a_frozen_program_is_told_with_where_it_was_stopped() {
    let folder =
        Folder::new().with("app.wasm", frozen::server()).with("broken.wasm", frozen::server_with("{\"host\":1}"));
    let run = folder.run(["inspect", "app.wasm"]);
    for part in [
        "app.wasm: socket server, frozen at accept\n",
        "listens   on 0.0.0.0:8080",
        "compile   no: `app.wasm` is frozen",
    ] {
        assert!(run.text().contains(part), "`{part}` is missing in {run}");
    }
    let found = json(&folder.run(["inspect", "app.wasm", "--format", "json"]));
    assert_eq!(found["frozen"], true);
    assert_eq!(found["stop"], serde_json::json!({"until": "accept", "listeners": ["0.0.0.0:8080"]}));
    assert!(works(&found, "serve") && works(&found, "run") && !works(&found, "compile"));
    let found = json(&folder.run(["inspect", "broken.wasm", "--format", "json"]));
    assert_eq!((&found["frozen"], &found["stop"]), (&Value::Bool(true), &Value::Null));
    assert!(!works(&found, "serve") && !works(&found, "run"));
    let run = folder.run(["inspect", "broken.wasm"]);
    assert!(run.text().contains("malformed"), "{run}");
}

#[test]
fn a_closed_standard_output_is_no_error() {
    use std::process::Stdio;

    let folder = Folder::new().with("app.wat", "(module)");
    let mut child = folder
        .command(["completions", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn completions_know_the_verbs() {
    let folder = Folder::new();
    for shell in ["bash", "zsh", "fish"] {
        let run = folder.run(["completions", shell]);
        assert!(run.succeeds().text().contains("snapshot"), "{shell}");
    }
}

#[test]
fn what_serve_would_refuse_is_foretold() {
    let folder = Folder::new().with(
        "environment.wat",
        r#"(module
            (import "wasi_snapshot_preview1" "environ_sizes_get" (func $sizes (param i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (func (export "_start")
                (drop (call $sizes (i32.const 0) (i32.const 4)))
                (drop (call $write (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 8)))))"#,
    );
    folder.run(["snapshot", "environment.wat", "-o", "frozen.wasm", "--until", "pure"]).succeeds();
    let found = json(&folder.run(["inspect", "frozen.wasm", "--format", "json"]));
    assert!(!works(&found, "serve"), "{found}");
    assert!(works(&found, "run"), "{found}");
    folder.run(["serve", "frozen.wasm", "--listen", "127.0.0.1:0"]).fails(3, ["after it had read its environment"]);
}

#[test]
fn a_memory_beyond_the_default_limit_is_said_to_need_the_option() {
    let folder = Folder::new().with("big.wat", r#"(module (memory (export "memory") 5000) (func (export "_start")))"#);
    let told = folder.run(["inspect", "big.wat"]).succeeds().text();
    assert!(told.contains("yes, with `--max-memory 313MiB`"), "{told}");
    folder.run(["serve", "big.wat", "--listen", "127.0.0.1:0"]).fails(2, ["the limit is 268435456"]);
}
