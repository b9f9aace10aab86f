//! Engines: one configuration of compiled code, several ways to allocate instances.
//!
//! Code compiled for one engine fits the others as long as fuel metering is the same, so that the cache and `.cwasm`
//! files serve `run` and `serve` alike; code for memories of our own fits only those. A process has one engine for each
//! way to allocate, however many apps it serves.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use prewasm_artifact::{HttpVersion, Kind};
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::{
    memory::{Pool, Reset},
    ticker::{Pulse, Ticker},
};

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

/// The largest memory of an instance in a pool: Wasmtime reserves that much address space for each slot anyway, so that
/// code need not check bounds.
const LARGEST_POOLED: u64 = 4 * 1024 * 1024 * 1024;

/// Whether compiled code counts fuel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Metering {
    /// No: full speed.
    Off,
    /// Yes, so that a limit can be set.
    Fuel,
}

/// Whether instances can do several things at a time, as components for WASI 0.3 do. It costs every store of the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Concurrency {
    /// No.
    Off,
    /// Yes.
    On,
}

impl Concurrency {
    /// What this kind of program needs.
    pub(crate) fn of(kind: Kind) -> Self {
        match kind {
            Kind::HttpComponent(HttpVersion::V03) => Self::On,
            _ => Self::Off,
        }
    }
}

/// How an engine gives instances their memory, and takes it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Allocation {
    /// Mapped for each instance and unmapped after it: for instances that live long, or are too large for a pool.
    OnDemand,
    /// From our own pool, reset by restoring what was written.
    Recycled,
    /// From Wasmtime's pool, reset by copying the image over it.
    Copied,
    /// From Wasmtime's pool, reset by returning its pages to the system.
    Decommitted,
}

impl Allocation {
    /// The way for instances that start with `initial` bytes of memory, if that is known, and may have up to `limit`.
    pub(crate) fn of_isolated(reset: Reset, initial: Option<u64>, limit: u64) -> Self {
        match (reset, initial) {
            _ if limit > LARGEST_POOLED => Self::OnDemand,
            (Reset::Scan, _) => Self::Recycled,
            (Reset::Copy, Some(initial)) if initial <= KEEP_RESIDENT_LIMIT => Self::Copied,
            (Reset::Copy | Reset::Decommit, _) => Self::Decommitted,
        }
    }
}

/// Where instances are made, and what drives them.
#[derive(Clone)]
pub(crate) struct Home {
    pub(crate) engine: Engine,
    pub(crate) pulse: Pulse,
    /// What they take memory from, if that is ours.
    pub(crate) pool: Option<Arc<Pool>>,
}

/// The engines of a process, made when an app first needs one.
pub(crate) struct Engines {
    /// Instances alive at the same time, of all apps.
    instances: u32,
    /// Threads that serve.
    workers: usize,
    made: Mutex<Made>,
}

#[derive(Default)]
struct Made {
    /// Our own, which all engines share that use it.
    pool: Option<Arc<Pool>>,
    homes: BTreeMap<(Metering, Concurrency, Allocation), (Home, Ticker)>,
}

impl Engines {
    /// Engines whose pools hold `instances` instances, for `workers` threads.
    pub(crate) fn new(instances: u32, workers: usize) -> Self {
        Self { instances, workers, made: Mutex::default() }
    }

