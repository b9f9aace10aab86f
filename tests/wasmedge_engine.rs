//! `prewasm run --engine wasmedge`: what is as on Wasmtime, and what is refused.
#![cfg(feature = "wasmedge")]

#[path = "harness/plain.rs"]
mod plain;
#[path = "harness/program.rs"]
mod program;
#[path = "harness/tls.rs"]
mod tls;

use std::{fs, net::SocketAddr, path::Path};

use program::{Folder, Run, finish, sample};
use tls::{Authority, Certificate};

const ENGINES: [&str; 2] = ["wasmtime", "wasmedge"];
const EVERYTHING: &str = "--allow-outbound=*://*:*";

fn run(folder: &Folder, engine: &str, flags: &[&str], file: impl AsRef<Path>, args: &[&str]) -> Run {
    let mut command = folder.command(["run", "--engine", engine]);
    finish(command.args(flags).arg(file.as_ref()).args(args), b"")
}

fn run_here(folder: &Folder, flags: &[&str], file: &str) -> Run {
    run(folder, "wasmedge", flags, file, &[])
}

#[test]
fn clients_fetch_the_same_on_both_engines() {
    let address = plain::serve();
    let authority = Authority::new("ours");
    let port = authority.serve("localhost", Certificate::Valid).port();
    let folder = Folder::new().with("ca.pem", authority.pem());
    let (plain, secure) = (format!("http://{address}/page"), format!("https://localhost:{port}/page"));
    let allow = [&plain, &secure].map(|url| format!("--allow-outbound={}", url.trim_end_matches("/page")));
    let flags = [EVERYTHING, "--tls-ca=ca.pem", &allow[0], &allow[1]];
    for (client, url) in [
        ("http-client", &plain),
        ("reqwest-client", &plain),
        ("plugin-client", &plain),
        ("plugin-client", &secure),
        ("tls-client", &secure),
    ] {
        let [on_wasmtime, on_wasmedge] = ENGINES.map(|engine| run(&folder, engine, &flags, sample(client), &[url]));
        assert!(on_wasmtime.succeeds().text().contains("GET /page HTTP/1.1"), "{client}: {on_wasmtime}");
        assert_eq!(on_wasmedge.succeeds().text(), on_wasmtime.text(), "{client}");
    }
}

#[test]
fn the_codec_trusts_no_one_else_either() {
    let port = Authority::new("theirs").serve("localhost", Certificate::Valid).port();
    let folder = Folder::new();
    let allow = format!("--allow-outbound=https://localhost:{port}");
    for engine in ENGINES {
        let url = format!("https://localhost:{port}/");
        run(&folder, engine, &[EVERYTHING, &allow], sample("tls-client"), &[&url])
            .fails(1, ["UnknownIssuer", "`--tls-ca`"]);
    }
}

/// Has the plugin send a request to `good.test`, and prints the answer.
fn plugin_guest(module: &str, prefix: &str, port: u16) -> String {
    const REQUEST: &str = "GET /page HTTP/1.1\\r\\n\\r\\n";
    format!(
        r#"(module
            (import "{module}" "{prefix}send_data" (func $send (param i32 i32 i32 i32 i32)))
            (import "{module}" "{prefix}get_rcv_len" (func $length (result i32)))
            (import "{module}" "{prefix}get_rcv" (func $receive (param i32)))
            (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (data (i32.const 0) "good.test")
            (data (i32.const 16) "{REQUEST}")
            (func (export "_start")
                (call $send (i32.const 0) (i32.const 9) (i32.const {port}) (i32.const 16) (i32.const 22))
                (i32.store (i32.const 128) (i32.const 1024))
                (i32.store (i32.const 132) (call $length))
                (call $receive (i32.const 1024))
                (drop (call $write (i32.const 1) (i32.const 128) (i32.const 1) (i32.const 136)))))"#
    )
}

#[test]
fn the_plugin_goes_through_the_outbound_door() {
    let authority = Authority::new("ours");
    let server = |certificate| authority.serve("good.test", certificate).port();
    let (port, expired) = (server(Certificate::Valid), server(Certificate::Expired));
    let folder = Folder::new()
        .with("ca.pem", authority.pem())
        .with("plugin.wat", plugin_guest("wasmedge_httpsreq", "wasmedge_httpsreq_", port))
        .with("first.wat", plugin_guest("httpsreq", "", port))
        .with("expired.wat", plugin_guest("wasmedge_httpsreq", "wasmedge_httpsreq_", expired));
    let allow = format!("--allow-outbound=https://good.test:{port}");
    let flags = ["--tls-ca=ca.pem", "--resolve=good.test=127.0.0.1", &allow, "--allow-outbound=https://good.test:*"];
    for engine in ENGINES {
        for guest in ["plugin.wat", "first.wat"] {
            let answer = run(&folder, engine, &flags, guest, &[]).succeeds().text();
            assert!(
                answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nGET /page HTTP/1.1"),
                "{answer}"
            );
            let hint = format!("`--allow-outbound https://good.test:{port}`");
            run(&folder, engine, &flags[..2], guest, &[]).fails(134, ["trapped", &hint]);
        }
        run(&folder, engine, &flags, "expired.wat", &[]).fails(134, ["`good.test` failed", "expired"]);
        run(&folder, engine, &flags[1..], "plugin.wat", &[]).fails(134, ["UnknownIssuer"]);
    }
}

