//! What it costs to give each request a fresh instance: `cargo bench --bench restore`.
//!
//! Everything is measured under each way to reset (`PREWASM_RESET`), each in a process of its own, on one thread and
//! without sockets:
//!
//! - *Snapshots.* A server is frozen with 1, 16 and 64 MiB of memory in which every byte has been written. Instances of
//!   it are made one after the other, with no request to serve: each finds that nobody connects, and ends. It touches no
//!   page of its memory.
//! - *Requests.* Samples, and such servers, are asked as by a client that waits for each answer. The servers write to
//!   eight pages each time.
//!
//! `PREWASM_BENCH_ROUNDS` sets how many instances are made of each (default 10,000).
#![expect(clippy::print_stdout, reason = "the table is the result")]

mod cost;
mod requests;
#[path = "../shared/samples.rs"]
mod samples;
mod snapshots;
#[path = "../shared/variable.rs"]
mod variable;

use std::{
    env,
    process::{Command, Stdio},
};

use anyhow::{Context as _, ensure};

/// The program's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const RESETS: [&str; 3] = ["scan", "copy", "decommit"];
/// What the process is told that measures one way to reset: which table, and how many rounds.
const MEASURE: &str = "--measure";

fn main() -> anyhow::Result<()> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match *arguments {
        [MEASURE, "snapshots", rounds] => snapshots::measure(rounds.parse()?),
        [MEASURE, "requests", rounds] => requests::measure(rounds.parse()?),
        // `cargo test --all-targets` starts benchmarks as if they were tests.
        _ if arguments.contains(&"--bench") => bench(variable::variable("PREWASM_BENCH_ROUNDS", 10_000)?),
        _ => Ok(()),
    }
}

fn bench(rounds: usize) -> anyhow::Result<()> {
    for (table, header) in [("snapshots", snapshots::HEADER), ("requests", requests::HEADER)] {
        println!("{header}");
        for reset in RESETS {
            let mut command = Command::new(env::current_exe()?);
            command.args([MEASURE, table, &rounds.to_string()]).env("PREWASM_RESET", reset).stderr(Stdio::inherit());
            let output = command.output().context("cannot measure in a process of its own")?;
            ensure!(output.status.success(), "{table} with {reset}: {}", output.status);
            for row in String::from_utf8(output.stdout)?.lines() {
                println!("| {reset} | {row}");
            }
        }
        println!();
    }
    Ok(())
}
