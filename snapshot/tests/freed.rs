//! What programs have freed is not in their snapshots: real programs, with wasi-libc's allocator.

use std::{fs, io::Write as _, path::Path};

use prewasm_artifact::Artifact;
use prewasm_snapshot::{Layout, Options, Snapshot, Stop, Strip, Until, WarmUp, build, silent};

fn snapshot(file: &str, options: &Options) -> Snapshot {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples/prebuilt").join(file);
    let artifact = Artifact::from_bytes(file, fs::read(path).expect("a sample")).expect("valid");
    build(&artifact, options, &silent()).unwrap_or_else(|error| panic!("{file}: {error:?}"))
}

fn contains(wasm: &[u8], text: &str) -> bool {
    wasm.windows(text.len()).any(|window| window == text.as_bytes())
}

#[test]
fn a_request_which_was_answered_is_not_in_the_file() {
    // The server keeps nothing of it, but does not overwrite it either.
    let secret = "hunter2-was-my-secret";
    let mut body = tempfile::NamedTempFile::new().expect("a temporary file");
    body.write_all(secret.as_bytes()).expect("writable");
    let request: WarmUp = format!("POST /echo/reversed @{}", body.path().display()).parse().expect("a request");
    // As it came: what is freed is cleared in every layout.
    let options = Options {
        until: Until::Stop(Stop::Accept),
        warm_ups: vec![request],
        layout: Layout::Raw,
        ..Options::default()
    };
    let made = snapshot("hyper-server.wasm", &options);
    let cleared = made.report.cleared;
    assert!(cleared.heaps == 1 && cleared.freed_bytes > 100, "{cleared:?}");
    let reversed: String = secret.chars().rev().collect();
    assert!(!contains(&made.wasm, secret) && !contains(&made.wasm, &reversed));
    let compared = made.report.freeze.expect("frozen").compared.expect("it can be run twice");
    assert!(compared.host_calls > 1, "{compared:?}");
}

#[test]
fn an_init_function_leaves_what_it_has_made_and_no_more() {
    for (file, least) in [("rules-server.wasm", 1_000_000), ("javascript.wasm", 500_000), ("templates.wasm", 50)] {
        let options = Options { until: Until::Init, strip: Strip::Nothing, ..Options::default() };
        let cleared = snapshot(file, &options).report.cleared;
        assert!(cleared.heaps == 1 && cleared.freed_bytes > least, "{file}: {cleared:?}");
    }
}