#[test]
fn sockets_need_everything_to_be_allowed() {
    let folder = Folder::new();
    let address = SocketAddr::from(([127, 0, 0, 1], 9));
    let client = |flags: &[&str]| run(&folder, "wasmedge", flags, sample("http-client"), &["http://127.0.0.1:9/"]);
    let wanted = ["sock_", "`--allow-outbound '*://*:*'`"];
    client(&[]).fails(6, wanted);
    client(&[&format!("--allow-outbound=*://{address}")]).fails(6, wanted);
    client(&["--allow-outbound=tcp://*:*"]).fails(6, wanted);
    client(&[EVERYTHING, "--resolve=a.test=127.0.0.1"]).fails(2, ["--resolve", "WasmEdge"]);
}

#[test]
fn what_cannot_be_honoured_is_refused() {
    let folder = Folder::new().with("ok.wat", r#"(module (func (export "_start")))"#);
    fs::create_dir(folder.path("a:b")).expect("writable");
    run_here(&folder, &["--fuel=1000"], "ok.wat").fails(2, ["--fuel", "--engine wasmedge"]);
    run_here(&folder, &["--allow-inbound=127.0.0.1:0"], "ok.wat").fails(2, ["--allow-inbound", "--engine wasmedge"]);
    run_here(&folder, &["--dir=a:b::/data"], "ok.wat").fails(2, ["`/data:a:b`", "colon"]);
    run_here(&folder, &["--dir=missing::/data"], "ok.wat").fails(2, ["`missing`"]);
    run_here(&folder, &[], "ok.wat").succeeds();
}

const EXITS: &str = r#"(module
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 1)
    (func (export "_start") (call $exit (i32.const 7))))"#;

