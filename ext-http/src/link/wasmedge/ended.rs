//! How a program ended.

use wasmedge_sdk::error::WasmEdgeError;

use super::modules::CallError;

/// How a program ended.
#[derive(Debug)]
pub enum Ended {
    /// It returned, or ended itself with an exit code.
    Exited(i32),
    /// It trapped, or a host function did.
    Trapped(Trap),
    /// It was not started, as its memory is larger than it may be.
    OutOfMemory {
        /// What it asked for, in bytes.
        asked: u64,
        /// The limit.
        limit: u64,
    },
}

/// Why a program trapped.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Trap(#[from] Cause);

#[derive(Debug, thiserror::Error)]
enum Cause {
    /// One of our host functions failed.
    #[error(transparent)]
    Call(CallError),
    #[error(transparent)]
    Engine(Box<WasmEdgeError>),
}

impl Ended {
    /// WasmEdge knows no reasons of host functions: `failure` is the one of ours, if there is one.
    pub(super) fn new(result: Result<(), Box<WasmEdgeError>>, exit_code: u32, failure: Option<CallError>) -> Self {
        match result {
            // The SDK takes the end by `proc_exit` for a return.
            Ok(()) => Self::Exited(exit_code.cast_signed()),
            Err(error) => Self::Trapped(Trap(failure.map_or(Cause::Engine(error), Cause::Call))),
        }
    }
}
