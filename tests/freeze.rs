//! Programs frozen while they run: what goes on from a snapshot does what the program itself would do.

#[path = "harness/gateway.rs"]
#[allow(dead_code, reason = "no test program uses all of it")]
mod gateway;
#[path = "harness/program.rs"]
mod program;

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use gateway::{Gateway, answer, serve};
use program::{Folder, finish, sample};
use reqwest::Method;
use serde_json::Value;

/// Freezes a sample into `frozen.wasm`.
fn freeze(name: &str, args: &[&str]) -> (Folder, PathBuf) {
    let folder = Folder::new();
    let file = sample(name);
    let fixed = ["snapshot", file.to_str().expect("a path in UTF-8"), "-o", "frozen.wasm", "--report", "report.json"];
    folder.run(fixed.iter().chain(args)).succeeds();
    let path = folder.path("frozen.wasm");
    (folder, path)
}

fn report(folder: &Folder) -> Value {
    serde_json::from_slice(&fs::read(folder.path("report.json")).expect("written")).expect("JSON")
}

/// Status, length and content of answers to requests of many shapes.
async fn answers(gateway: &Gateway, paths: &[&str]) -> Vec<(String, u16, Option<String>, String)> {
    let mut all = Vec::new();
    let big = "0123456789abcdef".repeat(20_000);
    for path in paths {
        for (method, body) in [(Method::GET, ""), (Method::HEAD, ""), (Method::POST, "hello"), (Method::PUT, &big)] {
            let request = gateway.request(method.clone(), path).body(body.to_owned());
            let response = request.send().await.expect("an answer");
            let status = response.status().as_u16();
            let length = response.headers().get("content-length").map(|value| format!("{value:?}"));
            let body = response.text().await.unwrap_or_else(|error| format!("broken off: {}", error.is_body()));
            all.push((format!("{method} {path}"), status, length, body));
        }
    }
    all
}

#[tokio::test]
async fn frozen_servers_answer_like_the_originals() {
    for (name, paths) in [
        ("hyper-server", &["/", "/echo", "/echo/reversed", "/nothing"][..]),
        ("blocking-server", &["/", "/x"]),
        ("mixed-accept", &["/"]),
        // No `/loop`, `/alloc` and `/silent`, which end at limits.
        ("misbehave", &["/ok", "/count", "/log", "/big", "/chunked", "/204", "/304", "/early"]),
        ("misbehave", &["/close", "/trap", "/panic", "/exit", "/garbage", "/partial"]),
    ] {
        let (folder, frozen) = freeze(name, &[]);
        let found = report(&folder);
        assert_eq!(found["until"], "accept", "{name}");
        assert_eq!(found["freeze"]["listeners"].as_array().expect("a list").len(), 1, "{name}");
        let expected = answers(&serve(sample(name)).start(), paths).await;
        let gateway = serve(&frozen).start();
        assert_eq!(answers(&gateway, paths).await, expected, "{name}, isolated");
        // It counts, and it ends: an instance of its own for each request is what makes answers comparable.
        if name != "misbehave" {
            let gateway = serve(&frozen).args(["--mode", "resident"]).start();
            assert_eq!(answers(&gateway, paths).await, expected, "{name}, resident");
        }
    }
}

/// The end of one that polls by the time of day is as far away as it was.
#[test]
fn a_frozen_server_listens_on_real_sockets() {
    let (folder, _) = freeze("poll-server", &[]);
    let mut command = folder.command(["run", "frozen.wasm", "--allow-inbound", "0.0.0.0:1238=127.0.0.1:0"]);
    let mut child = command.stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the binary starts");
    let mut line = String::new();
    BufReader::new(child.stderr.as_mut().expect("piped")).read_line(&mut line).expect("readable");
    let address = line.trim().strip_prefix("prewasm: listening on ").expect("the address really bound");
    let mut client = TcpStream::connect(address).expect("it listens");
    client.write_all(b"hello").expect("open");
    let mut answer = [0; 5];
    client.read_exact(&mut answer).expect("it sends back what it gets");
    assert_eq!(&answer, b"hello");
    drop(client);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!((output.status.code(), output.stdout), (Some(0), b"1 came\n1 sent 5 bytes\n1 left\n".to_vec()));

    folder.run(["run", "frozen.wasm"]).fails(6, ["0.0.0.0:1238", "--allow-inbound"]);
}