#[test]
fn the_exit_code_is_the_guests_unless_it_was_stopped() {
    let folder = Folder::new()
        .with("seven.wat", EXITS)
        .with("trap.wat", r#"(module (func (export "_start") unreachable))"#)
        .with("early.wat", r#"(module (func $f unreachable) (start $f) (func (export "_start")))"#)
        .with("loop.wat", r#"(module (func (export "_start") (loop (br 0))))"#)
        .with(
            "grow.wat",
            r#"(module (memory (export "memory") 2) (func (export "_start")
                (if (i32.eq (memory.grow (i32.const 99)) (i32.const -1)) (then unreachable))))"#,
        );
    run_here(&folder, &["--timeout=60s"], "seven.wat").fails(7, []);
    for trap in ["trap.wat", "early.wat"] {
        run_here(&folder, &[], trap).fails(134, ["trapped", "unreachable"]);
    }
    run_here(&folder, &["--timeout=100ms"], "loop.wat").fails(124, ["100ms", "--timeout"]);
    run_here(&folder, &["--max-memory=1MiB"], "grow.wat").fails(134, ["trapped"]);
    run_here(&folder, &["--max-memory=64KiB"], "grow.wat").fails(134, ["131072 bytes", "65536", "--max-memory"]);
    run_here(&folder, &["--max-memory=16MB"], "grow.wat").succeeds();
}

#[test]
fn what_cannot_be_run_is_rejected_before_it_starts() {
    let lookup = r#"(module (import "wasi_snapshot_preview1" "sock_lookup_ip"
        (func (param i32 i32 i32 i32 i32 i32) (result i32))) (func (export "_start")))"#;
    let folder = Folder::new()
        .with("library.wat", r#"(module (func (export "add")))"#)
        .with("odd.wat", r#"(module (func (export "_start") (param i32)))"#)
        .with("foreign.wat", r#"(module (import "env" "magic" (func)) (func (export "_start")))"#)
        .with("lookup.wat", lookup)
        .with("exits.wat", EXITS);
    run_here(&folder, &[], "library.wat").fails(3, ["`_start`"]);
    run_here(&folder, &[], "odd.wat").fails(3, ["`_start`"]);
    run_here(&folder, &[], "foreign.wat").fails(3, ["`env.magic () -> ()`"]);
    run_here(&folder, &[EVERYTHING], "lookup.wat").fails(3, ["sock_lookup_ip", "WasmEdge does not have"]);
    run(&folder, "wasmedge", &[], sample("component-hello"), &[]).fails(3, ["component", "core modules"]);
    folder.run(["compile", "exits.wat", "-o", "exits.cwasm"]).succeeds();
    let server = sample("blocking-server");
    folder.run(["snapshot", server.to_str().expect("a path in UTF-8"), "-o", "frozen.wasm"]).succeeds();
    run_here(&folder, &[EVERYTHING], "frozen.wasm").fails(3, ["open sockets", "leave out `--engine wasmedge`"]);
    run_here(&folder, &["--allow-precompiled"], "exits.cwasm").fails(3, ["machine code for Wasmtime"]);
}

#[test]
fn wrong_pointers_trap_in_the_plugin() {
    let guest = |call: &str, memory: &str| {
        format!(
            r#"(module
                (import "wasmedge_httpsreq" "wasmedge_httpsreq_send_data" (func $send (param i32 i32 i32 i32 i32)))
                (import "wasmedge_httpsreq" "wasmedge_httpsreq_get_rcv" (func $receive (param i32)))
                {memory}
                (func (export "_start") {call}))"#
        )
    };
    let page = r#"(memory (export "memory") 1)"#;
    let send = |arguments: [i32; 5]| {
        let arguments = arguments.map(|argument| format!("(i32.const {argument})")).join(" ");
        format!("(call $send {arguments})")
    };
    for (call, memory, named) in [
        (send([-1, 4, 443, 0, 4]), page, "out of bounds"),
        (send([65535, 2, 443, 0, 4]), page, "out of bounds"),
        (send([0, 4, 443, 4, -1]), page, "out of bounds"),
        (send([0, -1, 443, 0, 4]), page, "longer than 256"),
        (send([0, 4, -1, 0, 4]), page, "-1 is not a port"),
        (send([0, 4, 443, 0, 4]), page, "malformed"),
        (send([0, 1, 443, 0, 1]), r#"(memory (export "memory") 0)"#, "out of bounds"),
        ("(call $receive (i32.const -1))".to_owned(), page, "out of bounds"),
    ] {
        let folder = Folder::new().with("guest.wat", guest(&call, memory));
        for engine in ENGINES {
            run(&folder, engine, &[], "guest.wat", &[]).fails(134, [named]);
        }
    }
    let folder = Folder::new().with("guest.wat", guest("(call $receive (i32.const 0))", ""));
    run_here(&folder, &[], "guest.wat").fails(134, ["no memory"]);
}

#[test]
fn wrong_pointers_are_wrong_parameters_to_the_codec() {
    let calls = [("write_raw", 3), ("write_tls", 3), ("read_raw", 3), ("read_tls", 3), ("process_new_packets", 2)];
    for (call, parameters) in calls {
        for (codec, pointer, size) in [(0, -1, 8), (0, 65530, 8), (0, 0, -1), (9, 0, 8), (-1, 0, 8), (i32::MIN, 0, 8)] {
            if parameters == 2 && size < 0 {
                continue;
            }
            let size = if parameters == 3 { format!("(i32.const {size})") } else { String::new() };
            let types = "i32 ".repeat(parameters);
            // The name of the server is taken from where there is none, too.
            let guest = format!(
                r#"(module
                    (import "rustls_client" "new_codec" (func $new (param i32 i32 i32) (result i32)))
                    (import "rustls_client" "{call}" (func $call (param {types}) (result i32)))
                    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
                    (memory (export "memory") 1)
                    (data (i32.const 0) "good.test")
                    (func (export "_start")
                        (call $exit (i32.mul (i32.const -1) (i32.add (i32.add
                            (call $new (i32.const 0) (i32.const 65530) (i32.const 9))
                            (call $new (i32.const 0) (i32.const 0) (i32.const 9)))
                            (call $call (i32.const {codec}) (i32.const {pointer}) {size}))))))"#
            );
            let folder = Folder::new().with("guest.wat", guest);
            let [on_wasmtime, on_wasmedge] = ENGINES.map(|engine| run(&folder, engine, &[], "guest.wat", &[]));
            assert_eq!(on_wasmedge.code, 2, "{call} {codec} {pointer}: {on_wasmedge}");
            assert_eq!(on_wasmtime.code, 2, "{call} {codec} {pointer}: {on_wasmtime}");
        }
    }
}

#[test]
fn arguments_and_environment_reach_the_guest() {
    let folder = Folder::new();
    for (path, args) in [("/args", ["one", "two"].as_slice()), ("/env", &[])] {
        let env = format!("--env=PATH_INFO={path}");
        let flags = [&env, "--env=REQUEST_METHOD=GET"];
        let [on_wasmtime, on_wasmedge] = ENGINES.map(|engine| run(&folder, engine, &flags, sample("cgi-echo"), args));
        assert_eq!(on_wasmedge.succeeds().text(), on_wasmtime.succeeds().text());
    }
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
    run_here(&folder, &[], "app.wat").fails(8, []);
    let read_only = run_here(&folder, &["--dir=./data::/data::ro"], "app.wat");
    assert!(read_only.code != 0 && !folder.path("data/new").exists(), "{read_only}");
    run_here(&folder, &["--dir=./data::/data"], "app.wat").succeeds();
    assert!(folder.path("data/new").exists());
}
