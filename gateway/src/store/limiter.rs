//! The memory limit of one instance.

use wasmtime::ResourceLimiter;

/// Entries of all tables of an instance: eight bytes each. Rust programs have a few hundred.
const TABLE_ELEMENTS: usize = 1_000_000;

/// Refuses growth beyond the limit, and remembers that it did: the guest itself will merely trap.
#[derive(Debug)]
pub(crate) struct MemoryLimiter {
    limit: u64,
    /// Bytes of all memories.
    used: u64,
    table_elements: usize,
    asked: Option<u64>,
}

impl MemoryLimiter {
    pub(crate) fn new(limit: u64) -> Self {
        Self { limit, used: 0, table_elements: 0, asked: None }
    }

    /// What was asked for in vain, and the limit.
    pub(crate) fn refused(&self) -> Option<(u64, u64)> {
        Some((self.asked?, self.limit))
    }
}

impl ResourceLimiter for MemoryLimiter {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let used = self.used.saturating_add(desired.saturating_sub(current) as u64);
        if used > self.limit {
            self.asked = Some(used);
            return Ok(false);
        }
        // Beyond its own maximum a memory does not grow, whatever is said here.
        if maximum.is_none_or(|maximum| desired <= maximum) {
            self.used = used;
        }
        Ok(true)
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let elements = self.table_elements.saturating_add(desired.saturating_sub(current));
        if elements > TABLE_ELEMENTS {
            return Ok(false);
        }
        if maximum.is_none_or(|maximum| desired <= maximum) {
            self.table_elements = elements;
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_all_memories_and_nothing_that_fails_anyway() {
        let mut limiter = MemoryLimiter::new(100);
        let mut grow = |current, desired, maximum| limiter.memory_growing(current, desired, maximum).expect("no error");
        assert!(grow(0, 60, None));
        assert!(grow(60, 90, Some(80)), "the maximum refuses it");
        assert!(grow(0, 30, None));
        assert!(!grow(60, 80, Some(80)));
        assert!(grow(30, 40, None));
        assert_eq!(limiter.refused(), Some((110, 100)));
    }
}