#[tokio::test]
async fn connections_may_be_kept_or_closed() {
    let (_folder, frozen) = freeze("hyper-server", &[]);
    let gateway = serve(&frozen).start();
    for connection in ["keep-alive", "close"] {
        for _ in 0..3 {
            let request = gateway.request(Method::POST, "/echo").header("connection", connection);
            assert_eq!(answer(request.body("hello")).await, (200, "hello".to_owned()), "{connection}");
        }
    }
}

#[tokio::test]
async fn what_a_warm_up_did_is_there_in_every_instance() {
    let (folder, frozen) = freeze("misbehave", &["--warm-up", "GET /count", "--warm-up", "POST /count => 200"]);
    let found = report(&folder);
    assert_eq!(found["freeze"]["warmUps"][1]["request"], "POST /count");
    assert_eq!(found["freeze"]["warmUps"][1]["status"], 200);
    let gateway = serve(&frozen).start();
    for _ in 0..3 {
        assert_eq!(gateway.get("/count").await, (200, "3\n".to_owned()));
    }

    // Frozen again, at its next wait for a connection.
    folder.run(["snapshot", "frozen.wasm", "-o", "again.wasm", "--warm-up", "GET /count"]).succeeds();
    let gateway = serve(folder.path("again.wasm")).start();
    for _ in 0..3 {
        assert_eq!(gateway.get("/count").await, (200, "4\n".to_owned()));
    }
}

#[tokio::test]
async fn bodies_of_warm_ups_come_from_files() {
    let folder = Folder::new().with("body.txt", "x".repeat(100_000));
    let body = folder.path("body.txt");
    let (frozen, _) = freeze("hyper-server", &["--warm-up", &format!("POST /echo @{}", body.display())]);
    assert_eq!(report(&frozen)["freeze"]["warmUps"][0]["bytes"], 100_000);
}

#[test]
fn two_builds_give_the_same_bytes() {
    for (name, args) in [("hyper-server", &["--warm-up", "GET /", "--warm-up", "GET /x => 404"][..]), ("primes", &[])] {
        let (first, second) = (freeze(name, args), freeze(name, args));
        let is_same = fs::read(first.1).expect("written") == fs::read(second.1).expect("written");
        assert!(is_same, "{name}");
    }
}

/// Programs of other people's, if they are there.
fn other_engines() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for (variable, name) in [("WASMTIME", "wasmtime"), ("WASMEDGE", "wasmedge")] {
        let program = env::var_os(variable).map_or_else(|| PathBuf::from(name), PathBuf::from);
        if Command::new(&program).arg("--version").output().is_ok_and(|output| output.status.success()) {
            found.push(program);
        } else {
            let is_required = env::var_os(format!("PREWASM_REQUIRE_{variable}")).is_some_and(|value| value == "1");
            assert!(!is_required, "`{}` does not run", program.display());
        }
    }
    found
}

#[test]
fn frozen_before_its_first_effect_a_program_runs_everywhere() {
    let numbers = b"7\n1999993\n12\nx\n";
    for (name, input) in [("primes", &numbers[..]), ("cgi-hello", b""), ("cgi-echo", b"body")] {
        let (folder, frozen) = freeze(name, &["--until", "pure"]);
        assert_eq!(report(&folder)["hostCalls"]["wasi_snapshot_preview1.fd_write"], Value::Null, "{name}");
        let original = finish(&mut folder.command([Path::new("run"), &sample(name)]), input);
        assert!(!original.stdout.is_empty(), "{name}");
        let resumed = finish(&mut folder.command([Path::new("run"), &frozen]), input);
        assert_eq!((resumed.code, &resumed.stdout), (original.code, &original.stdout), "{name}: {resumed}");
        for engine in other_engines() {
            let resumed = finish(Command::new(&engine).arg(&frozen), input);
            let engine = engine.display();
            assert_eq!((resumed.code, &resumed.stdout), (original.code, &original.stdout), "{name} on {engine}");
        }
    }
}