    /// The engine for these instances, and what belongs to it.
    pub(crate) fn get(
        &self,
        metering: Metering,
        concurrency: Concurrency,
        allocation: Allocation,
    ) -> wasmtime::Result<Home> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((home, _)) = made.homes.get(&(metering, concurrency, allocation)) {
            return Ok(home.clone());
        }
        let (engine, pool) = match allocation {
            Allocation::OnDemand => (on_demand(metering, concurrency)?, None),
            Allocation::Recycled => {
                let pool = self.pool(&mut made)?;
                (recycling(config(metering, concurrency), &pool)?, Some(pool))
            }
            Allocation::Copied => (pooling(config(metering, concurrency), self.instances, KEEP_RESIDENT_LIMIT)?, None),
            Allocation::Decommitted => (pooling(config(metering, concurrency), self.instances, 0)?, None),
        };
        let ticker = Ticker::start(&engine)?;
        let home = Home { engine, pulse: ticker.pulse(), pool };
        made.homes.insert((metering, concurrency, allocation), (home.clone(), ticker));
        Ok(home)
    }

    fn pool(&self, made: &mut Made) -> wasmtime::Result<Arc<Pool>> {
        if let Some(pool) = &made.pool {
            return Ok(Arc::clone(pool));
        }
        let instances = usize::try_from(self.instances).unwrap_or(usize::MAX);
        Ok(Arc::clone(made.pool.insert(Pool::new(self.workers, instances)?)))
    }
}

/// An engine for a program which is instantiated once.
///
/// # Errors
/// If the system does not support Wasmtime's requirements.
pub(crate) fn on_demand(metering: Metering, concurrency: Concurrency) -> wasmtime::Result<Engine> {
    Engine::new(&config(metering, concurrency))
}

/// An engine which keeps a pool of instances, restored copy-on-write.
fn pooling(mut config: Config, instances: u32, keep_resident: u64) -> wasmtime::Result<Engine> {
    let pool = pooling_config(instances, keep_resident);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    Engine::new(&config)
}

/// An engine whose memories and stacks are those of our pool.
fn recycling(mut config: Config, pool: &Arc<Pool>) -> wasmtime::Result<Engine> {
    pool.configure(&mut config);
    Engine::new(&config)
}

fn config(metering: Metering, concurrency: Concurrency) -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .consume_fuel(metering == Metering::Fuel)
        .concurrency_support(concurrency == Concurrency::On)
        .max_wasm_stack(WASM_STACK)
        .async_stack_size(ASYNC_STACK)
        .memory_guaranteed_dense_image_size(DENSE_IMAGE_LIMIT);
    config
}

fn pooling_config(instances: u32, keep_resident: u64) -> PoolingAllocationConfig {
    /// A component consists of several core instances, memories and tables.
    const PER_COMPONENT: u32 = 32;
    /// Core instances and tables of a component that `port` has made: program, shim, adapter, and what joins them.
    const PARTS_OF_PORTED: u32 = 12;
    /// A bound on what one instance's tables may hold; Rust programs have a few hundred functions in theirs.
    const TABLE_ELEMENTS: usize = 100_000;
    /// Metadata of one instance; large programs have many functions and globals.
    const INSTANCE_SIZE: usize = 16 * 1024 * 1024;

    let mut config = PoolingAllocationConfig::new();
    config
        .total_component_instances(instances)
        .total_core_instances(instances.saturating_mul(PARTS_OF_PORTED))
        .total_memories(instances.saturating_mul(2))
        .total_tables(instances.saturating_mul(PARTS_OF_PORTED))
        .total_stacks(instances.saturating_add(1))
        .total_gc_heaps(instances)
        .max_core_instances_per_component(PER_COMPONENT)
        .max_memories_per_component(PER_COMPONENT)
        .max_tables_per_component(PER_COMPONENT)
        .max_memories_per_module(2)
        .max_tables_per_module(4)
        .max_core_instance_size(INSTANCE_SIZE)
        .max_component_instance_size(INSTANCE_SIZE)
        .max_memory_size(usize::try_from(LARGEST_POOLED).unwrap_or(usize::MAX))
        .table_elements(TABLE_ELEMENTS)
        .max_unused_warm_slots(instances)
        .linear_memory_keep_resident(usize::try_from(keep_resident).unwrap_or(0))
        .table_keep_resident(TABLE_KEEP_RESIDENT)
        .async_stack_keep_resident(STACK_KEEP_RESIDENT)
        // The scan of Wasmtime 48 skips dirty pages which are swapped or migrating at that moment: the next request
        // would see them. Resets copy or decommit instead.
        .pagemap_scan(Enabled::No);
    config
}
