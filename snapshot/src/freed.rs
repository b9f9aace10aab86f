//! What a program has given back to its allocator: it holds what was there last, up to the next time it is given out.
//!
//! Nobody may read it, so it is cleared: a secret which was freed is not published, and a file without parse trees and
//! buffers of the start-up is a good deal smaller. Programs are often stripped of names, so a heap is recognized by its
//! structure alone, and only as a whole: one that is not consistent up to the last pointer stays as it is.

mod dlmalloc;
#[cfg(test)]
mod tests;

use std::ops::Range;

use dlmalloc::Heap;

/// Zeros are told by this much at a time, and not written: a memory may be large, and most of it never touched.
const BLOCK: usize = 4096;

/// What was cleared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Freed {
    /// Heaps which were recognized.
    pub(crate) heaps: u64,
    /// Bytes which were not zero.
    pub(crate) bytes: u64,
}

/// Clears what is free in the heaps of a memory.
///
/// The program must be inside of a host call, or have returned. Then it is not inside of its allocator, which makes
/// no host call: memory grows by an instruction.
pub(crate) fn clear(memory: &mut [u8]) -> Freed {
    let heaps = dlmalloc::heaps(memory);
    let dead: Vec<_> = heaps.iter().flat_map(Heap::dead).collect();
    let bytes = dead.into_iter().map(|range| zero(memory, range)).sum();
    Freed { heaps: heaps.len() as u64, bytes }
}

/// Clears a range, and tells how many bytes were not zero.
pub(crate) fn zero(memory: &mut [u8], range: Range<u64>) -> u64 {
    let place = |address: u64| usize::try_from(address).unwrap_or(usize::MAX).min(memory.len());
    let (start, end) = (place(range.start), place(range.end));
    let mut cleared = 0;
    for block in memory.get_mut(start..end).unwrap_or_default().chunks_mut(BLOCK) {
        let bytes = block.iter().filter(|byte| **byte != 0).count();
        if bytes > 0 {
            block.fill(0);
        }
        cleared += bytes as u64;
    }
    cleared
}
