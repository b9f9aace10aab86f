//! What a snapshot saves: the time to an answer of a fresh instance, from its start and from each kind of snapshot.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::ensure;

use crate::{
    load,
    peers::{PREWASM, serve, start},
    samples::sample,
    snapshots,
};

/// The times of one file.
pub(crate) struct Times {
    /// The guest, and how it was snapshotted.
    pub(crate) guest: String,
    /// Size of the file.
    pub(crate) bytes: u64,
    /// From the start of the gateway's process to the answer.
    pub(crate) from_start: Vec<Duration>,
    /// From the first request to the answer, in a gateway which is already running.
    pub(crate) first_request: Vec<Duration>,
    /// The same for later requests: each has a fresh instance, too.
    pub(crate) later_requests: Vec<Duration>,
    body: String,
}

/// A guest, a request to it, and snapshots of it: their names, and the options which make them.
type Case = (&'static str, &'static str, &'static [(&'static str, &'static [&'static str])]);

const CASES: [Case; 2] = [
    ("hyper-server", "/", &[("frozen", &["--until", "accept"]), ("frozen-warm", &["--warm-up", "GET /"])]),
    (
        "rules-server",
        "/check?q=hello",
        &[("init", &["--until", "init"]), ("frozen-warm", &["--warm-up", "GET /check?q=hello"])],
    ),
];

/// How many further requests are made in each round, on a connection each.
const LATER_REQUESTS: usize = 10;

/// Measures guest by guest: the original first, then its snapshots.
pub(crate) fn measure(folder: &Path, rounds: usize) -> anyhow::Result<Vec<Vec<Times>>> {
    CASES.iter().map(|case| measure_case(folder, rounds, case)).collect()
}

fn measure_case(folder: &Path, rounds: usize, (name, path, variants): &Case) -> anyhow::Result<Vec<Times>> {
    let mut files = vec![(format!("{name}.wasm"), sample(&format!("{name}.wasm")))];
    for (label, args) in *variants {
        files.push((format!("{name}.wasm, {label}"), snapshots::make(folder, name, label, args)?));
    }
    let mut all: Vec<_> = Vec::new();
    for (guest, file) in &files {
        // The first start compiles; it is not counted.
        drop(start(Path::new(PREWASM), &serve(file), folder)?);
        all.push(Times {
            guest: guest.clone(),
            bytes: fs::metadata(file)?.len(),
            from_start: Vec::new(),
            first_request: Vec::new(),
            later_requests: Vec::new(),
            body: String::new(),
        });
    }
    // In turn, so that a disturbance of the machine hits all of them.
    for _ in 0..rounds {
        for ((_, file), times) in files.iter().zip(&mut all) {
            times.add(file, path, folder)?;
        }
    }
    for times in &all[1..] {
        ensure!(times.body == all[0].body, "{} answers {:?}, the original {:?}", times.guest, times.body, all[0].body);
    }
    Ok(all)
}

impl Times {
    fn add(&mut self, file: &Path, path: &str, folder: &Path) -> anyhow::Result<()> {
        let started = Instant::now();
        let server = start(Path::new(PREWASM), &serve(file), folder)?;
        let (body, first_request) = load::once(server.address, path)?;
        self.from_start.push(started.elapsed());
        self.first_request.push(first_request);
        for _ in 0..LATER_REQUESTS {
            self.later_requests.push(load::once(server.address, path)?.1);
        }
        self.body = body;
        Ok(())
    }
}
