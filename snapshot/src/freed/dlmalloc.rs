//! The heap of dlmalloc 2.8.6 with pointers of 4 bytes and an alignment of 16, as in wasi-libc and Emscripten. Rust's
//! standard library uses wasi-libc's.
//!
//! ```text
//! chunk      tail of the one before | head | content
//! free       size of the one before, if that is free | head | links | what is dead | size, again
//! head       the size, and: 1 the one before is in use, 2 this one is
//! links      fd bk, and from 256 bytes on child0 child1 parent index; none in the designated victim and in the top
//! segment    chunks up to the top and a footer; an older one up to its own record and a fence
//! ```
//!
//! (<https://gee.cs.oswego.edu/pub/misc/malloc-2.8.6.c>: `malloc_chunk`, `malloc_tree_chunk`, `malloc_state`, and for
//! what must hold `do_check_malloc_state`, which this follows.) The state is found by the two small bins which are
//! never used: each consists of two pointers to itself, 8 bytes apart. A copy of a heap, moved to some other place, has
//! pointers which lead elsewhere, and is none.

mod bins;

use std::ops::Range;

/// Where fields are in the state.
mod field {
    pub(super) const SMALL_MAP: u64 = 0;
    pub(super) const TREE_MAP: u64 = 4;
    pub(super) const VICTIM_SIZE: u64 = 8;
    pub(super) const TOP_SIZE: u64 = 12;
    pub(super) const LEAST_ADDRESS: u64 = 16;
    pub(super) const VICTIM: u64 = 20;
    pub(super) const TOP: u64 = 24;
    pub(super) const MAGIC: u64 = 36;
    pub(super) const SMALL_BINS: u64 = 40;
    pub(super) const TREE_BINS: u64 = 304;
    pub(super) const FOOTPRINT: u64 = 432;
    pub(super) const MAX_FOOTPRINT: u64 = 436;
    pub(super) const SEGMENT: u64 = 448;
}

/// In chunks: the head, and both links.
const HEAD: u64 = 4;
const FD: u64 = 8;
const BK: u64 = 12;
/// The first chunk is where its content is aligned.
const ALIGNMENT: u64 = 16;
/// Flags in a head; two more are there and never set.
const PREVIOUS_IN_USE: u64 = 1;
const IN_USE: u64 = 2;
const FLAGS: u64 = ALIGNMENT - 1;
/// `TOP_FOOT_SIZE`: behind the top is room for the segment's record and a fence. It is the head of what stands there.
const FOOTER: u64 = 56;
/// The chunk of a segment's record.
const RECORD: u64 = 32;
/// `FENCEPOST_HEAD`: where an older segment ends.
const FENCE: u64 = 7;
/// From this size on, free chunks are in trees.
const LARGE: u64 = 256;
/// A new segment is made when somebody else has grown the memory in between: more are no heap.
const MAX_SEGMENTS: usize = 1024;
/// A program has one, or one for each C library it was composed of. Each is read as a whole, so not any number.
const MAX_HEAPS: usize = 4;

/// A heap in which everything fits together.
#[derive(Debug)]
pub(super) struct Heap {
    state: State,
    /// In ascending order.
    free: Vec<Chunk>,
}

/// A free chunk.
#[derive(Clone, Copy, Debug)]
struct Chunk {
    at: u64,
    size: u64,
}

/// The allocator's own variables.
#[derive(Debug)]
struct State {
    /// Where they are.
    at: u64,
    top: Chunk,
    /// A chunk which is in no bin.
    victim: Option<Chunk>,
    /// The one with the top first.
    segments: Vec<Segment>,
}

#[derive(Debug)]
struct Segment {
    range: Range<u64>,
    /// Where its chunks end.
    end: u64,
}

/// The content of a memory in words of 4 bytes.
#[derive(Clone, Copy)]
struct Words<'a>(&'a [u8]);

/// The heaps in a memory.
pub(super) fn heaps(memory: &[u8]) -> Vec<Heap> {
    let words = Words(memory);
    let states = words.states().filter_map(|at| State::read(words, at)).take(MAX_HEAPS);
    let mut heaps: Vec<_> = states.filter_map(|state| Heap::read(words, state)).collect();
    let mut segments: Vec<_> =
        heaps.iter().flat_map(|heap| &heap.state.segments).map(|segment| segment.range.clone()).collect();
    if !are_apart(&mut segments) {
        heaps.clear();
    }
    heaps
}

impl Words<'_> {
    fn at(self, address: u64) -> Option<u64> {
        let start = usize::try_from(address).ok()?;
        let bytes = self.0.get(start..start.checked_add(4)?)?;
        Some(u64::from(u32::from_le_bytes(bytes.try_into().ok()?)))
    }

    /// Where states may be: what points to itself as the first two small bins do.
    fn states(self) -> impl Iterator<Item = u64> {
        const UNUSED_BINS: u64 = field::SMALL_BINS + 8;
        let (words, _) = self.0.as_chunks::<4>();
        let places = (0_u64..).step_by(4).zip(words);
        let selves = places.filter(|(at, word)| u64::from(u32::from_le_bytes(**word)) + 8 == *at);
        let bins = selves.filter(move |(at, _)| self.is_empty_bin(at - 8) && self.is_empty_bin(*at));
        bins.filter_map(|(at, _)| at.checked_sub(UNUSED_BINS))
    }

    fn is_empty_bin(self, bin: u64) -> bool {
        self.at(bin + FD) == Some(bin) && self.at(bin + BK) == Some(bin)
    }
}

