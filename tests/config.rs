//! Configuration: what `config` says about files, and what `serve` makes of them.
//!
//! Each file in `tests/config/` is checked and, if nothing is wrong with it, shown; what is printed stands beside it, in a
//! file that ends in `.txt`. `BLESS=1` writes these anew.

#[path = "harness/gateway.rs"]
#[allow(dead_code, reason = "no test program uses all of it")]
mod gateway;
#[path = "harness/program.rs"]
#[allow(dead_code, reason = "no test program uses all of it")]
mod program;

use std::{env, fs, path::Path, process::Command};

use gateway::{Gateway, configured};
use program::{Folder, Run, finish, sample};
use serde_json::Value;

/// What the secrets of the cases are.
const SECRET: &str = "correct-horse-battery-staple";

/// A handler of requests that wants what is not provided.
const STORES: &str = r#"(component
    (import "fermyon:spin/key-value@2.0.0" (instance))
    (import "fermyon:spin/variables@2.0.0" (instance))
    (import "wasi:keyvalue/store@0.2.0-draft2" (instance))
    (instance $i)
    (export "wasi:http/incoming-handler@0.2.0" (instance $i)))"#;

/// A folder with all that the cases name.
fn folder() -> Folder {
    let mut folder = Folder::new();
    for name in ["assets/css", "data"] {
        fs::create_dir_all(folder.path(name)).expect("writable");
    }
    for name in ["cgi-hello", "cgi-echo", "component-hello", "hyper-server"] {
        folder = folder.with(&format!("{name}.wasm"), fs::read(sample(name)).expect("built"));
    }
    folder
        .with("key.txt", format!("{SECRET}\n"))
        .with("assets/main.html", "<p>main</p>")
        .with("assets/css/shown.css", "shown")
        .with("assets/css/hidden.css", "hidden")
        .with("data/numbers", "1 2 3")
        .with("stores.wat", STORES)
}

/// `prewasm` in the folder, with nothing of ours in its environment.
fn command(folder: &Folder, args: &[&str]) -> Command {
    let mut command = folder.command(args);
    for (name, _) in env::vars().filter(|(name, _)| name.starts_with("PREWASM_") || name.starts_with("SPIN_")) {
        command.env_remove(name);
    }
    command
}

fn run(folder: &Folder, args: &[&str]) -> Run {
    finish(&mut command(folder, args), b"")
}

fn with_secrets(folder: &Folder, args: &[&str]) -> Run {
    finish(command(folder, args).env("SHOP_TOKEN", SECRET).env("SPIN_VARIABLE_TOKEN", SECRET), b"")
}

fn cases() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config");
    let files = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let mut cases: Vec<_> = files
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .map(|path| {
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            (name, fs::read_to_string(path).expect("readable"))
        })
        .collect();
    cases.sort();
    assert!(cases.len() >= 8, "{cases:?}");
    cases
}

#[test]
fn each_case_is_checked_and_shown_as_written_beside_it() {
    for (name, text) in cases() {
        let folder = folder().with(&name, text);
        // Problems of secrets are part of those of the cases that have problems.
        let is_right = !name.starts_with("error-");
        let args: &[&str] = match is_right {
            true => &["config", "show", "-c", &name, "--origin", "--workers", "2"],
            false => &["config", "check", "-c", &name],
        };
        let shown = if is_right { with_secrets(&folder, args) } else { run(&folder, args) };
        assert_eq!(shown.code, if is_right { 0 } else { 2 }, "{name}: {shown}");
        let root = fs::canonicalize(folder.path(".")).expect("there").display().to_string();
        let printed = format!("{}{}", shown.text(), shown.stderr).replace(&root, "FOLDER");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config").join(name).with_extension("txt");
        if env::var_os("BLESS").is_some() {
            fs::write(&path, &printed).expect("writable");
        }
        let expected = fs::read_to_string(&path).expect("readable");
        assert_eq!(printed, expected, "{}: run the tests with BLESS=1", path.display());
    }
}

#[test]
fn what_is_shown_is_a_configuration_that_shows_the_same() {
    for (name, text) in cases().into_iter().filter(|(name, _)| !name.starts_with("error-")) {
        let folder = folder().with(&name, text);
        let first = with_secrets(&folder, &["config", "show", "-c", &name]);
        let again =
            with_secrets(&folder.with("again.toml", first.succeeds().text()), &["config", "show", "-c", "again.toml"]);
        // Files that were put together are remarks, and a text with a secret in it has no notation.
        let comparable = |run: &Run| {
            let text = run.succeeds().text();
            let lines = text.lines().filter(|line| !line.starts_with("# files") && !line.contains("(from variable"));
            lines.collect::<Vec<_>>().join("\n")
        };
        assert_eq!(comparable(&again), comparable(&first), "{name}");
    }
}