#[test]
fn hash_keys_are_drawn_anew_on_other_engines_too() {
    let (_folder, frozen) = freeze("hash-maps", &["--until", "pure"]);
    for engine in other_engines() {
        let new = || {
            let answer = finish(Command::new(&engine).arg(&frozen), b"").succeeds().text();
            assert!(answer.contains("found 100"), "{answer}");
            answer.lines().find(|line| line.starts_with("new")).expect("a line").to_owned()
        };
        assert_ne!(new(), new(), "{}", engine.display());
    }
}

#[test]
fn a_cgi_command_is_served_only_if_it_can_see_the_request() {
    let (folder, _) = freeze("cgi-echo", &["--until", "pure"]);
    assert_eq!(report(&folder)["environment"], "frozen");
    let run = folder.run(["serve", "frozen.wasm", "--listen", "127.0.0.1:0"]);
    run.fails(3, ["had read its environment", "--until import:wasi_snapshot_preview1.environ_sizes_get"]);
}

#[tokio::test]
async fn a_command_frozen_before_it_reads_its_environment_is_served() {
    let (_folder, frozen) = freeze("cgi-echo", &["--until", "import:wasi_snapshot_preview1.environ_sizes_get"]);
    let expected = serve(sample("cgi-echo")).start().get("/x?y=z").await;
    assert_eq!(serve(&frozen).start().get("/x?y=z").await, expected);
}

/// Writes `before`, calls the marker, writes `after`.
const MARKED: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "prewasm:marker" "here" (func $here))
    (memory (export "memory") 1)
    (data (i32.const 0) "\10\00\00\00\07\00\00\00\17\00\00\00\06\00\00\00before\n after\n")
    (func $say (param $what i32) (drop (call $write (i32.const 1) (local.get $what) (i32.const 1) (i32.const 64))))
    (func $main (export "_start")
        (call $say (i32.const 0))
        (call $here)
        (call $say (i32.const 8))))"#;

#[test]
fn the_marker_and_any_import_are_stop_points() {
    let folder = Folder::new().with("app.wat", MARKED);
    for stop in ["marker", "import:prewasm:marker.here"] {
        let run = folder.run(["snapshot", "app.wat", "-o", "out.wasm", "--until", stop]);
        assert!(run.succeeds().stderr.contains("guest: before") && !run.stderr.contains("after"), "{run}");
        let resumed = folder.run(["run", "out.wasm"]);
        assert_eq!(resumed.succeeds().text().trim(), "after", "{resumed}");
    }
    let resumed = folder.run(["run", "app.wat"]);
    assert_eq!(resumed.text().split_whitespace().collect::<Vec<_>>(), ["before", "after"], "{resumed}");
}

#[test]
fn functions_of_resumed_frames_have_names() {
    let trapping = MARKED.replace("(call $say (i32.const 8))", "unreachable");
    let folder = Folder::new().with("app.wat", trapping);
    folder.run(["snapshot", "app.wat", "-o", "out.wasm", "--until", "marker"]).succeeds();
    folder.run(["run", "out.wasm"]).fails(134, ["main (resumed)", "unreachable"]);
}

