//! What a program sees while it is initialized: the same on every machine and at any time.

use std::{
    io::Cursor,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use prewasm_artifact::sha256;
use prewasm_ext_http::{
    Access, Clock, DirectoryError, Environment, Host, HostOptions, HostView, Inbound, Input, Network, Outbound,
    OutboundPolicy, Output, Random,
};
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{
    Deterministic, FsPerms, HostMonotonicClock, HostWallClock, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView,
    p2::pipe::MemoryInputPipe,
};

use super::{
    guard::{Guard, Guarded},
    guest_output::GuestOutput,
};
use crate::{
    options::Inputs,
    progress::{Event, Progress},
};

/// The seed of every snapshot: any fixed number will do.
const SEED: u64 = 0;
const NANOSECONDS: u64 = 1_000_000_000;

/// What a core module may see: declared inputs, a standing clock, and random numbers which are always the same.
pub(crate) fn environment(inputs: &Inputs) -> Environment {
    Environment {
        args: inputs.args.clone(),
        env: inputs.env.clone(),
        dirs: inputs.dirs.clone(),
        clock: Clock::Fixed(inputs.realtime.saturating_mul(NANOSECONDS)),
        random: Random::Seeded(SEED),
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
}

impl ModuleState {
    pub(crate) fn new(inputs: &Inputs, guard: Guard, progress: &Progress) -> Self {
        let host = Host::new(Arc::new(environment(inputs)), host_options(inputs, progress, Inbound::Denied));
        Self { host, guard, progress: Arc::clone(progress) }
    }

    pub(crate) fn tell(&self, event: Event<'_>) {
        (self.progress)(event);
    }
}

impl HostView for ModuleState {
    fn host(&mut self) -> &mut Host {
        &mut self.host
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
    guard: Guard,
}

impl ComponentState {
    pub(crate) fn new(inputs: &Inputs, guard: Guard, progress: &Progress) -> Result<Self, DirectoryError> {
        let mut builder = WasiCtxBuilder::new();
        builder
            .args(&inputs.args)
            .envs(&inputs.env)
            .stdout(GuestOutput::new(progress))
            .stderr(GuestOutput::new(progress))
            .wall_clock(StandingClock(Duration::from_secs(inputs.realtime)))
            .monotonic_clock(CountingClock::default())
            .secure_random(Deterministic::new(random_bytes("secure")))
            .insecure_random(Deterministic::new(random_bytes("insecure")))
            .insecure_random_seed(u128::from(SEED));
        if let Some(content) = &inputs.stdin {
            builder.stdin(MemoryInputPipe::new(content.clone()));
        }
        for directory in &inputs.dirs {
            let perms = match directory.access {
                Access::ReadOnly => FsPerms::ReadOnly,
                Access::ReadWrite => FsPerms::ReadWrite,
            };
            builder.preopened_dir(&directory.host, &directory.guest, perms).map_err(|error| DirectoryError {
                path: directory.host.clone(),
                source: std::io::Error::other(error),
            })?;
        }
        Ok(Self { wasi: builder.build(), table: ResourceTable::new(), guard })
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
fn random_bytes(stream: &str) -> Vec<u8> {
    const BLOCKS: u64 = 128;
    let block = |i: u64| *sha256([stream.as_bytes(), &SEED.to_le_bytes(), &i.to_le_bytes()]).as_bytes();
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

/// Advances by a microsecond per reading, as [`Clock::Fixed`] does for core modules.
#[derive(Default)]
struct CountingClock(AtomicU64);

impl HostMonotonicClock for CountingClock {
    fn resolution(&self) -> u64 {
        1_000
    }

    fn now(&self) -> u64 {
        (self.0.fetch_add(1, Ordering::Relaxed) + 1) * 1_000
    }
}
