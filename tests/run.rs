//! `prewasm run`: programs on real sockets, and how they end.

#[path = "harness/frozen.rs"]
mod frozen;
#[path = "harness/plain.rs"]
mod plain;
#[path = "harness/program.rs"]
mod program;

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
};

use program::{Folder, Run, finish, sample};

/// A server of a guest's, ended when dropped.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    /// Starts it and reads from standard error where it listens.
    fn start(command: &mut Command) -> Self {
        let spawned = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        let mut child = spawned.expect("the binary starts");
        let mut line = String::new();
        BufReader::new(child.stderr.as_mut().expect("piped")).read_line(&mut line).expect("readable");
        let address = line.trim().strip_prefix("prewasm: listening on ").and_then(|address| address.parse().ok());
        let Some(address) = address else {
            let _ = child.kill();
            panic!("no address in {line:?}");
        };
        Self { child, address }
    }

    /// Sends one request on a connection of its own.
    fn ask(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).expect("it listens");
        stream.write_all(request.as_bytes()).expect("writable");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("readable");
        answer
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn client(folder: &Folder, name: &str, flags: &[&str], url: &str) -> Run {
    let mut command = folder.command(["run"]);
    command.args(flags).arg(sample(name)).arg(url);
    finish(&mut command, b"")
}

#[test]
fn a_client_fetches_from_where_it_may() {
    let folder = Folder::new();
    for name in ["http-client", "plugin-client"] {
        let address = plain::serve();
        let allow = format!("--allow-outbound=http://{address}");
        let run = client(&folder, name, &[&allow], &format!("http://{address}/page"));
        assert_eq!(run.succeeds().text(), "200\nGET /page HTTP/1.1", "{name}");
    }
}

#[test]
fn a_client_is_refused_with_the_flag_named() {
    let folder = Folder::new();
    client(&folder, "http-client", &[], "http://127.0.0.1:9/").fails(1, ["`--allow-outbound tcp://127.0.0.1:9`"]);
    client(&folder, "http-client", &["--allow-outbound=*://*:*"], "http://127.0.0.1:9/").fails(1, ["loopback"]);
    client(&folder, "plugin-client", &[], "https://127.0.0.1:9/").fails(1, ["`--allow-outbound tcp://127.0.0.1:9`"]);
    // The library connects a socket before it turns to the plugin, which has no errors to give: its refusals trap.
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("bound");
    let allow = format!("--allow-outbound=http://{address}");
    client(&folder, "plugin-client", &[&allow], &format!("https://{address}/"))
        .fails(134, [&format!("`--allow-outbound https://{address}`"), "trapped"]);
}

#[test]
fn a_name_leads_where_resolve_says() {
    let folder = Folder::new();
    let address = plain::serve();
    let resolve = format!("--resolve=api.test={address}");
    let flags = ["--allow-outbound=http://api.test:80", &resolve];
    let run = client(&folder, "http-client", &flags, "http://api.test/named");
    assert!(run.succeeds().text().starts_with("200\n"), "{run}");
}

#[test]
fn a_server_answers_on_the_address_it_was_given() {
    let folder = Folder::new();
    let request = "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
    for name in ["hyper-server", "blocking-server"] {
        let mut command = folder.command(["run", "--allow-inbound", "127.0.0.1:0"]);
        let server = Server::start(command.arg(sample(name)));
        for _ in 0..3 {
            let answer = server.ask(request);
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("hello"), "{name}: {answer}");
        }
    }
}

#[test]
fn a_server_without_permission_is_told_the_flag() {
    let folder = Folder::new();
    let file = sample("hyper-server");
    let run = folder.run(["run".as_ref(), file.as_os_str()]);
    assert_ne!(run.code, 0);
    assert!(run.stderr.contains("--allow-inbound"), "{run}");
}

#[test]
fn a_frozen_server_goes_on_at_the_address_it_is_given() {
    let folder = Folder::new().with("frozen.wasm", frozen::server());
    let mut command = folder.command(["run", "--allow-inbound", "0.0.0.0:8080=127.0.0.1:0", "frozen.wasm"]);
    let server = Server::start(&mut command);
    for _ in 0..3 {
        let answer = server.ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        assert!(answer.ends_with("frozen and back"), "{answer}");
    }
}

