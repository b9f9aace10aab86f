//! Epochs: the clock by which guests that compute let others run.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, Thread},
    time::Duration,
};

use wasmtime::{Engine, EngineWeak};

/// How often a running guest lets others run on its thread. Epochs cost the guest a load and a branch per loop.
const EPOCH: Duration = Duration::from_millis(1);

/// Advances the epoch of an engine every millisecond while guests run, and sleeps while all of them wait: an idle
/// gateway costs nothing.
#[derive(Debug)]
pub(crate) struct Ticker {
    pulse: Pulse,
}

/// Tells a [`Ticker`] that a guest runs.
#[derive(Clone, Debug)]
pub(crate) struct Pulse(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// A guest has been polled since the last tick.
    active: AtomicBool,
    /// The thread sleeps until it is woken.
    asleep: AtomicBool,
    /// The ticker is gone.
    stopped: AtomicBool,
    thread: OnceLock<Thread>,
}

/// Ticks without a running guest after which the thread goes to sleep: waking it costs a system call, which a gateway
/// under load must not pay per request.
const IDLE_TICKS: u32 = 50;

impl Ticker {
    /// Starts the thread. It ends when the engine or the ticker is dropped.
    ///
    /// # Errors
    /// If the system gives us no thread.
    pub(crate) fn start(engine: &Engine) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            active: AtomicBool::new(true),
            asleep: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            thread: OnceLock::new(),
        });
        let (engine, watched) = (engine.weak(), Arc::clone(&shared));
        let thread = thread::Builder::new().name("epoch".to_owned()).spawn(move || tick(&engine, &watched))?;
        // Before anyone can ask for it to be woken.
        let _ = shared.thread.set(thread.thread().clone());
        Ok(Self { pulse: Pulse(shared) })
    }

    /// What guests of the engine are to be driven by.
    pub(crate) fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.pulse.0.stopped.store(true, Ordering::SeqCst);
        self.pulse.0.wake();
    }
}

impl Pulse {
    /// Drives a guest: the epoch advances while it computes.
    pub(crate) async fn drive<F: Future>(&self, guest: F) -> F::Output {
        let mut guest = std::pin::pin!(guest);
        std::future::poll_fn(|cx| {
            // A guest that computes yields at each epoch, so this is said again every millisecond.
            // Only read if it is known already: all workers share the cache line.
            if !self.0.active.load(Ordering::SeqCst) {
                self.0.active.store(true, Ordering::SeqCst);
            }
            if self.0.asleep.load(Ordering::SeqCst) {
                self.0.wake();
            }
            guest.as_mut().poll(cx)
        })
        .await
    }
}

impl Shared {
    fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }
}

fn tick(engine: &EngineWeak, shared: &Shared) {
    let mut idle = 0;
    while !shared.stopped.load(Ordering::SeqCst) {
        thread::sleep(EPOCH);
        match engine.upgrade() {
            Some(engine) => engine.increment_epoch(),
            None => return,
        }
        idle = if shared.active.swap(false, Ordering::SeqCst) { 0 } else { idle + 1 };
        if idle > IDLE_TICKS {
            sleep_until_woken(shared);
            idle = 0;
        }
    }
}

/// Announces the sleep before looking once more: a guest polled in between sees the announcement, or is seen.
fn sleep_until_woken(shared: &Shared) {
    shared.asleep.store(true, Ordering::SeqCst);
    while !shared.active.load(Ordering::SeqCst) && !shared.stopped.load(Ordering::SeqCst) {
        thread::park();
    }
    shared.asleep.store(false, Ordering::SeqCst);
}