#[test]
fn what_cannot_be_frozen_is_refused_with_the_reason() {
    let folder = Folder::new()
        .with("app.wat", MARKED)
        .with("ends.wat", r#"(module (func (export "_start")))"#)
        .with(
            "start.wat",
            r#"(module (import "prewasm:marker" "here" (func $here)) (start $here) (func (export "_start")))"#,
        )
        .with("reactor.wat", r#"(module (import "prewasm:marker" "here" (func)) (func (export "handle")))"#)
        .with(
            "shared.wat",
            r#"(module (import "prewasm:marker" "here" (func)) (memory 1 1 shared) (func (export "_start")))"#,
        )
        .with("traps.wat", MARKED.replace("(call $here)", "unreachable"))
        .with("loops.wat", MARKED.replace("(call $here)", "(loop (br 0))"));
    let snapshot = |file: &str, args: &[&str]| {
        folder.run(["snapshot", file, "-o", "out.wasm"].iter().chain(args).copied().collect::<Vec<_>>())
    };
    snapshot("app.wat", &["--until=accept"]).fails(3, ["never reaches `accept`", "no server", "--until pure"]);
    snapshot("app.wat", &["--until=import:env.f"]).fails(3, ["never reaches `import:env.f`", "fd_write"]);
    snapshot("app.wat", &["--until=sometime"]).fails(2, ["`sometime`", "import:MODULE.NAME"]);
    snapshot("app.wat", &["--until=marker", "--keep-init", "--warm-up=GET /"])
        .fails(3, ["`--keep-init` has no effect", "`--warm-up` has no effect"]);
    snapshot("ends.wat", &["--until=pure"]).fails(4, ["returned before it reached `pure`", "hint:"]);
    snapshot("ends.wat", &["--until=marker"]).fails(3, ["never reaches `marker`", "prewasm:marker"]);
    snapshot("start.wat", &["--until=marker"]).fails(3, ["start section"]);
    snapshot("reactor.wat", &["--until=marker"]).fails(3, ["`_start`", "--until init"]);
    snapshot("shared.wat", &["--until=marker"]).fails(3, ["shared memory"]);
    snapshot("traps.wat", &["--until=marker"]).fails(4, ["`_start` trapped", "unreachable"]);
    snapshot("loops.wat", &["--until=marker", "--timeout=100ms"]).fails(4, ["100ms", "--timeout"]);
    snapshot("loops.wat", &["--until=marker", "--fuel=100000"]).fails(4, ["100000", "--fuel"]);
    assert!(!folder.path("out.wasm").exists());
}

#[test]
fn a_warm_up_that_goes_wrong_ends_the_build() {
    let folder = Folder::new();
    let server = sample("misbehave");
    let warm_up = |request: &str| {
        let mut command = folder.command([Path::new("snapshot"), &server, Path::new("-o"), Path::new("out.wasm")]);
        finish(command.args(["--timeout", "5s", "--warm-up", request]), b"")
    };
    warm_up("GET /nothing").fails(4, ["`GET /nothing`", "404", "=> 404"]);
    warm_up("GET /ok => 201").fails(4, ["`GET /ok`", "200", "201"]);
    warm_up("GET /trap").fails(4, ["`GET /trap` was not answered", "`_start` trapped"]);
    warm_up("GET /close").fails(4, ["`GET /close` was not answered"]);
    warm_up("GET /exit").fails(4, ["`GET /exit` was not answered", "exit code 3"]);
    warm_up("GET /garbage").fails(4, ["`GET /garbage` was not answered"]);
    warm_up("GET /loop").fails(4, ["`GET /loop` was not answered", "5s"]);
    warm_up("POST /ok @missing.txt").fails(2, ["`missing.txt`", "POST /ok"]);
    warm_up("GET").fails(2, ["`GET`", "METHOD PATH"]);
    assert!(!folder.path("out.wasm").exists());
}

/// A program which waits for the network waits no longer than it may; and while it is connected, it cannot be frozen.
#[test]
fn an_open_connection_cannot_be_frozen() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = silent.local_addr().expect("bound");
    let folder = Folder::new();
    let client = sample("http-client");
    let snapshot = |stop: &str, args: &[&str]| {
        let mut command = folder.command([Path::new("snapshot"), &client, Path::new("-o"), Path::new("out.wasm")]);
        command.args(["--until", stop, "--allow-outbound", &format!("tcp://{address}")]).args(args);
        finish(command.args(["--arg", &format!("http://{address}/")]), b"")
    };
    let recv = "import:wasi_snapshot_preview1.sock_recv";
    let run = snapshot(recv, &[]);
    run.fails(3, ["wasi_snapshot_preview1.sock_recv", "512", &address.to_string()]);
    let run = snapshot("import:wasi_snapshot_preview1.proc_exit", &["--timeout", "300ms"]);
    run.fails(4, ["300ms", "--timeout"]);
}