#[test]
fn a_frozen_server_is_not_started_where_it_may_not_listen() {
    let folder = Folder::new().with("frozen.wasm", frozen::server());
    let hint = "`--allow-inbound 0.0.0.0:8080=0.0.0.0:8080`";
    let run = folder.run(["run", "frozen.wasm"]);
    run.fails(6, ["`frozen.wasm`", hint]);
    assert!(!run.stderr.contains("trapped"), "{run}");
    folder.run(["run", "--allow-inbound", "0.0.0.0:81=127.0.0.1:0", "frozen.wasm"]).fails(6, [hint]);
    let taken = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = taken.local_addr().expect("bound").to_string();
    folder
        .run(["run", "--allow-inbound", &address, "frozen.wasm"])
        .fails(1, ["`frozen.wasm`", &format!("cannot listen on {address}"), "0.0.0.0:8080"]);
}

#[test]
fn a_host_state_which_is_none_is_rejected() {
    let folder = Folder::new()
        .with("garbage.wasm", frozen::server_with("garbage"))
        .with("later.wasm", frozen::server_with(r#"{"schemaVersion":9,"news":[]}"#))
        .with("frozen.wasm", frozen::server());
    for verb in ["run", "serve"] {
        folder.run([verb, "garbage.wasm"]).fails(3, ["`garbage.wasm`", "malformed"]);
        folder.run([verb, "later.wasm"]).fails(3, ["`later.wasm`", "schema version 9", "hint:"]);
    }
    folder.run(["compile", "frozen.wasm", "-o", "frozen.cwasm"]).fails(3, ["`frozen.wasm`", "hint: serve"]);
    assert!(!folder.path("frozen.cwasm").exists());
}

#[test]
fn a_marker_does_nothing() {
    let folder = Folder::new().with(
        "app.wat",
        r#"(module (import "prewasm:marker" "here" (func $here)) (func (export "_start") (call $here)))"#,
    );
    folder.run(["run", "app.wat"]).succeeds();
}

const EXITS: &str = r#"(module
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 1)
    (func (export "_start") (call $exit (i32.const 7))))"#;