impl State {
    /// Reads the variables, and whatever can be checked without going through the chunks.
    fn read(words: Words<'_>, at: u64) -> Option<Self> {
        let get = |field: u64| words.at(at + field);
        // `magic` is made from an address, with these lowest bits.
        let has_magic = get(field::MAGIC)? & 15 == 8;
        let (top, victim) = (get(field::TOP)?, get(field::VICTIM)?);
        let top = Chunk { at: top, size: get(field::TOP_SIZE)? };
        let victim_size = get(field::VICTIM_SIZE)?;
        if !has_magic || (victim == 0) != (victim_size == 0) {
            return None;
        }
        let victim = (victim != 0).then_some(Chunk { at: victim, size: victim_size });
        let segments = segments(words, at + field::SEGMENT, top)?;
        let mut ranges: Vec<_> = segments.iter().map(|segment| segment.range.clone()).collect();
        let footprint: u64 = ranges.iter().map(|range| range.end - range.start).sum();
        let is_apart = are_apart(&mut ranges) && ranges.iter().all(|range| !range.contains(&at));
        let is_whole = footprint == get(field::FOOTPRINT)?
            && footprint <= get(field::MAX_FOOTPRINT)?
            && ranges.first()?.start == get(field::LEAST_ADDRESS)?;
        let has_footer = words.at(top.at + HEAD)? == top.size | PREVIOUS_IN_USE
            && words.at(top.at + top.size + HEAD)? == FOOTER
            && top.at + top.size + FOOTER == segments.first()?.range.end;
        (is_apart && is_whole && has_footer).then_some(Self { at, top, victim, segments })
    }
}

/// The segments from a record on, the first of which is in the state itself. Each other has its own record at its end.
fn segments(words: Words<'_>, first: u64, top: Chunk) -> Option<Vec<Segment>> {
    let mut segments = Vec::new();
    let mut record = first;
    while record != 0 {
        let (base, size, next) = (words.at(record)?, words.at(record + 4)?, words.at(record + 8)?);
        let range = base..base + size;
        let end = if record == first { top.at } else { record + RECORD - FD };
        if !range.contains(&end) || segments.len() == MAX_SEGMENTS {
            return None;
        }
        segments.push(Segment { range, end });
        record = next;
    }
    Some(segments)
}

/// Whether ranges do not overlap; sorts them.
fn are_apart(ranges: &mut [Range<u64>]) -> bool {
    ranges.sort_unstable_by_key(|range| range.start);
    ranges.windows(2).all(|pair| pair[0].end <= pair[1].start)
}

impl Heap {
    /// Goes through all chunks, and through all bins.
    fn read(words: Words<'_>, state: State) -> Option<Self> {
        let mut free = Vec::new();
        for segment in &state.segments {
            segment.read(words, &mut free)?;
        }
        for old in &state.segments[1..] {
            if words.at(old.end - RECORD + HEAD)? & !PREVIOUS_IN_USE != RECORD | IN_USE
                || words.at(old.end + HEAD)? != FENCE
            {
                return None;
            }
        }
        free.sort_unstable_by_key(|chunk| chunk.at);
        let heap = Self { state, free };
        heap.is_accounted_for(words)?.then_some(heap)
    }

    /// The free chunk at an address.
    fn chunk(&self, at: u64) -> Option<Chunk> {
        let index = self.free.binary_search_by_key(&at, |chunk| chunk.at).ok()?;
        Some(self.free[index])
    }

    /// What nobody reads, the allocator included.
    pub(super) fn dead(&self) -> impl Iterator<Item = Range<u64>> {
        let behind = |chunk: &Chunk, links: u64| chunk.at + FD + links..chunk.at + chunk.size;
        let victim = self.state.victim.map(|victim| victim.at);
        let free = self.free.iter().map(move |chunk| {
            let links = if Some(chunk.at) == victim {
                0
            } else if chunk.size < LARGE {
                8
            } else {
                24
            };
            behind(chunk, links)
        });
        free.chain([behind(&self.state.top, 0)])
    }
}

impl Segment {
    /// Collects the free chunks, if chunks fill the segment.
    fn read(&self, words: Words<'_>, free: &mut Vec<Chunk>) -> Option<()> {
        let mut at = (self.range.start + FD).next_multiple_of(ALIGNMENT) - FD;
        let mut is_previous_in_use = true;
        while at < self.end {
            let head = words.at(at + HEAD)?;
            let (size, flags) = (head & !FLAGS, head & FLAGS);
            let is_in_use = flags & IN_USE != 0;
            if size == 0 || flags & !IN_USE != u64::from(is_previous_in_use) || !(is_in_use || is_previous_in_use) {
                return None;
            }
            if !is_in_use {
                if words.at(at + size)? != size {
                    return None;
                }
                free.push(Chunk { at, size });
            }
            is_previous_in_use = is_in_use;
            at += size;
        }
        // What is free is joined with the top, and in front of a fence is a record.
        (at == self.end && is_previous_in_use).then_some(())
    }
}
