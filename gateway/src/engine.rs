//! Engines: one configuration of compiled code, two ways to allocate instances.
//!
//! Code compiled for one engine fits the other as long as fuel metering is the same, so that the cache and `.cwasm`
//! files serve `run` and `serve` alike.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, Thread},
    time::Duration,
};

use wasmtime::{Config, Enabled, Engine, EngineWeak, InstanceAllocationStrategy, PoolingAllocationConfig};

/// How often a running guest lets others run on its thread. Epochs cost the guest a load and a branch per loop.
pub(crate) const EPOCH: Duration = Duration::from_millis(1);

/// The largest memory which is reset by copying instead of by returning its pages to the system.
///
/// Copying beats page faults up to about this size; beyond it, a request would pay for pages it never touched.
const KEEP_RESIDENT_LIMIT: u64 = 512 * 1024;
/// Tables are small: they are always reset by copying.
const TABLE_KEEP_RESIDENT: usize = 64 * 1024;
/// Wasm stacks are never read by guests, but their pages are wanted by the next one.
const STACK_KEEP_RESIDENT: usize = 64 * 1024;
/// Memory images larger than Wasmtime's default of 16 MiB are still mapped copy-on-write, if dense or not.
const DENSE_IMAGE_LIMIT: u64 = 256 * 1024 * 1024;
/// Native stack of a guest: Wasmtime's default for wasm frames, and room for host functions on top.
const ASYNC_STACK: usize = 2 * 1024 * 1024;
const WASM_STACK: usize = 512 * 1024;

/// Whether compiled code counts fuel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metering {
    /// No: full speed.
    Off,
    /// Yes, so that a limit can be set.
    Fuel,
}

/// What a pool of instances must hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pool {
    /// Instances alive at the same time.
    pub(crate) instances: u32,
    /// The largest memory of one instance, in bytes.
    pub(crate) memory: u64,
    /// The memory which an instance starts with, in bytes, if known.
    pub(crate) initial_memory: Option<u64>,
}

/// An engine for a program which is instantiated once.
///
/// # Errors
/// If the system does not support Wasmtime's requirements.
pub fn on_demand(metering: Metering) -> wasmtime::Result<Engine> {
    Engine::new(&config(metering))
}

/// An engine which keeps a pool of instances, restored copy-on-write.
pub(crate) fn pooling(metering: Metering, pool: Pool) -> wasmtime::Result<Engine> {
    let mut config = config(metering);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pooling_config(pool)));
    Engine::new(&config)
}

fn config(metering: Metering) -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .consume_fuel(metering == Metering::Fuel)
        .max_wasm_stack(WASM_STACK)
        .async_stack_size(ASYNC_STACK)
        .memory_guaranteed_dense_image_size(DENSE_IMAGE_LIMIT);
    config
}

fn pooling_config(pool: Pool) -> PoolingAllocationConfig {
    /// A component consists of several core instances, memories and tables.
    const PER_COMPONENT: u32 = 32;
    /// Core instances and tables of a component that `port` has made: program, shim, adapter, and what joins them.
    const PARTS_OF_PORTED: u32 = 12;
    /// A bound on what one instance's tables may hold; Rust programs have a few hundred functions in theirs.
    const TABLE_ELEMENTS: usize = 100_000;
    /// Metadata of one instance; large programs have many functions and globals.
    const INSTANCE_SIZE: usize = 16 * 1024 * 1024;

    let keep_resident = match pool.initial_memory {
        Some(initial) if initial <= KEEP_RESIDENT_LIMIT => KEEP_RESIDENT_LIMIT,
        _ => 0,
    };
    let mut config = PoolingAllocationConfig::new();
    config
        .total_component_instances(pool.instances)
        .total_core_instances(pool.instances.saturating_mul(PARTS_OF_PORTED))
        .total_memories(pool.instances.saturating_mul(2))
        .total_tables(pool.instances.saturating_mul(PARTS_OF_PORTED))
        .total_stacks(pool.instances.saturating_add(1))
        .total_gc_heaps(pool.instances)
        .max_core_instances_per_component(PER_COMPONENT)
        .max_memories_per_component(PER_COMPONENT)
        .max_tables_per_component(PER_COMPONENT)
        .max_memories_per_module(2)
        .max_tables_per_module(4)
        .max_core_instance_size(INSTANCE_SIZE)
        .max_component_instance_size(INSTANCE_SIZE)
        .max_memory_size(usize::try_from(pool.memory).unwrap_or(usize::MAX))
        .table_elements(TABLE_ELEMENTS)
        .max_unused_warm_slots(pool.instances)
        .linear_memory_keep_resident(usize::try_from(keep_resident).unwrap_or(0))
        .table_keep_resident(TABLE_KEEP_RESIDENT)
        .async_stack_keep_resident(STACK_KEEP_RESIDENT)
        // The scan of Wasmtime 48 skips dirty pages which are swapped or migrating at that moment: the next request
        // would see them. Resets copy or decommit instead.
        .pagemap_scan(Enabled::No);
    config
}

/// Advances the epoch of an engine every millisecond while guests run, and sleeps while all of them wait: an idle
/// gateway costs nothing.
#[derive(Debug)]
pub struct Ticker {
    pulse: Pulse,
}

/// Tells a [`Ticker`] that a guest runs.
#[derive(Clone, Debug)]
pub struct Pulse(Arc<Shared>);

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
    pub fn start(engine: &Engine) -> std::io::Result<Self> {
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
    pub fn pulse(&self) -> Pulse {
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
    pub async fn drive<F: Future>(&self, guest: F) -> F::Output {
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