#[test]
fn the_exit_code_is_the_guests_unless_it_was_stopped() {
    let folder = Folder::new()
        .with("ok.wat", r#"(module (func (export "_start")))"#)
        .with("seven.wat", EXITS)
        .with("trap.wat", r#"(module (func $culprit unreachable) (func (export "_start") (call $culprit)))"#)
        .with("loop.wat", r#"(module (func $spin (loop (br 0))) (func (export "_start") (call $spin)))"#)
        .with(
            "grow.wat",
            r#"(module (memory (export "memory") 1) (func (export "_start")
                (if (i32.eq (memory.grow (i32.const 99)) (i32.const -1)) (then unreachable))))"#,
        );
    let run = |file: &str, limit: &str| folder.run(["run", limit, file]);
    run("ok.wat", "--timeout=60s").succeeds();
    run("seven.wat", "--timeout=60s").fails(7, []);
    run("trap.wat", "--timeout=60s").fails(134, ["`trap.wat` trapped", "culprit", "unreachable"]);
    run("loop.wat", "--timeout=100ms").fails(124, ["100ms", "--timeout"]);
    run("loop.wat", "--fuel=10000").fails(134, ["10000", "--fuel", "spin"]);
    run("grow.wat", "--max-memory=1MiB").fails(134, ["6553600 bytes", "1048576", "--max-memory"]);
    run("grow.wat", "--max-memory=16MB").succeeds();
}

#[test]
fn what_cannot_be_run_is_rejected_before_it_starts() {
    let folder = Folder::new()
        .with("library.wat", r#"(module (func (export "add")))"#)
        .with("foreign.wat", r#"(module (import "env" "magic" (func)) (func (export "_start")))"#)
        .with("text.txt", "hello");
    folder.run(["run", "missing.wasm"]).fails(1, ["`missing.wasm`"]);
    folder.run(["run", "text.txt"]).fails(3, ["not wasm"]);
    folder.run(["run", "library.wat"]).fails(3, ["`_start`"]);
    folder.run(["run", "foreign.wat"]).fails(3, ["`env.magic () -> ()`"]);
    let component = sample("component-hello");
    folder.run(["run".as_ref(), component.as_os_str()]).fails(3, ["`prewasm serve`"]);
    folder.run(["run", "--dir=./missing::/data", "library.wat"]).fails(3, ["`_start`"]);
    folder.run(["run", "--unknown", "library.wat"]).fails(2, ["--unknown"]);
}

#[test]
fn arguments_environment_and_streams_reach_the_guest() {
    let folder = Folder::new();
    let cgi = sample("cgi-echo");
    let path = |path: &str, method: &str| {
        let mut command = folder.command(["run", "--env", &format!("PATH_INFO={path}")]);
        command.args(["--env", &format!("REQUEST_METHOD={method}")]).arg(&cgi);
        command
    };
    let run = finish(path("/args", "GET").args(["--", "one", "--timeout", "two"]), b"");
    assert!(run.succeeds().text().ends_with("one\n--timeout\ntwo\n"), "{run}");
    let run = finish(&mut path("/env", "GET"), b"");
    assert!(run.succeeds().text().ends_with("\n\nPATH_INFO=/env\nREQUEST_METHOD=GET\n"), "{run}");
    let input: Vec<u8> = (0..200_000_u32).map(|i| b'a' + u8::try_from(i % 26).expect("small")).collect();
    let run = finish(path("/echo", "POST").env("CONTENT_LENGTH", "1"), &input);
    assert!(run.succeeds().stdout.ends_with(&input), "{}", run.stderr);
}

/// Creates `new` in the first directory, and exits with the errno.
const CREATES: &str = r#"(module
    (import "wasi_snapshot_preview1" "path_open"
        (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "new")
    (func (export "_start")
        (call $exit (call $open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 3) (i32.const 1)
            (i64.const 64) (i64.const 0) (i32.const 0) (i32.const 16)))))"#;

#[test]
fn directories_can_be_written_to_unless_they_are_read_only() {
    let folder = Folder::new().with("app.wat", CREATES);
    fs::create_dir(folder.path("data")).expect("writable");
    let run = folder.run(["run", "app.wat"]);
    run.fails(8, ["hint:", "`--dir HOST::GUEST`"]);
    let run = folder.run(["run", "--dir=./data::/data::ro", "app.wat"]);
    assert!(run.code != 0 && !run.stderr.contains("--dir"), "{run}");
    assert!(!folder.path("data/new").exists());
    folder.run(["run", "--dir=./data::/data", "app.wat"]).succeeds();
    assert!(folder.path("data/new").exists());
    folder.run(["run", "--dir=/data:./data", "app.wat"]).fails(2, ["`./data::/data`"]);
}

#[test]
fn a_command_component_is_run() {
    let component = |result: &str| {
        format!(
            r#"(component
                (core module $m (func (export "run") (result i32) {result}))
                (core instance $i (instantiate $m))
                (func $run (result (result)) (canon lift (core func $i "run")))
                (instance $run (export "run" (func $run)))
                (export "wasi:cli/run@0.2.6" (instance $run)))"#
        )
    };
    let folder = Folder::new()
        .with("ok.wat", component("(i32.const 0)"))
        .with("error.wat", component("(i32.const 1)"))
        .with("trap.wat", component("unreachable"));
    folder.run(["run", "ok.wat"]).succeeds();
    folder.run(["run", "error.wat"]).fails(1, []);
    folder.run(["run", "trap.wat"]).fails(134, ["trapped"]);
    folder.run(["run", "--allow-inbound=127.0.0.1:0", "ok.wat"]).fails(2, ["`--allow-inbound`", "`prewasm serve`"]);
}

#[test]
fn compiled_code_runs_on_the_users_word() {
    let folder = Folder::new().with("app.wat", EXITS);
    folder.run(["compile", "app.wat", "-o", "app.cwasm"]).succeeds();
    folder.run(["run", "app.cwasm"]).fails(6, ["--allow-precompiled"]);
    folder.run(["run", "--allow-precompiled", "app.cwasm"]).fails(7, []);
    folder.run(["run", "--allow-precompiled", "--fuel=1000", "app.cwasm"]).fails(3, ["without `--fuel`"]);
    folder.run(["compile", "app.cwasm", "-o", "again.cwasm"]).fails(3, ["precompiled already"]);
}

#[test]
#[cfg(not(feature = "wasmedge"))]
fn an_engine_that_is_not_built_in_is_named_with_what_brings_it() {
    let folder = Folder::new().with("ok.wat", r#"(module (func (export "_start")))"#);
    folder.run(["run", "--engine=wasmedge", "ok.wat"]).fails(2, ["`wasmedge`", "cargo build", "--features wasmedge"]);
    folder.run(["run", "--engine=wasmtime", "ok.wat"]).succeeds();
    folder.run(["run", "--engine=other", "ok.wat"]).fails(2, ["wasmtime", "wasmedge"]);
}
