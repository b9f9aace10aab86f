//! What the environment says about a run.

use std::time::Duration;

use anyhow::{Context as _, ensure};

use crate::{machine::cores, variable::variable};

/// How much is measured.
pub(crate) struct Settings {
    /// How often each server is started and measured.
    pub(crate) rounds: usize,
    /// The measured time of one server in one round.
    pub(crate) duration: Duration,
    /// Keep-alive connections.
    pub(crate) connections: usize,
    /// Threads of the load generator.
    pub(crate) threads: usize,
}

impl Settings {
    /// Reads the variables; what is not set has its default.
    pub(crate) fn read() -> anyhow::Result<Self> {
        let rounds = variable("PREWASM_BENCH_ROUNDS", 3)?;
        let seconds: f64 = variable("PREWASM_BENCH_SECONDS", 3.0)?;
        let connections = variable("PREWASM_BENCH_CONNECTIONS", 16)?;
        ensure!(rounds > 0 && connections > 0, "rounds and connections must be more than 0");
        let duration = Duration::try_from_secs_f64(seconds).context("PREWASM_BENCH_SECONDS")?;
        // Half of the cores: a server which is starved by its load generator would look slow, and one which waits for
        // it would look as slow as all others.
        let threads = (cores() / 2).clamp(1, connections);
        Ok(Self { rounds, duration, connections, threads })
    }
}