#[test]
fn secrets_are_never_printed() {
    for (name, text) in cases() {
        let folder = folder().with(&name, text);
        for args in [
            &["config", "check", "-c", &name][..],
            &["config", "show", "-c", &name],
            &["config", "show", "-c", &name, "--origin"],
            &["config", "show", "-c", &name, "--format", "json", "--origin"],
            &["-v", "config", "show", "-c", &name],
        ] {
            let run = with_secrets(&folder, args);
            assert!(!run.text().contains(SECRET) && !run.stderr.contains(SECRET), "{args:?}: {run}");
        }
    }
}

#[test]
fn a_flag_counts_before_its_variable_before_the_file_before_the_default() {
    let folder = Folder::new().with("prewasm.toml", "[server]\ndrain = \"3s\"\n");
    let drain = |flags: &[&str], variable: Option<&str>, file: &str| {
        let args = [&["config", "show", "--format", "json", "--origin", "-c", file][..], flags].concat();
        let mut command = command(&folder, &args);
        command.envs(variable.map(|value| ("PREWASM_DRAIN", value)));
        let shown: Value = serde_json::from_slice(&finish(&mut command, b"").succeeds().stdout).expect("JSON");
        let value = shown["server"]["drain"].as_str().expect("text").to_owned();
        (value, shown["origins"]["/server/drain"].as_str().expect("text").to_owned())
    };
    let folder_with_nothing = fs::write(folder.path("empty.toml"), "");
    folder_with_nothing.expect("writable");
    let is = |value: &str, origin: &str| (value.to_owned(), origin.to_owned());
    assert_eq!(drain(&["--drain", "1s"], Some("2s"), "prewasm.toml"), is("1s", "flag --drain"));
    assert_eq!(drain(&[], Some("2s"), "prewasm.toml"), is("2s", "variable PREWASM_DRAIN"));
    assert_eq!(drain(&[], None, "prewasm.toml"), is("3s", "file, line 2"));
    assert_eq!(drain(&[], None, "empty.toml"), is("30s", "default"));
}

#[test]
fn options_of_a_program_are_refused_beside_a_configuration() {
    let folder = folder().with("prewasm.toml", "");
    for option in [
        &["--dir", "assets::/a"][..],
        &["--env", "A=b"],
        &["--allow-outbound", "*://*:*"],
        &["--resolve", "a=127.0.0.1"],
        &["--tls-ca", "ca.pem"],
        &["--mode", "resident"],
        &["--allow-precompiled"],
        &["--timeout", "1s"],
        &["--max-memory", "1MiB"],
        &["--max-body", "1MiB"],
        &["--fuel", "1"],
        &["--instances", "1"],
        &["--queue", "1"],
    ] {
        let args = [&["serve", "-c", "prewasm.toml"][..], option].concat();
        run(&folder, &args).fails(2, [&format!("`{}` is about one program", option[0])]);
    }
    let mut command = command(&folder, &["serve"]);
    finish(command.env("PREWASM_FUEL", "1"), b"").fails(2, ["variable `PREWASM_FUEL` is about one program"]);
}

#[test]
fn what_is_to_be_served_must_be_named() {
    let folder = folder();
    run(&folder, &["serve"]).fails(2, ["nothing to serve", "prewasm.toml"]);
    run(&folder, &["config", "check"]).fails(2, ["no configuration is named"]);
    run(&folder, &["config", "check", "-c", "missing.toml"]).fails(2, ["cannot read `missing.toml`"]);
    let both = run(&folder, &["serve", "cgi-hello.wasm", "-c", "spin.toml"]);
    both.fails(2, ["FILE and `--config` cannot be used together"]);
    let mut command = command(&folder, &["config", "check"]);
    finish(command.env("PREWASM_CONFIG", "named.toml"), b"").fails(2, ["cannot read `named.toml`"]);
}

#[test]
fn the_schema_is_the_published_one() {
    if env::var_os("BLESS").is_some() {
        // It is being written.
        return;
    }
    let published = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/config.schema.json"));
    assert_eq!(run(&Folder::new(), &["config", "schema"]).succeeds().text(), published.expect("readable"));
}

fn start(folder: &Folder, config: &str) -> Gateway {
    configured(&folder.path("."), config).env("SHOP_TOKEN", SECRET).env("SPIN_VARIABLE_TOKEN", SECRET).start()
}

