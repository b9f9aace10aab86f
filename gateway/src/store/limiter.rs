//! The memory limit of one instance.

use wasmtime::ResourceLimiter;

/// Refuses growth beyond the limit, and remembers that it did: the guest itself will merely trap.
#[derive(Debug)]
pub(crate) struct MemoryLimiter {
    limit: u64,
    asked: Option<u64>,
}

impl MemoryLimiter {
    pub(crate) fn new(limit: u64) -> Self {
        Self { limit, asked: None }
    }

    /// What was asked for in vain, and the limit.
    pub(crate) fn refused(&self) -> Option<(u64, u64)> {
        Some((self.asked?, self.limit))
    }
}

impl ResourceLimiter for MemoryLimiter {
    fn memory_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let is_allowed = desired as u64 <= self.limit;
        if !is_allowed {
            self.asked = Some(desired as u64);
        }
        Ok(is_allowed)
    }

    fn table_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        // The pool bounds tables.
        Ok(true)
    }
}
