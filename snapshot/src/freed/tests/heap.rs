//! Makes heaps as dlmalloc would leave them, by its own published algorithms.

use std::ops::Range;

/// The size of the memory.
pub(super) const SIZE: usize = 65_536;
/// Where the state is, and the segments: the older one, and the one with the top.
const STATE: u64 = 1024;
const OLDER: Range<u64> = 4096..16_384;
const NEWER: Range<u64> = 20_480..SIZE as u64;

/// What becomes of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Live,
    Free,
    Victim,
}

/// A memory with a heap in it.
pub(super) struct Heap {
    pub(super) memory: Vec<u8>,
    /// What nobody reads any more; it is not zero.
    pub(super) dead: Vec<Range<usize>>,
    /// Addresses of words which hold the heap together.
    pub(super) structure: Vec<u64>,
}

impl Heap {
    /// A heap of one segment, with these chunks from its start on.
    pub(super) fn new(chunks: &[(u64, Kind)]) -> Self {
        let mut heap = Self::empty();
        heap.newest(chunks);
        heap.finish(NEWER.start, NEWER.end - NEWER.start);
        heap
    }

    /// A heap with another segment from before somebody else grew the memory.
    pub(super) fn with_older_segment(chunks: &[(u64, Kind)], older: &[(u64, Kind)]) -> Self {
        let mut heap = Self::empty();
        let end = heap.chunks(OLDER.start + 8, older);
        let record = OLDER.end - 56;
        heap.head(end, (record - end) | 3);
        heap.head(record, 32 | 3);
        for (at, word) in (record + 8..).step_by(4).zip([OLDER.start, OLDER.end - OLDER.start, 0]) {
            heap.put(at, word);
        }
        for fence in 0..4 {
            heap.write(record + 32 + 4 + 4 * fence, 7);
        }
        heap.structure.push(record + 32 + 4);
        heap.newest(chunks);
        heap.put(STATE + 456, record + 8);
        heap.finish(OLDER.start, NEWER.end - NEWER.start + OLDER.end - OLDER.start);
        heap
    }

    fn empty() -> Self {
        let mut heap = Self { memory: vec![0; SIZE], dead: Vec::new(), structure: Vec::new() };
        for segment in [OLDER, NEWER] {
            heap.memory[place(segment.start)..place(segment.end)].fill(0xA5);
        }
        heap.put(STATE, 0);
        heap.put(STATE + 4, 0);
        for bin in 0..32 {
            let bin = STATE + 40 + 8 * bin;
            heap.write(bin + 8, bin);
            heap.write(bin + 12, bin);
        }
        // One which was used, and is empty again.
        heap.write(STATE + 40 + 8 * 30 + 8, NEWER.start + 8);
        // The first two are what a heap is found by.
        heap.structure.extend((STATE + 48..STATE + 64).step_by(4));
        heap
    }

    /// The segment with the top.
    fn newest(&mut self, chunks: &[(u64, Kind)]) {
        self.put(STATE + 448, NEWER.start);
        self.put(STATE + 452, NEWER.end - NEWER.start);
        self.put(STATE + 456, 0);
        let top = self.chunks(NEWER.start + 8, chunks);
        let size = NEWER.end - 56 - top;
        let is_last_free = chunks.last().is_some_and(|(_, kind)| *kind != Kind::Live);
        self.head(top, size | u64::from(!is_last_free));
        self.head(top + size, 56);
        self.put(STATE + 24, top);
        self.put(STATE + 12, size);
        self.dead.push(place(top + 8)..place(top + size));
    }

    fn finish(&mut self, least: u64, footprint: u64) {
        self.put(STATE + 16, least);
        self.put(STATE + 36, 0x5555_ABC8);
        self.structure.pop();
        self.put(STATE + 432, footprint);
        self.put(STATE + 436, footprint);
        self.structure.pop();
    }

    /// Puts chunks in a row, and tells where they end.
    fn chunks(&mut self, mut at: u64, chunks: &[(u64, Kind)]) -> u64 {
        let mut is_previous_in_use = true;
        for (size, kind) in chunks {
            let is_in_use = *kind == Kind::Live;
            self.head(at, size | u64::from(is_in_use) << 1 | u64::from(is_previous_in_use));
            if !is_in_use {
                self.put(at + size, *size);
                self.free(at, *size, *kind);
            }
            is_previous_in_use = is_in_use;
            at += size;
        }
        at
    }

    fn free(&mut self, at: u64, size: u64, kind: Kind) {
        let links = match (kind, size) {
            (Kind::Victim, _) => {
                self.put(STATE + 20, at);
                self.put(STATE + 8, size);
                0
            }
            (_, ..256) => {
                self.insert_small(at, size);
                8
            }
            _ => {
                self.insert_large(at, size);
                24
            }
        };
        if at + 8 + links < at + size {
            self.dead.push(place(at + 8 + links)..place(at + size));
        }
    }

    fn mark(&mut self, map: u64, bin: u64) {
        self.write(STATE + map, self.read(STATE + map) | 1 << bin);
    }

    fn insert_small(&mut self, at: u64, size: u64) {
        let bin = STATE + 40 + size;
        // An unmarked list is empty, whatever it leads to.
        let is_marked = self.read(STATE) >> (size / 8) & 1 == 1;
        let first = if is_marked { self.read(bin + 8) } else { bin };
        self.mark(0, size / 8);
        self.put(bin + 8, at);
        self.put(first + 12, at);
        self.put(at + 8, first);
        self.put(at + 12, bin);
    }

    fn insert_large(&mut self, at: u64, size: u64) {
        let log2 = u64::from((size >> 8).ilog2());
        let bin = 2 * log2 + (size >> (log2 + 7) & 1);
        let slot = STATE + 304 + 4 * bin;
        for (field, value) in [(8, at), (12, at), (16, 0), (20, 0), (28, bin)] {
            self.put(at + field, value);
        }
        let mut node = self.read(slot);
        if node == 0 {
            self.mark(4, bin);
            self.put(slot, at);
            self.put(at + 24, slot);
            return;
        }
        // The bits below those which choose the bin, the highest first.
        let mut bits = (size as u32) << (25 - bin / 2);
        loop {
            if self.read(node + 4) & !15 == size {
                let next = self.read(node + 8);
                for (field, value) in [(node + 8, at), (next + 12, at), (at + 8, next), (at + 12, node), (at + 24, 0)] {
                    self.put(field, value);
                }
                return;
            }
            let child = node + 16 + 4 * u64::from(bits >> 31);
            bits <<= 1;
            if self.read(child) == 0 {
                self.put(child, at);
                self.put(at + 24, node);
                return;
            }
            node = self.read(child);
        }
    }

    fn head(&mut self, at: u64, head: u64) {
        self.put(at + 4, head);
    }

    /// Writes a word on which the structure depends.
    fn put(&mut self, at: u64, word: u64) {
        self.write(at, word);
        self.structure.push(at);
    }

    fn write(&mut self, at: u64, word: u64) {
        let word = u32::try_from(word).expect("a word");
        self.memory[place(at)..][..4].copy_from_slice(&word.to_le_bytes());
    }

    fn read(&self, at: u64) -> u64 {
        u32::from_le_bytes(self.memory[place(at)..][..4].try_into().expect("a word")).into()
    }
}

fn place(at: u64) -> usize {
    usize::try_from(at).expect("in the memory")
}
