//! Build time and size of snapshots, side by side with Wizer: `cargo bench --bench snapshot`.
//!
//! Each input is built by each builder in every round, in turn, so that a disturbance of the machine hits all of them; a
//! round before is not counted. A build begins with the bytes of the program and ends with those of the snapshot:
//! neither reading nor writing files is in it, nor the start of a process. Sizes are those of that first round;
//! builds of ours must give the same bytes in all rounds.
//!
//! `PREWASM_BENCH_ROUNDS` sets how many rounds are counted (default 5).
#![expect(clippy::print_stdout, reason = "the table is the result")]

mod builder;
mod cases;
#[path = "../shared/locked.rs"]
mod locked;
#[path = "../shared/machine.rs"]
mod machine;
#[path = "../shared/percentile.rs"]
mod percentile;
#[path = "../shared/samples.rs"]
mod samples;
mod size;
mod table;
#[path = "../shared/variable.rs"]
mod variable;
mod wizer;

use std::{
    env, fs,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};

use builder::Builder;
use cases::Case;
use samples::sample;
use size::Size;

/// What came of a case with one builder.
struct Outcome {
    builder: Builder,
    /// The snapshot of the first round.
    wasm: Vec<u8>,
    /// Build times, of the counted rounds.
    times: Vec<Duration>,
}

/// A row of the table.
struct Row {
    input: &'static str,
    builder: Builder,
    times: Vec<Duration>,
    size: Size,
}

fn main() -> anyhow::Result<()> {
    // `cargo test --all-targets` starts benchmarks as if they were tests.
    if !env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let rounds = variable::variable("PREWASM_BENCH_ROUNDS", 5)?;
    ensure!(rounds > 0, "rounds must be more than 0");
    let folder = tempfile::tempdir().context("no temporary folder")?;
    let mut tables = Vec::new();
    for case in cases::all()? {
        tables.push(measure(&case, builder::all(&case, folder.path())?, rounds)?);
    }
    println!("{}", table::conditions(rounds, locked::locked_version("wasmtime-wizer")?));
    println!("{}", table::snapshots(&tables));
    Ok(())
}

fn measure(case: &Case, builders: Vec<Builder>, rounds: usize) -> anyhow::Result<Vec<Row>> {
    let input = fs::read(sample(case.file)).with_context(|| format!("failed to read `{}`", case.file))?;
    let first = |builder: Builder| {
        eprintln!("{}, {}: first build", case.name, builder.name());
        Ok(Outcome { wasm: builder.build(&input)?, builder, times: Vec::new() })
    };
    let mut outcomes = builders.into_iter().map(first).collect::<anyhow::Result<Vec<_>>>()?;
    for round in 1..=rounds {
        for outcome in &mut outcomes {
            eprintln!("{}, {}: round {round}", case.name, outcome.builder.name());
            outcome.add(&input)?;
        }
    }
    eprintln!("{}: sizes", case.name);
    outcomes.into_iter().map(|outcome| outcome.into_row(case.name)).collect()
}

impl Outcome {
    fn add(&mut self, input: &[u8]) -> anyhow::Result<()> {
        let start = Instant::now();
        let wasm = self.builder.build(input)?;
        self.times.push(start.elapsed());
        let name = self.builder.name();
        ensure!(wasm == self.wasm || !self.builder.is_reproducible(), "{name}: not the same bytes as before");
        Ok(())
    }

    fn into_row(self, input: &'static str) -> anyhow::Result<Row> {
        let Self { builder, wasm, times } = self;
        let size = Size::of(&wasm).with_context(|| format!("{input}, {}", builder.name()))?;
        Ok(Row { input, builder, times, size })
    }
}
