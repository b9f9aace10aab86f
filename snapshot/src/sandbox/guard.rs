//! Limits of a running program.

use std::{
    io,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use wasmtime::{Engine, EngineWeak, ResourceLimiter, UpdateDeadline};

/// How often a running program is looked after.
const EPOCH: Duration = Duration::from_millis(1);

/// The time for initialization is over.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the time limit is reached")]
pub(crate) struct Expired;

/// Store data which holds a [`Guard`].
pub(crate) trait Guarded: Send + 'static {
    fn guard(&mut self) -> &mut Guard;
}

/// Watches over the memory and the time of one run.
#[derive(Debug)]
pub(crate) struct Guard {
    limit: u64,
    used: u64,
    /// How much would have been used if the limit had not been.
    refused: Option<u64>,
    /// `None` once the program is where it was to be.
    deadline: Option<Instant>,
    paused: Paused,
}

/// Whether a program which was interrupted would go on at once: it computes, and was interrupted by the clock.
#[derive(Clone, Debug, Default)]
pub(crate) struct Paused(Arc<AtomicBool>);

impl Paused {
    /// Tells, once for each interruption.
    pub(crate) fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

impl Guard {
    pub(crate) fn new(memory: u64, timeout: Duration) -> Self {
        let deadline = Instant::now().checked_add(timeout);
        Self { limit: memory, used: 0, refused: None, deadline, paused: Paused::default() }
    }

    pub(crate) fn paused(&self) -> Paused {
        self.paused.clone()
    }

    /// How much memory was asked for in vain.
    pub(crate) fn refused(&self) -> Option<u64> {
        self.refused
    }

    /// Ends all limits: reading out the state of a component needs a page and some time.
    pub(crate) fn lift(&mut self) {
        self.limit = u64::MAX;
        self.deadline = None;
    }

    /// Lets the runtime look at its timers, unless the time is over.
    pub(crate) fn tick(&self) -> wasmtime::Result<UpdateDeadline> {
        match self.deadline {
            Some(deadline) if Instant::now() >= deadline => Err(Expired.into()),
            _ => {
                self.paused.0.store(true, Ordering::Relaxed);
                Ok(UpdateDeadline::Yield(1))
            }
        }
    }
}

impl ResourceLimiter for Guard {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let wanted = self.used.saturating_add((desired - current) as u64);
        if maximum.is_some_and(|maximum| desired > maximum) {
            // The program's own limit, which it knows.
            return Ok(false);
        }
        if wanted > self.limit {
            self.refused = Some(wanted);
            return Ok(false);
        }
        self.used = wanted;
        Ok(true)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        // Far more than any program has; each entry takes a pointer.
        const MAX_ELEMENTS: usize = 10_000_000;
        Ok(desired <= MAX_ELEMENTS)
    }
}

/// Advances the epoch of an engine, until dropped.
pub(super) struct Ticker {
    _alive: Arc<()>,
}

impl Ticker {
    pub(crate) fn start(engine: &Engine) -> io::Result<Self> {
        let alive = Arc::new(());
        let (engine, watched) = (engine.weak(), Arc::downgrade(&alive));
        thread::Builder::new().name("epoch".to_owned()).spawn(move || tick(&engine, &watched))?;
        Ok(Self { _alive: alive })
    }
}

fn tick(engine: &EngineWeak, watched: &Weak<()>) {
    while watched.strong_count() > 0 {
        thread::sleep(EPOCH);
        let Some(engine) = engine.upgrade() else { return };
        engine.increment_epoch();
    }
}
