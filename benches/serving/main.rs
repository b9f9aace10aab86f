//! Requests per second and time to the first answer, side by side with other servers: `cargo bench --bench serving`.
//!
//! Servers and load generator are separate processes on the loopback interface. Every server is started anew in every
//! round, in turn, so that a disturbance of the machine hits all of them. Each answer is checked, status and body; one
//! wrong answer fails the run.
//!
//! | Variable | Default | Meaning |
//! |---|---|---|
//! | `PREWASM_BENCH_ROUNDS` | 3 | rounds |
//! | `PREWASM_BENCH_SECONDS` | 3 | measured time of one server in one round |
//! | `PREWASM_BENCH_CONNECTIONS` | 16 | keep-alive connections |
//! | `WASMTIME` | `wasmtime` on the `PATH` | the Wasmtime CLI to compare with; left out if there is none |
#![expect(clippy::print_stdout, reason = "the table is the result")]

mod first_answer;
mod load;
#[path = "../shared/locked.rs"]
mod locked;
#[path = "../shared/machine.rs"]
mod machine;
mod peers;
#[path = "../shared/percentile.rs"]
mod percentile;
mod ported;
#[path = "../shared/samples.rs"]
mod samples;
mod settings;
mod snapshots;
mod table;
#[path = "../shared/variable.rs"]
mod variable;

use std::{env, iter, time::Duration};

use anyhow::{Context as _, bail};

use load::Sample;
use peers::{Peer, Wasmtime};
use settings::Settings;

/// Load before the measured time: connections are made, pages are touched, the CPU leaves its idle clock.
const WARM_UP: Duration = Duration::from_millis(500);

fn main() -> anyhow::Result<()> {
    let mut args = env::args().skip(1);
    match args.next().as_deref() {
        Some(peers::NATIVE_HELLO) => peers::native_hello(),
        Some("--bench") => bench(&Settings::read()?),
        // `cargo test --all-targets` starts benchmarks as if they were tests.
        _ => Ok(()),
    }
}

fn bench(settings: &Settings) -> anyhow::Result<()> {
    let folder = tempfile::tempdir().context("no temporary folder")?;
    let wasmtime = Wasmtime::find(folder.path());
    let peers = peers::all(folder.path(), wasmtime.as_ref())?;
    let ported = ported::all(folder.path(), wasmtime.as_ref())?;
    let mut groups: Vec<Vec<_>> = Vec::new();
    for group in [&peers].into_iter().chain(&ported) {
        groups.push(group.iter().map(|peer| (peer, Vec::new())).collect());
    }
    for round in 1..=settings.rounds {
        for (peer, samples) in groups.iter_mut().flatten() {
            eprintln!("round {round}: {}", peer.name());
            samples.push(measure(peer, settings)?);
        }
    }
    eprintln!("first answers");
    let first_answers = first_answer::measure(folder.path(), settings.rounds)?;

    println!("{}", table::conditions(settings));
    for (group, yardstick) in groups.iter().zip(["native"].into_iter().chain(iter::repeat("original"))) {
        println!("{}", table::throughput(group, yardstick));
    }
    println!("{}", table::first_answers(&first_answers));
    let failures: usize =
        groups.iter().flatten().flat_map(|(_, samples)| samples).map(|sample| sample.failures.len()).sum();
    if failures > 0 {
        bail!("{failures} connections got a wrong answer, or none: the figures mean nothing");
    }
    Ok(())
}

fn measure(peer: &Peer, settings: &Settings) -> anyhow::Result<Sample> {
    let server = peer.start()?;
    let target = peer.target(&server);
    let warm_up = load::run(&target, settings, WARM_UP)?;
    if let Some(failure) = warm_up.failures.first() {
        bail!("{}: {failure}", peer.name());
    }
    let sample = load::run(&target, settings, settings.duration)?;
    for failure in &sample.failures {
        eprintln!("{}: {failure}", peer.name());
    }
    Ok(sample)
}
