//! Where two states differ.

use std::{collections::BTreeSet, ops::Range};

use super::{MemoryImage, State};

/// Compared at a time.
const BLOCK: u64 = 4096;
/// Differing bytes this close to each other are told as one place: a value whose bytes are equal here and there.
const NEAR: u64 = 8;

/// A part of a memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// Index of the memory.
    pub(crate) memory: u32,
    pub(crate) offset: u64,
    /// In bytes.
    pub(crate) length: u64,
}

/// What is not the same in two states.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Differences {
    /// In ascending order.
    pub(crate) places: Vec<Place>,
    /// Indices of globals.
    pub(crate) globals: Vec<u32>,
    /// Indices of tables.
    pub(crate) tables: Vec<u32>,
    /// Values in locals and on operand stacks.
    pub(crate) stack: u64,
}

impl Place {
    fn end(&self) -> u64 {
        self.offset + self.length
    }

    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        self.memory == other.memory && self.offset < other.end() && other.offset < self.end()
    }

    /// What is in front of `other`, and what is behind it.
    pub(crate) fn without(&self, other: &Self) -> impl Iterator<Item = Self> {
        let part = |start: u64, end: u64| {
            let length = end.checked_sub(start).filter(|length| *length > 0);
            length.map(|length| Self { memory: self.memory, offset: start, length })
        };
        let parts = if self.memory == other.memory {
            [part(self.offset, self.end().min(other.offset)), part(self.offset.max(other.end()), self.end())]
        } else {
            [Some(*self), None]
        };
        parts.into_iter().flatten()
    }
}

impl Differences {
    pub(crate) fn is_empty(&self) -> bool {
        self.places.is_empty() && self.globals.is_empty() && self.tables.is_empty() && self.stack == 0
    }

    /// Bytes of all places.
    pub(crate) fn bytes(&self) -> u64 {
        self.places.iter().map(|place| place.length).sum()
    }
}

impl State {
    /// What differs between this state and another of the same program.
    pub(crate) fn differences(&self, other: &Self) -> Differences {
        let mut differences = Differences::default();
        for (memory, (a, b)) in (0..).zip(self.memories.iter().zip(&other.memories)) {
            let ranges = a.differences(b);
            let place = |range: Range<u64>| Place { memory, offset: range.start, length: range.end - range.start };
            differences.places.extend(ranges.into_iter().map(place));
        }
        for (index, value) in &self.globals {
            if other.globals.get(index) != Some(value) {
                differences.globals.push(*index);
            }
        }
        for (index, (a, b)) in (0..).zip(self.tables.iter().zip(&other.tables)) {
            if a != b {
                differences.tables.push(index);
            }
        }
        differences
    }
}

impl MemoryImage {
    /// Numbers of the blocks which are not all zero.
    fn blocks(&self) -> BTreeSet<u64> {
        let blocks =
            |run: &super::memory::Run| run.offset / BLOCK..(run.offset + run.bytes.len() as u64).div_ceil(BLOCK);
        self.runs.iter().flat_map(blocks).collect()
    }

    /// Each number of 8 bytes, with its offset, of the blocks which are not all zero.
    pub(crate) fn words(&self) -> impl Iterator<Item = (u64, u64)> {
        self.blocks().into_iter().flat_map(|block| {
            let mut bytes = [0; BLOCK as usize];
            self.copy_to(block * BLOCK, &mut bytes);
            let words = bytes.as_chunks::<8>().0.to_vec();
            (block * BLOCK..).step_by(8).zip(words.into_iter().map(u64::from_le_bytes))
        })
    }

    /// The bytes from `offset` on.
    pub(crate) fn copy_to(&self, offset: u64, bytes: &mut [u8]) {
        bytes.fill(0);
        let end = offset + bytes.len() as u64;
        let first = self.runs.partition_point(|run| run.offset + run.bytes.len() as u64 <= offset);
        for run in self.runs[first..].iter().take_while(|run| run.offset < end) {
            let (from, to) = (run.offset.max(offset), (run.offset + run.bytes.len() as u64).min(end));
            let place = |at: u64, start: u64| usize::try_from(at - start).expect("inside of the run and of the block");
            bytes[place(from, offset)..place(to, offset)]
                .copy_from_slice(&run.bytes[place(from, run.offset)..place(to, run.offset)]);
        }
    }

    pub(super) fn differences(&self, other: &Self) -> Vec<Range<u64>> {
        let mut blocks = self.blocks();
        blocks.extend(other.blocks());
        let (mut a, mut b) = ([0; BLOCK as usize], [0; BLOCK as usize]);
        let mut ranges: Vec<Range<u64>> = Vec::new();
        for block in blocks {
            self.copy_to(block * BLOCK, &mut a);
            other.copy_to(block * BLOCK, &mut b);
            if a == b {
                continue;
            }
            for (at, _) in (block * BLOCK..).zip(a.iter().zip(&b)).filter(|(_, (a, b))| a != b) {
                match ranges.last_mut() {
                    Some(last) if at - last.end < NEAR => last.end = at + 1,
                    _ => ranges.push(at..at + 1),
                }
            }
        }
        ranges
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{Value, image};

    fn state(bytes: &[u8], global: i32) -> State {
        State { memories: vec![image(1, bytes)], globals: [(3, Value::I32(global))].into(), tables: Vec::new() }
    }

    #[test]
    fn places_are_found_in_every_block() {
        let mut a = vec![0; 3 * BLOCK as usize];
        a[100..200].fill(7);
        let mut b = a.clone();
        b[150] = 8;
        b[154] = 8;
        b[2 * BLOCK as usize + 5] = 1;
        let differences = state(&a, 1).differences(&state(&b, 1));
        let places: Vec<_> = differences.places.iter().map(|place| (place.offset, place.length)).collect();
        assert_eq!(places, [(150, 5), (2 * BLOCK + 5, 1)]);
        assert_eq!(differences.bytes(), 6);
        assert_eq!(state(&b, 1).differences(&state(&a, 1)), differences);
    }

    #[test]
    fn a_place_within_another_leaves_two() {
        let place = |offset, length| Place { memory: 0, offset, length };
        let without = |other| place(10, 10).without(&other).collect::<Vec<_>>();
        assert_eq!(without(place(12, 3)), [place(10, 2), place(15, 5)]);
        assert_eq!(without(place(0, 15)), [place(15, 5)]);
        assert_eq!(without(place(0, 50)), []);
        assert_eq!(without(place(0, 5)), [place(10, 10)]);
        assert_eq!(without(place(30, 5)), [place(10, 10)]);
        assert_eq!(without(Place { memory: 1, ..place(12, 3) }), [place(10, 10)]);
    }

    #[test]
    fn equal_states_differ_in_nothing() {
        let bytes = vec![1; 5000];
        assert!(state(&bytes, 1).differences(&state(&bytes, 1)).is_empty());
        assert_eq!(state(&bytes, 1).differences(&state(&bytes, 2)).globals, [3]);
    }
}
