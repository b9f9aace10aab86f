//! What a snapshot saves: the first answer of a server which is slow to start, before and after `prewasm snapshot`.

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::ensure;

use crate::{
    load,
    peers::{PREWASM, sample, serve, start},
    table,
};

const PATH: &str = "/check?q=hello";

/// Times of one file, a value per round.
struct Times {
    body: String,
    /// From the start of the gateway's process to the answer.
    from_start: Vec<Duration>,
    /// From the request to the answer, in a gateway which is already running.
    first_request: Vec<Duration>,
}

/// Measures, and gives the text to print.
pub(crate) fn measure(folder: &Path, rounds: usize) -> anyhow::Result<String> {
    let original = sample("rules-server.wasm");
    let snapshot = folder.join("rules-server.snap.wasm");
    let built = Command::new(PREWASM)
        .arg("snapshot")
        .arg(&original)
        .args(["--until", "init", "-o"])
        .arg(&snapshot)
        .env("XDG_CACHE_HOME", folder)
        .output()?;
    ensure!(built.status.success(), "no snapshot:\n{}", String::from_utf8_lossy(&built.stderr));
    let before = times(&original, folder, rounds)?;
    let after = times(&snapshot, folder, rounds)?;
    ensure!(before.body == after.body, "the snapshot answers {:?}, the original {:?}", after.body, before.body);
    Ok(table::first_answer(
        [&before.from_start, &before.first_request].map(|times| table::median(times)),
        [&after.from_start, &after.first_request].map(|times| table::median(times)),
    ))
}

fn times(file: &Path, folder: &Path, rounds: usize) -> anyhow::Result<Times> {
    // The first start compiles; it is not counted.
    drop(start(Path::new(PREWASM), &serve(file), folder)?);
    let mut times = Times { body: String::new(), from_start: Vec::new(), first_request: Vec::new() };
    for _ in 0..rounds {
        let started = Instant::now();
        let server = start(Path::new(PREWASM), &serve(file), folder)?;
        let (body, first_request) = load::once(server.address, PATH)?;
        times.from_start.push(started.elapsed());
        times.first_request.push(first_request);
        times.body = body;
    }
    Ok(times)
}
