//! What is dead in a stopped program's memories is cleared, before anything is read from them.
//!
//! The stack in memory below its pointer, and what the program has freed. Neither is read again, and both hold what
//! nobody wants to publish. A program that is compared with its snapshot is cleared by the same function, so nothing
//! has to be left out when they are compared.

use std::ops::AddAssign;

use serde::Serialize;

use crate::freed::{self, Freed};

/// What was dead in memory, and is zero now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Cleared {
    /// Bytes which functions that had returned had left on the stack in memory.
    pub stack_bytes: u64,
    /// Bytes which the program had freed.
    pub freed_bytes: u64,
    /// Heaps which were recognized: nothing is known of what is free in others.
    pub heaps: u64,
}

/// Clears the content of one memory. Its stack is dead up to an address; `0` if it has none, or nobody knows it.
pub(crate) fn clear(memory: &mut [u8], dead_stack: u64) -> Cleared {
    let stack_bytes = freed::zero(memory, 0..dead_stack);
    let Freed { heaps, bytes } = freed::clear(memory);
    Cleared { stack_bytes, freed_bytes: bytes, heaps }
}

impl Cleared {
    pub(crate) fn is_empty(&self) -> bool {
        self.stack_bytes == 0 && self.freed_bytes == 0
    }
}

impl AddAssign for Cleared {
    fn add_assign(&mut self, other: Self) {
        self.stack_bytes += other.stack_bytes;
        self.freed_bytes += other.freed_bytes;
        self.heaps += other.heaps;
    }
}
