//! How an instance begins.

use wasmtime::{Instance, Result, Store, TypedFunc, bail};

use crate::{
    abi::{errno::Errno, memory::GuestMemory},
    frozen::Reseed,
    host::HostView,
    wasi::random::Source,
};

/// `_start` of a new instance, ready to be called: whatever an instance of a frozen program must not share with others
/// has been filled with random bytes.
///
/// # Errors
/// If there is no `_start`, or no memory where random bytes are to go.
pub fn start_function<T: HostView>(store: &mut Store<T>, instance: &Instance) -> Result<TypedFunc<(), ()>> {
    let parts = std::mem::take(&mut store.data_mut().host().reseed);
    if !parts.is_empty() {
        let Some(memory) = instance.get_memory(&mut *store, "memory") else {
            bail!("the frozen program exports no memory named `memory`");
        };
        let (bytes, data) = memory.data_and_store_mut(&mut *store);
        let mut memory = GuestMemory::new(bytes);
        for part in parts {
            if fill(&mut memory, part, &mut data.host().wasi.random).is_err() {
                bail!(
                    "{} bytes at {:#x} of the frozen program cannot be filled with random ones",
                    part.length,
                    part.offset
                );
            }
        }
    }
    instance.get_typed_func(store, "_start")
}

fn fill(memory: &mut GuestMemory<'_>, part: Reseed, random: &mut Source) -> Result<(), Errno> {
    let offset = u32::try_from(part.offset).map_err(|_| Errno::Fault)?;
    random.begin(part.length);
    let range = memory.range(offset.cast_signed(), part.length)?;
    random.fill(memory.bytes_mut(range))
}
