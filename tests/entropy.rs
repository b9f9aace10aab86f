//! Random bytes, secrets and surroundings of a build: what a snapshot must not hold, and what each instance has for
//! itself.

#[path = "harness/frozen.rs"]
#[allow(dead_code, reason = "no test program uses all of it")]
mod frozen;
#[path = "harness/gateway.rs"]
#[allow(dead_code, reason = "no test program uses all of it")]
mod gateway;
#[path = "harness/program.rs"]
mod program;

use std::{collections::HashSet, fs, path::Path};

use gateway::serve;
use program::{Folder, finish, sample};

/// Snapshots a sample as `out.wasm`.
fn snapshot(name: &str, args: &[&str]) -> Folder {
    let folder = Folder::new();
    let file = sample(name);
    let fixed = ["snapshot", file.to_str().expect("a path in UTF-8"), "-o", "out.wasm"];
    folder.run(fixed.iter().chain(args)).succeeds();
    folder
}

/// The lines of an answer of `hash-maps`: the order of a map made before, and of one made after.
fn orders(answer: &str) -> (String, String) {
    assert!(answer.contains("found 100"), "{answer}");
    let line = |start: &str| answer.lines().find(|line| line.starts_with(start)).expect("a line").to_owned();
    (line("old"), line("new"))
}

#[tokio::test]
async fn maps_made_after_a_resume_have_keys_of_their_own() {
    let writes = ["--until", "import:wasi_snapshot_preview1.fd_write"];
    for args in [&["--until", "init"][..], &["--until", "pure"], &writes] {
        let folder = snapshot("hash-maps", args);
        let gateway = serve(folder.path("out.wasm")).start();
        let mut old = HashSet::new();
        let mut new = HashSet::new();
        for _ in 0..5 {
            let (status, answer) = gateway.get("/").await;
            assert_eq!(status, 200, "{answer}");
            let (before, after) = orders(&answer);
            old.insert(before);
            new.insert(after);
        }
        assert_eq!((old.len(), new.len()), (1, 5), "{args:?}");
        let run = || folder.run(["run", "out.wasm"]).succeeds().text();
        let (first, second) = (orders(&run()), orders(&run()));
        assert!(first.0 == second.0 && first.1 != second.1, "{args:?}");
    }
}

#[tokio::test]
async fn the_host_fills_what_a_frozen_server_must_not_share() {
    let wasm = frozen::server_with(
        r#"{"schemaVersion":1,"until":"accept","host":{"monotonic":5000000000,"closedStdio":[],"sockets":[
            {"fd":512,"family":"inet4","kind":"stream","role":{"listener":"0.0.0.0:8080"},"nonblocking":false,
             "options":{"numbers":{},"abortsOnClose":false}}],"reseed":[{"offset":295,"length":8}]}}"#,
    );
    let folder = Folder::new().with("frozen.wasm", wasm);
    let gateway = serve(folder.path("frozen.wasm")).start();
    let mut answers = HashSet::new();
    for _ in 0..5 {
        let response = gateway.request(reqwest::Method::GET, "/").send().await.expect("an answer");
        let body = response.bytes().await.expect("a whole body");
        assert_eq!(&body[8..], b"nd back", "what is behind stays");
        answers.insert(body);
    }
    assert_eq!(answers.len(), 5);
}

#[test]
fn random_bytes_are_refused_with_the_function_that_drew_them() {
    let folder = Folder::new();
    let file = sample("own-generator");
    let file = file.to_str().expect("a path in UTF-8");
    for until in ["pure", "import:wasi_snapshot_preview1.fd_write"] {
        let run = folder.run(["snapshot", file, "-o", "out.wasm", "--until", until]);
        run.fails(6, ["random bytes", "seed_generator", "`random_get`", "--allow-frozen-entropy"]);
        assert!(!folder.path("out.wasm").exists(), "nothing is written");
    }
    folder.run(["snapshot", file, "-o", "out.wasm", "--allow-frozen-entropy"]).succeeds();
    let hash_maps = sample("hash-maps");
    let hash_maps = hash_maps.to_str().expect("a path in UTF-8");
    let run = folder.run(["snapshot", hash_maps, "-o", "out2.wasm", "--deny-hash-entropy"]);
    run.fails(6, ["hash keys", "--deny-hash-entropy"]);
}

#[test]
fn secrets_of_this_machine_are_refused() {
    let folder = Folder::new();
    fs::create_dir(folder.path("data")).expect("ours");
    fs::write(folder.path("data/secret.txt"), "ghp_0123456789abcdefghijABCDEFGHIJ456789\n").expect("ours");
    let file = sample("environment");
    let file = file.to_str().expect("a path in UTF-8");
    let canary = "kJ8!unlikely-Canary_42";
    let given = format!("API_TOKEN={canary}");
    let fixed = ["snapshot", file, "-o", "out.wasm", "--until", "import:wasi_snapshot_preview1.fd_write"];

    // It never sees the variables of this machine.
    finish(folder.command(fixed).env("DEPLOY_TOKEN", canary), b"").succeeds();
    let out = fs::read(folder.path("out.wasm")).expect("written");
    assert!(!out.windows(canary.len()).any(|window| window == canary.as_bytes()));

    // If it is given one on purpose, that is told, but not what it is.
    let mut given_one = folder.command(fixed.iter().chain(&["--env", &given]));
    let run = finish(given_one.env("DEPLOY_TOKEN", canary), b"");
    run.fails(6, ["env:DEPLOY_TOKEN: 22 bytes at", "--allow-secret env:DEPLOY_TOKEN"]);
    assert!(!run.to_string().contains(canary), "{run}");
    let mut allowed = folder.command(fixed.iter().chain(&["--env", &given, "--allow-secret", "env:DEPLOY_TOKEN"]));
    finish(allowed.env("DEPLOY_TOKEN", canary), b"").succeeds();

    // Tokens are known by their form, wherever they come from.
    let run = folder.run(fixed.iter().chain(&["--dir", "data::/data"]));
    run.fails(6, ["github-token: 40 bytes at"]);
    folder.run(fixed.iter().chain(&["--allow-secret", "no-such-rule"])).fails(2, ["no-such-rule", "github-token"]);
}

#[test]
fn a_resumed_program_sees_the_variables_of_its_host() {
    let reads = "import:wasi_snapshot_preview1.fd_write";
    for args in [["--until", reads], ["--init", "read-surroundings"]] {
        let folder = snapshot("environment", &[args[0], args[1], "--env", "MODE=built"]);
        let run = folder.run(["run", "--env", "MODE=served", "out.wasm"]);
        assert!(run.succeeds().text().contains("MODE at-start=built now=served"), "{run}");
    }
    let out = Path::new("out.wasm");
    let folder = snapshot("cgi-echo", &["--until", "pure"]);
    // Without names, nobody knows how.
    folder.run([Path::new("serve"), out]).fails(3, ["had read its environment"]);
}
