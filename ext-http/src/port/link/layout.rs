//! The memory of the output.
//!
//! ```text
//! | the program's | the adapter's: 2 | unpacked from, and the area: 1 or more | what the program grows by ...
//! 0             pages              scratch                                behind                     limit
//! ```

use super::LinkError;
use crate::port::module::Module;

/// Pages for the adapter, behind the program's: one for its state, and one for its stack.
const ADAPTER_PAGES: u64 = 2;
/// The size of a page.
pub(super) const PAGE: u64 = 1 << 16;
/// The end of a memory with 32-bit addresses.
const MAX_PAGES: u64 = 1 << 16;

/// Pages of memory: the program's, the adapter's, those for what is unpacked, and those which the program grows by.
#[derive(Clone, Copy)]
pub(super) struct Layout {
    pub(super) pages: u64,
    /// An address.
    pub(super) scratch: u64,
    pub(super) behind: u64,
    pub(super) limit: u64,
    /// How many the program sees before it grows memory.
    pub(super) seen: u64,
}

impl Layout {
    pub(super) fn of(program: &Module<'_>, scratch_pages: u64) -> Result<Self, LinkError> {
        let memory = program.memories[0];
        // One page at least, for the area of the trampolines. Nothing is unpacked while they use it.
        let (pages, added) = (memory.initial, ADAPTER_PAGES + scratch_pages.max(1));
        let behind = pages + added;
        if behind > MAX_PAGES {
            return Err(LinkError::MemoryFull { pages, added });
        }
        let limit = memory.maximum.map_or(MAX_PAGES, |maximum| (maximum + added).min(MAX_PAGES));
        // Go's runtime takes memory for contiguous from what it finds at first, which it does not use itself.
        let seen = if program.is_go() { behind } else { pages };
        Ok(Self { pages, scratch: (pages + ADAPTER_PAGES) * PAGE, behind, limit, seen })
    }
}
