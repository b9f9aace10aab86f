//! What a program sees while it is initialized: the same on every machine and at any time.

use std::{
    io::Cursor,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use prewasm_artifact::{Artifact, sha256};
use prewasm_ext_http::{
    Clock, DirectoryError, Draw, Environment, FileView, Host, HostOptions, HostView, Inbound, Input, Network, Outbound,
    OutboundPolicy, Output, Random, Seed, Upcoming, Varied,
};
use wasmtime::{Caller, component::ResourceTable};
use wasmtime_wasi::{
    Deterministic, HostMonotonicClock, HostWallClock, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView,
    p2::pipe::MemoryInputPipe,
};

use super::{
    component_files::ComponentFiles,
    guard::{Guard, Guarded},
    guest_output::GuestOutput,
};
use crate::{
    entropy::Variation,
    host_calls::{Asked, HostCalls},
    options::Inputs,
    progress::{Event, Progress},
};

const NANOSECONDS: u64 = 1_000_000_000;
/// In nanoseconds.
const MICROSECOND: u64 = 1_000;

/// The seed of a program's random numbers: always the same, and another for each program. A snapshot of a snapshot must
/// not draw the bytes which are in it already.
fn seed(artifact: &Artifact) -> u64 {
    let hash = artifact.sha256();
    hash.as_bytes().iter().take(8).fold(0, |seed, byte| seed << 8 | u64::from(*byte))
}

/// What a core module may see: declared inputs, files which look the same everywhere, a standing clock, and random
/// numbers which are always the same.
pub(crate) fn environment(artifact: &Artifact, inputs: &Inputs, variation: Variation) -> Environment {
    let time = |seconds: u64| seconds.saturating_mul(NANOSECONDS);
    Environment {
        args: inputs.args.clone(),
        env: inputs.env.clone(),
        dirs: inputs.dirs.clone(),
        // What times are told of files is the build's, whatever the clock is varied to.
        files: FileView::Reproducible { time: time(inputs.realtime) },
        clock: Clock::Fixed(time(inputs.realtime.saturating_add(variation.realtime_ahead))),
        random: Random::Seeded(Seed { number: seed(artifact), start: variation.random_start, varied: variation.draws }),
    }
}

/// Declared input, output to `progress`, and calls to those who are named.
pub(crate) fn host_options(inputs: &Inputs, progress: &Progress, inbound: Inbound) -> HostOptions {
    let policy = OutboundPolicy { allow: inputs.outbound.clone(), ..OutboundPolicy::default() };
    let output = || Output::Stream(Box::new(GuestOutput::new(progress)));
    HostOptions {
        extra_env: Box::new(Vec::new),
        stdin: input(inputs),
        stdout: output(),
        stderr: output(),
        network: Network { inbound, outbound: Arc::new(Outbound::new(Arc::new(policy))) },
    }
}

fn input(inputs: &Inputs) -> Input {
    match &inputs.stdin {
        None => Input::Empty,
        Some(content) => Input::Stream(Box::new(Cursor::new(content.clone()))),
    }
}

/// Store data of a core module.
pub(crate) struct ModuleState {
    host: Host,
    guard: Guard,
    progress: Progress,
    calls: HostCalls,
}

impl ModuleState {
    pub(crate) fn new(
        artifact: &Artifact,
        inputs: &Inputs,
        guard: Guard,
        progress: &Progress,
        variation: Variation,
    ) -> Self {
        let environment = Arc::new(environment(artifact, inputs, variation));
        let host = Host::new(environment, host_options(inputs, progress, Inbound::Denied));
        Self { host, guard, progress: Arc::clone(progress), calls: HostCalls::new(artifact) }
    }

    pub(crate) fn asked(&self) -> Asked {
        self.calls.asked()
    }

    pub(crate) fn draws(&self) -> &[Draw] {
        self.host.draws()
    }

    pub(crate) fn tell(&self, event: Event<'_>) {
        (self.progress)(event);
    }
}

impl HostView for ModuleState {
    const WATCHES: bool = true;

    fn host(&mut self) -> &mut Host {
        &mut self.host
    }

    fn before(caller: &mut Caller<'_, Self>, call: &Upcoming<'_>) -> wasmtime::Result<()> {
        let backtrace = caller.data().calls.backtrace(call, &*caller);
        let calls = &mut caller.data_mut().calls;
        let index = calls.index(call)?;
        calls.note(index, call, backtrace);
        Ok(())
    }
}

impl Guarded for ModuleState {
    fn guard(&mut self) -> &mut Guard {
        &mut self.guard
    }
}

/// Store data of a component.
pub(crate) struct ComponentState {
    wasi: WasiCtx,
    table: ResourceTable,
    pub(super) files: ComponentFiles,
    guard: Guard,
}

impl ComponentState {
    pub(crate) fn new(
        artifact: &Artifact,
        inputs: &Inputs,
        guard: Guard,
        progress: &Progress,
        variation: Variation,
    ) -> Result<Self, DirectoryError> {
        // Whoever counts what is drawn is not here: all is varied, or nothing.
        let seed = seed(artifact);
        let seed = if variation.draws == Varied::Nothing { seed } else { !seed };
        let realtime = inputs.realtime.saturating_add(variation.realtime_ahead);
        let mut builder = WasiCtxBuilder::new();
        builder
            .args(&inputs.args)
            .envs(&inputs.env)
            .stdout(GuestOutput::new(progress))
            .stderr(GuestOutput::new(progress))
            .wall_clock(StandingClock(Duration::from_secs(realtime)))
            .monotonic_clock(CountingClock::default())
            .secure_random(Deterministic::new(random_bytes("secure", seed)))
            .insecure_random(Deterministic::new(random_bytes("insecure", seed)))
            .insecure_random_seed(u128::from(seed));
        if let Some(content) = &inputs.stdin {
            builder.stdin(MemoryInputPipe::new(content.clone()));
        }
        for directory in &inputs.dirs {
            directory.preopen(&mut builder)?;
        }
        let files = ComponentFiles::new(inputs.realtime);
        Ok(Self { wasi: builder.build(), table: ResourceTable::new(), files, guard })
    }
}

impl WasiView for ComponentState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl Guarded for ComponentState {
    fn guard(&mut self) -> &mut Guard {
        &mut self.guard
    }
}

/// A stretch of pseudo-random bytes which [`Deterministic`] repeats.
fn random_bytes(stream: &str, seed: u64) -> Vec<u8> {
    const BLOCKS: u64 = 128;
    let block = |i: u64| *sha256([stream.as_bytes(), &seed.to_le_bytes(), &i.to_le_bytes()]).as_bytes();
    (0..BLOCKS).flat_map(block).collect()
}

/// Always the same time.
struct StandingClock(Duration);

impl HostWallClock for StandingClock {
    fn resolution(&self) -> Duration {
        Duration::from_micros(1)
    }

    fn now(&self) -> Duration {
        self.0
    }
}

/// Advances with each reading, by as much as that of [`Clock::Fixed`] does for core modules: by a nanosecond in the
/// first microsecond, and then by a microsecond.
#[derive(Default)]
struct CountingClock(AtomicU64);

impl HostMonotonicClock for CountingClock {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        let readings = self.0.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if readings <= MICROSECOND { readings } else { (readings - MICROSECOND + 1).saturating_mul(MICROSECOND) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_components_clock_starts_slowly() {
        let clock = CountingClock::default();
        let readings: Vec<_> = (0..1_500).map(|_| clock.now()).collect();
        assert_eq!((readings[0], readings[1], readings[999]), (1, 2, 1_000));
        assert_eq!((readings[1_000], readings[1_499]), (2_000, 501_000), "as a module's clock");
    }
}
