//! How a guest ended: told apart from what its call returned.

use prewasm_ext_http::link::ServedOut;
use wasmtime::Trap;
use wasmtime_wasi::I32Exit;

use super::MemoryLimiter;

/// An end that is no failure of the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The function returned.
    Returned,
    /// It called `proc_exit`.
    Exited(i32),
    /// It waits for a connection, and all have been served.
    ServedOut,
}

/// An end by a fault.
#[derive(Debug)]
pub(crate) enum Fault {
    /// It used up its fuel.
    OutOfFuel(wasmtime::Error),
    /// It trapped after more memory had been refused.
    OutOfMemory {
        /// Bytes it asked for.
        asked: u64,
        /// The limit, in bytes.
        limit: u64,
        /// The trap.
        error: wasmtime::Error,
    },
    /// It trapped, or a host function did.
    Trap(wasmtime::Error),
}

/// Tells ends from faults.
pub(crate) fn judge(result: wasmtime::Result<()>, limiter: &MemoryLimiter) -> Result<End, Fault> {
    let Err(error) = result else { return Ok(End::Returned) };
    if let Some(exit) = error.downcast_ref::<I32Exit>() {
        return Ok(End::Exited(exit.0));
    }
    if error.is::<ServedOut>() {
        return Ok(End::ServedOut);
    }
    if let Some(Trap::OutOfFuel) = error.downcast_ref() {
        return Err(Fault::OutOfFuel(error));
    }
    Err(match limiter.refused() {
        Some((asked, limit)) => Fault::OutOfMemory { asked, limit, error },
        None => Fault::Trap(error),
    })
}
