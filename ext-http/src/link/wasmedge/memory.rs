//! The guest's memory, as it is reached from a call.

use wasmedge_sdk::CallingFrame;

use super::PAGE;
use crate::abi::memory::GuestMemory;

/// Lends the caller's memory; `None` if it has none. The guest does not run meanwhile, and has no threads.
pub(super) fn with_memory<R>(frame: &CallingFrame, call: impl FnOnce(&mut GuestMemory<'_>) -> R) -> Option<R> {
    let memory = frame.memory_ref(0)?;
    // The SDK counts in 32 bits: of a memory of 4 GiB, the last byte is out of bounds for us.
    let length = u32::try_from(u64::from(memory.size()) * PAGE).unwrap_or(u32::MAX);
    // A memory without pages may have no place either.
    let bytes = memory.mut_slice::<u8>(0, length as usize).unwrap_or_default();
    Some(call(&mut GuestMemory::new(bytes)))
}
