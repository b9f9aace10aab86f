//! `prewasm port`: what is refused and how, what comes out, and `--check`.

#[path = "harness/program.rs"]
mod program;

use std::fs;

use prewasm_artifact::{Artifact, Family};
use program::{Folder, Run, sample};

/// What the shim and the adapter may add: the promise of the manual.
const ADDED: usize = 250_000;

fn port(folder: &Folder, name: &str, args: &[&str]) -> Run {
    let file = sample(name);
    let mut command = vec!["port", file.to_str().expect("UTF-8"), "-o", "out.wasm"];
    command.extend(args);
    folder.run(command)
}

/// A program with these imports and parts, and a `_start` which does nothing.
fn program(parts: &str) -> String {
    format!(r#"(module {parts} (func (export "_start")))"#)
}

const MEMORY: &str = r#"(memory (export "memory") 1)"#;
const LISTENS: &str = r#"(import "wasi_snapshot_preview1" "sock_listen" (func (param i32 i32) (result i32)))"#;

#[test]
fn a_ported_program_imports_nothing_but_wasi_and_grows_by_less_than_promised() {
    for (name, world, export) in [
        ("hyper-server", "proxy", "wasi:http/incoming-handler@0.2.12"),
        ("blocking-server", "proxy", "wasi:http/incoming-handler@0.2.12"),
        ("poll-http-server", "proxy", "wasi:http/incoming-handler@0.2.12"),
        ("http-client", "command", "wasi:cli/run@0.2.12"),
        ("hyper-client", "command", "wasi:cli/run@0.2.12"),
        ("plugin-client", "command", "wasi:cli/run@0.2.12"),
        ("tls-client", "command", "wasi:cli/run@0.2.12"),
    ] {
        let folder = Folder::new();
        let run = port(&folder, name, &[]);
        assert!(run.succeeds().stderr.contains(&format!("ported to world `{world}`")), "{run}");
        let component = Artifact::read(&folder.path("out.wasm")).expect("valid");
        let foreign: Vec<_> =
            component.imports().iter().filter(|import| import.family != Family::WasiInterface).collect();
        assert!(foreign.is_empty(), "{name}: {foreign:?}");
        assert!(component.imports().iter().all(|import| !import.module.starts_with("wasi:sockets/")), "{name}");
        assert_eq!(component.exports(), [export], "{name}");
        let before = fs::metadata(sample(name)).expect("there").len();
        let added = component.bytes().len() - usize::try_from(before).expect("fits");
        assert!(added < ADDED, "{name}: {added} bytes more");
        port(&folder, name, &[]).succeeds();
        let again = fs::read(folder.path("out.wasm")).expect("written");
        assert_eq!(again, component.bytes(), "{name}: the same bytes each time");
    }
}

#[test]
fn sockets_are_imported_only_if_asked_for() {
    let folder = Folder::new();
    port(&folder, "http-client", &["--with-sockets"]).succeeds();
    let component = Artifact::read(&folder.path("out.wasm")).expect("valid");
    assert!(component.imports().iter().any(|import| import.module.starts_with("wasi:sockets/tcp@0.2.")));
}

#[test]
fn a_program_without_a_network_needs_no_shim() {
    let folder = Folder::new();
    port(&folder, "cgi-hello", &[]).succeeds();
    let component = Artifact::read(&folder.path("out.wasm")).expect("valid");
    assert!(component.imports().iter().all(|import| !import.module.starts_with("wasi:http/")));
    let run = folder.run(["run", "out.wasm"]);
    assert!(run.succeeds().text().contains("Content-Type"), "{run}");
}

#[test]
fn what_cannot_be_ported_is_refused_by_name_before_anything_is_written() {
    let shared = r#"(memory (export "memory") 1 2 shared)"#;
    let thread = r#"(import "wasi" "thread-spawn" (func (param i32) (result i32)))"#;
    let plugin = r#"(import "wasi_nn" "load" (func (param i32 i32 i32 i32 i32) (result i32)))"#;
    for (name, text, named) in [
        ("threads", program(&format!("{thread} {shared}")), "starts threads"),
        ("shared", program(shared), "starts threads"),
        ("plugin", program(&format!("{plugin} {MEMORY}")), "`wasi_nn.load"),
        ("memory64", program(r#"(memory (export "memory") i64 1)"#), "64-bit addresses"),
        ("memories", program(&format!("{MEMORY} (memory 1)")), "several memories"),
        ("none", program(""), "no memory"),
        ("imported", program(r#"(import "env" "memory" (memory 1))"#), "`env` `memory`, which is not a function"),
        (
            "drop",
            format!(r#"(module {LISTENS} {MEMORY} (data $d "x") (func (export "_start") (data.drop $d)))"#),
            "`data.drop`",
        ),
        ("reactor", format!("(module {MEMORY})"), "reactor"),
        ("component", "(component)".to_owned(), "component"),
    ] {
        let folder = Folder::new().with("app.wat", text);
        let run = folder.run(["port", "app.wat", "-o", "out.wasm"]);
        run.fails(3, ["`app.wat` cannot be ported", named]);
        assert!(!folder.path("out.wasm").exists(), "{name}");
        let told = folder.run(["inspect", "app.wat"]);
        assert!(told.succeeds().text().contains("  port      no: "), "{name}: {told}");
        assert!(told.text().contains(named), "{name}: {told}");
    }
}

#[test]
fn everything_that_stands_in_the_way_is_told_at_once() {
    let text =
        program(&format!(r#"(import "a" "b" (func)) (import "wasi" "thread-spawn" (func)) {MEMORY} (memory 1)"#));
    let folder = Folder::new().with("app.wat", text);
    folder.run(["port", "app.wat", "-o", "out.wasm"]).fails(3, ["`a.b", "starts threads", "several memories"]);
}

#[test]
fn servers_of_something_else_than_http_are_refused() {
    let folder = Folder::new();
    let run = port(&folder, "udp-echo", &[]);
    run.fails(3, ["`sock_recv_from`", "UDP", "`prewasm run`"]);
    let run = port(&folder, "poll-server", &[]);
    run.fails(3, ["it is a server, but not of HTTP", "`--no-probe`"]);
    assert!(!folder.path("out.wasm").exists());
    port(&folder, "poll-server", &["--no-probe"]).succeeds();
}

#[test]
fn a_world_must_fit_the_program() {
    let folder = Folder::new();
    port(&folder, "hyper-server", &["--world", "command"]).fails(3, ["world `command`", "`proxy`"]);
    port(&folder, "http-client", &["--world", "proxy"]).fails(3, ["world `proxy`", "does not listen"]);
    let run = port(&folder, "hyper-server", &["--world", "proxy-cli"]);
    assert!(run.succeeds().stderr.contains("world `proxy-cli`"), "{run}");
    port(&folder, "http-client", &["--check", "/dev/null"]).fails(2, ["has no requests"]);
}

#[test]
fn a_script_is_asked_of_both() {
    let folder = Folder::new().with("body.txt", "hello").with(
        "script.txt",
        "# what a client does\nGET /\n\nPOST /echo/reversed @body.txt => 200\nGET /nothing => 404\nHEAD /\n",
    );
    let run = port(&folder, "hyper-server", &["--check", "script.txt"]);
    assert_eq!(
        run.succeeds().text(),
        "GET /: same (200)\nPOST /echo/reversed: same (200)\nGET /nothing: same (404)\nHEAD /: same (404)\n"
    );
    assert!(folder.path("out.wasm").exists());

    let file = sample("hyper-server");
    let only_check = ["port", file.to_str().expect("UTF-8"), "--check", "script.txt", "--format", "json"];
    let found: serde_json::Value = serde_json::from_slice(&folder.run(only_check).succeeds().stdout).expect("JSON");
    assert_eq!((&found["same"], &found["requests"][1]["status"]), (&true.into(), &200.into()));
}

#[test]
fn answers_that_differ_are_told_and_nothing_is_written() {
    let folder = Folder::new()
        .with("script.txt", "GET /\nGET / => 404\n")
        .with("broken.txt", "GET /\nGET\n")
        .with("missing.txt", "POST /echo @nowhere.txt\n");
    let run = port(&folder, "hyper-server", &["--check", "script.txt"]);
    run.fails(5, []);
    assert!(run.text().contains("GET /: same (200)\nGET /: DIFFERENT (200)\n  expected status\n"), "{run}");
    assert!(!folder.path("out.wasm").exists());
    port(&folder, "hyper-server", &["--check", "broken.txt"]).fails(2, ["`broken.txt`, line 2", "no path"]);
    port(&folder, "hyper-server", &["--check", "missing.txt"]).fails(2, ["`nowhere.txt`"]);
    port(&folder, "hyper-server", &["--check", "nowhere.txt"]).fails(2, ["cannot read `nowhere.txt`"]);
}

/// What the program finds in its environment is not there in a proxy: `--check` tells.
#[test]
fn a_program_that_misses_its_environment_is_found_out() {
    let folder = Folder::new().with("script.txt", "GET /\n");
    let args = ["--check", "script.txt", "--env", "PORT=nonsense"];
    let run = port(&folder, "blocking-server", &args);
    run.fails(5, []);
    assert!(run.text().contains("  status\n    original: 502\n    ported:   200\n"), "{run}");
    let mut args = args.to_vec();
    args.extend(["--world", "proxy-cli"]);
    let run = port(&folder, "blocking-server", &args);
    assert!(run.succeeds().text().contains("same (502)"), "{run}");
}

#[test]
fn options_of_port_are_told_where_they_are_wrong() {
    let folder = Folder::new();
    let file = sample("hyper-server");
    let file = file.to_str().expect("UTF-8");
    folder.run(["port", file]).fails(2, ["--output"]);
    folder.run(["port", file, "-o", "out.wasm", "--world", "moon"]).fails(2, ["proxy-cli"]);
    folder.run(["port", file, "-o", "-", "--check", "x"]).fails(2, ["standard output cannot take both"]);
    folder.run(["port", "nowhere.wasm", "-o", "out.wasm"]).fails(1, ["`nowhere.wasm`"]);
    folder.run(["port", file, "-o", "nowhere/out.wasm"]).fails(1, ["nowhere"]);
}

#[test]
fn inspect_foretells_what_port_does() {
    let folder = Folder::new();
    let inspect = |name: &str| {
        let file = sample(name);
        let run = folder.run(["inspect".as_ref(), file.as_os_str(), "--format=json".as_ref()]);
        serde_json::from_slice::<serde_json::Value>(&run.succeeds().stdout).expect("JSON")["port"].clone()
    };
    let server = inspect("hyper-server");
    assert_eq!(server["world"], "proxy");
    assert!(server["notes"].to_string().contains("each request starts the program anew"), "{server}");
    let client = inspect("tls-client");
    assert_eq!(client["world"], "command");
    assert!(client["notes"].to_string().contains("goes out as https"), "{client}");
    assert!(inspect("udp-echo").is_null());
    assert!(inspect("component-hello").is_null());
}
