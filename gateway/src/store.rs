//! Store data: what the host holds for one instance, of `run` and of served guests alike.

pub(crate) mod component;
pub(crate) mod core;
pub(crate) mod end;
mod limiter;

use wasmtime::{Engine, Store};

pub(crate) use limiter::MemoryLimiter;

/// Store data that limits memory.
pub(crate) trait Limited: Send + 'static {
    fn limiter(&mut self) -> &mut MemoryLimiter;
}

/// A store whose guest yields at each epoch, and is bounded in memory and, if there is a limit, in fuel.
pub(crate) fn store<T: Limited>(engine: &Engine, data: T, fuel: Option<u64>) -> wasmtime::Result<Store<T>> {
    let mut store = Store::new(engine, data);
    store.limiter(|data| data.limiter());
    store.set_epoch_deadline(1);
    store.epoch_deadline_async_yield_and_update(1);
    if let Some(fuel) = fuel {
        store.set_fuel(fuel)?;
    }
    Ok(store)
}