#[tokio::test]
async fn several_apps_and_responses_are_served_on_their_routes() {
    let config = r#"
        [[app]]
        name = "hello"
        source = "cgi-hello.wasm"
        routes = ["/hello/..."]

        [[app]]
        name = "component"
        source = "component-hello.wasm"
        routes = ["/..."]

        [[respond]]
        routes = ["/robots.txt"]
        headers = { content-type = "text/plain" }
        body = "User-agent: *"

        [[respond]]
        routes = ["/teapot"]
        status = 418
    "#;
    let folder = folder().with("prewasm.toml", config);
    let gateway = start(&folder, "prewasm.toml");
    assert_eq!(gateway.get("/hello/x").await, (200, "hello\n".to_owned()));
    assert_eq!(gateway.get("/robots.txt").await, (200, "User-agent: *".to_owned()));
    assert_eq!(gateway.get("/teapot").await.0, 418);
    assert_eq!(gateway.get("/").await, (200, "hello\n".to_owned()));
    assert_eq!(gateway.get("/nothing").await, (404, "not found\n".to_owned()), "the component's answer");
}

#[tokio::test]
async fn a_secret_reaches_its_app_and_not_the_log() {
    let config = "
        [[app]]
        name = 'echo'
        source = 'cgi-echo.wasm'
        routes = ['/...']
        env = { TOKEN = { env = 'SHOP_TOKEN' }, KEY = { file = 'key.txt' } }
    ";
    let folder = folder().with("prewasm.toml", config);
    let gateway = start(&folder, "prewasm.toml");
    let (_, body) = gateway.get("/env").await;
    for line in [format!("TOKEN={SECRET}"), format!("KEY={SECRET}")] {
        assert!(body.contains(&line), "{body}");
    }
    assert!(!gateway.log().contains(SECRET), "{}", gateway.log());
}

#[tokio::test]
async fn a_spin_application_is_served_as_it_is() {
    let (_, manifest) = cases().into_iter().find(|(name, _)| name == "spin.toml").expect("a case");
    let folder = folder().with("any-name.toml", manifest);
    let gateway = start(&folder, "any-name.toml");
    assert_eq!(gateway.get("/.well-known/spin/health").await, (200, "OK".to_owned()));
    let (status, info) = gateway.get("/.well-known/spin/info").await;
    let info: Value = serde_json::from_str(&info).expect("JSON");
    assert_eq!((status, info["name"].as_str(), info["version"].as_str()), (200, Some("sample"), Some("1.2.3")));
    assert_eq!(gateway.get("/.well-known/spin/else").await.0, 404);
    assert_eq!(gateway.get("/old").await.0, 302);
    assert_eq!(gateway.get("/text").await, (200, "text".to_owned()));
    assert_eq!(gateway.get("/items/7").await, (404, "not found\n".to_owned()), "the component's answer");
    assert_eq!(gateway.get("/").await.0, 200);
    let (status, env) = gateway.get("/wagi/env").await;
    assert_eq!(status, 200, "{env}");
    for expected in ["SCRIPT_NAME=/wagi\n", "PATH_INFO=/env\n"] {
        assert!(env.contains(expected), "{expected}: {env}");
    }
    assert_eq!(gateway.get("/wagi/args?x=1").await, (200, "old\n/wagi/args\n".to_owned()));
    assert_eq!(gateway.get("/wagi/file").await, (200, "1 2 3".to_owned()), "files are put together");
}

#[tokio::test]
async fn modules_of_wagi_are_served_as_they_are() {
    let (_, modules) = cases().into_iter().find(|(name, _)| name == "modules.toml").expect("a case");
    let folder = folder().with("modules.toml", modules);
    let gateway = start(&folder, "modules.toml");
    let ask = async |host: &str, path: &str| {
        gateway::answer(gateway.request(reqwest::Method::GET, path).header("host", host)).await
    };
    assert_eq!(ask("localhost", "/any").await, (200, "hello\n".to_owned()));
    assert_eq!(ask("other.example", "/healthz").await, (200, "OK".to_owned()));
    let (status, env) = ask("other.example", "/echo/env").await;
    assert_eq!(status, 200, "{env}");
    for expected in ["X=y\n", "SCRIPT_NAME=/echo\n", "X_MATCHED_ROUTE=/echo/...\n"] {
        assert!(env.contains(expected), "{expected}: {env}");
    }
    assert_eq!(ask("other.example", "/echo/args?a=1&b=2").await, (200, "echo\na=1\nb=2\n".to_owned()));
}

#[tokio::test]
async fn a_changed_file_is_served_and_a_broken_one_is_not() {
    let respond = |body: &str| format!("[[respond]]\nroutes = ['/...']\nbody = '{body}'\n");
    let folder = folder().with("prewasm.toml", respond("one"));
    let gateway = start(&folder, "prewasm.toml");
    assert_eq!(gateway.get("/").await.1, "one");
    fs::write(folder.path("prewasm.toml"), "[[respond]]\nroute = ['/...']\n").expect("writable");
    gateway.wait_for_log("unknown key `route`");
    assert_eq!(gateway.get("/").await.1, "one", "the earlier state stays");
    fs::write(folder.path("prewasm.toml"), respond("another")).expect("writable");
    gateway.wait_for_log("reloaded apps=0");
    assert_eq!(gateway.get("/").await.1, "another");
}
