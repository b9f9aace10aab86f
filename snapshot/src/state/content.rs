//! What memories start with, without writing out what is zero.

use std::{
    collections::{BTreeMap, btree_map},
    iter::Peekable,
    ops::Range,
};

use wasmparser::DataKind;

use super::{MemoryImage, initial::placed, memory::Run};
use crate::program::Program;

/// Zeros which are cheaper than a border: a segment's flag, offset and length take 5 to 13 bytes, and hardly compress.
const BORDER: u64 = 32;

/// What data segments write to one memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Content<'a> {
    /// By offset; they do not overlap.
    pieces: BTreeMap<u64, &'a [u8]>,
}

/// What each memory starts with; `None` if that is only known when the program is instantiated.
pub(crate) fn contents<'a>(program: &Program<'a>) -> Option<Vec<Content<'a>>> {
    let mut contents = vec![Content::default(); program.memories.len()];
    for segment in placed(program)? {
        contents.get_mut(segment.memory as usize)?.write(segment.offset, segment.bytes);
    }
    Some(contents)
}

impl<'a> Content<'a> {
    /// What active segments make of one memory, imported ones counted; `None` if that depends on imports, or if it is
    /// beyond all addresses.
    pub(crate) fn of(program: &Program<'a>, memory: u32) -> Option<Self> {
        let mut content = Self::default();
        for data in &program.data {
            let DataKind::Active { memory_index, offset_expr } = &data.kind else { continue };
            if *memory_index == memory {
                let start = program.constants.address(offset_expr)?;
                start.checked_add(length(data.data))?;
                content.write(start, data.data);
            }
        }
        Some(content)
    }

    /// Writes over what is there.
    fn write(&mut self, start: u64, bytes: &'a [u8]) {
        if bytes.is_empty() {
            return;
        }
        let end = start + length(bytes);
        if let Some((&before, &piece)) = self.pieces.range(..start).next_back() {
            let (kept, covered) = piece.split_at(index(start - before).min(piece.len()));
            self.pieces.insert(before, kept);
            if before + length(piece) > end {
                self.pieces.insert(end, &covered[index(end - start)..]);
            }
        }
        while let Some((&at, &piece)) = self.pieces.range(start..end).next() {
            self.pieces.remove(&at);
            if at + length(piece) > end {
                self.pieces.insert(end, &piece[index(end - at)..]);
            }
        }
        self.pieces.insert(start, bytes);
    }

    /// The places of what is not zero, in ascending order, joined where a few zeros lie between.
    pub(crate) fn runs(&self) -> Vec<Range<u64>> {
        let mut runs: Vec<Range<u64>> = Vec::new();
        for (offset, piece) in &self.pieces {
            let mut at = 0;
            while let Some(zeros) = piece[at..].iter().position(|byte| *byte != 0) {
                let start = at + zeros;
                at = piece[start..].iter().position(|byte| *byte == 0).map_or(piece.len(), |bytes| start + bytes);
                let (start, end) = (offset + start as u64, offset + at as u64);
                match runs.last_mut() {
                    Some(last) if start - last.end <= BORDER => last.end = end,
                    _ => runs.push(start..end),
                }
            }
        }
        runs
    }

    /// A copy of what is not zero, in a memory of so many pages.
    pub(super) fn image(&self, pages: u64) -> MemoryImage {
        MemoryImage { pages, runs: self.runs().into_iter().map(|range| self.run(range)).collect() }
    }

    /// A copy of a range.
    fn run(&self, range: Range<u64>) -> Run {
        let mut bytes = Vec::new();
        for (length, part) in self.parts(range.clone()) {
            match part {
                Some(part) => bytes.extend_from_slice(part),
                None => bytes.resize(bytes.len() + index(length), 0),
            }
        }
        Run { offset: range.start, bytes }
    }

    /// Whether `bytes` hold it.
    pub(crate) fn is_that_of(&self, bytes: &[u8]) -> bool {
        let mut at = 0_usize;
        self.parts(0..length(bytes)).into_iter().all(|(length, part)| {
            let Some(held) = bytes.get(at..at.saturating_add(index(length))) else { return false };
            at += held.len();
            part.map_or_else(|| held.iter().all(|byte| *byte == 0), |part| part == held)
        })
    }

    /// Calls `differs` with the address of each byte which differs, in ascending order; it does not matter how the
    /// contents are cut.
    pub(crate) fn compare(&self, other: &Self, mut differs: impl FnMut(u64)) {
        let mut tell = |start: u64, bytes: &[u8], other: &dyn Fn(usize) -> u8| {
            let places = (start..).zip(bytes.iter().enumerate());
            places.filter(|(_, (index, byte))| **byte != other(*index)).for_each(|(at, _)| differs(at));
        };
        let (mut a, mut b) = (Cursor::new(self), Cursor::new(other));
        let mut at = 0;
        while let Some(end) = [a.next_edge(at), b.next_edge(at)].into_iter().flatten().min() {
            match (a.bytes(at, end), b.bytes(at, end)) {
                (Some(a), Some(b)) if a == b => {}
                (Some(a), Some(b)) => tell(at, a, &|index| b[index]),
                (Some(bytes), None) | (None, Some(bytes)) => tell(at, bytes, &|_| 0),
                (None, None) => {}
            }
            at = end;
        }
    }

    /// Whether this is the same content, however it is cut.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        let mut is_like = true;
        self.compare(other, |_| is_like = false);
        is_like
    }

    /// How many bytes are not zero.
    pub(crate) fn non_zero(&self) -> u64 {
        self.pieces.values().map(|piece| piece.iter().filter(|byte| **byte != 0).count() as u64).sum()
    }

    /// The bytes of `range`, in parts; what is not written is zero, and is told by `None` and its length.
    pub(crate) fn parts(&self, range: Range<u64>) -> Vec<(u64, Option<&'a [u8]>)> {
        let mut parts = Vec::new();
        let mut at = range.start;
        let before = self.pieces.range(..range.start).next_back();
        for (&offset, &piece) in before.into_iter().chain(self.pieces.range(range.clone())) {
            let (start, end) = (offset.max(at), (offset + length(piece)).min(range.end));
            if start >= end {
                continue;
            }
            if start > at {
                parts.push((start - at, None));
            }
            parts.push((end - start, Some(&piece[index(start - offset)..index(end - offset)])));
            at = end;
        }
        if at < range.end {
            parts.push((range.end - at, None));
        }
        parts
    }
}

/// Goes through the pieces in ascending order.
struct Cursor<'c, 'a> {
    pieces: Peekable<btree_map::Iter<'c, u64, &'a [u8]>>,
}

impl<'c, 'a> Cursor<'c, 'a> {
    fn new(content: &'c Content<'a>) -> Self {
        Self { pieces: content.pieces.iter().peekable() }
    }

    /// Where the next piece behind `at` begins, or the one at `at` ends.
    fn next_edge(&mut self, at: u64) -> Option<u64> {
        let end = |start: u64, piece: &[u8]| start + length(piece);
        while self.pieces.next_if(|(start, piece)| end(**start, piece) <= at).is_some() {}
        let (start, piece) = self.pieces.peek()?;
        Some(if **start > at { **start } else { end(**start, piece) })
    }

    /// The bytes from `at` to `end`, which no edge is between.
    fn bytes(&mut self, at: u64, end: u64) -> Option<&'a [u8]> {
        let (start, piece) = self.pieces.peek()?;
        piece.get(index(at.checked_sub(**start)?)..index(end - **start))
    }
}

fn length(bytes: &[u8]) -> u64 {
    bytes.len() as u64
}

/// A distance within a piece, or beyond its end.
fn index(distance: u64) -> usize {
    usize::try_from(distance).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dense(content: &Content<'_>, size: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (length, part) in content.parts(0..size) {
            match part {
                Some(part) => bytes.extend_from_slice(part),
                None => bytes.resize(bytes.len() + index(length), 0),
            }
        }
        bytes
    }

    #[test]
    fn bytes_are_compared() {
        let mut content = Content::default();
        content.write(4, b"abc");
        content.write(10, b"x");
        let mut bytes = dense(&content, 16);
        assert!(content.is_that_of(&bytes));
        for place in [2, 5, 12] {
            bytes[place] ^= 1;
            assert!(!content.is_that_of(&bytes));
            bytes[place] ^= 1;
        }
    }

    #[test]
    fn later_bytes_cover_earlier_ones() {
        let patterns: [&[u8]; 5] = [b"aaaaaaaa", b"bb", b"ccccc", b"d", b""];
        // All ways in which three writes can lie over each other.
        for case in 0..12_usize.pow(3) * 125 {
            let (mut places, mut kinds) = (case / 125, case % 125);
            let mut content = Content::default();
            let mut expected = vec![0; 20];
            for _ in 0..3 {
                let (place, bytes) = (places % 12, patterns[kinds % 5]);
                (places, kinds) = (places / 12, kinds / 5);
                content.write(place as u64, bytes);
                expected[place..place + bytes.len()].copy_from_slice(bytes);
            }
            assert_eq!(dense(&content, 20), expected);
            assert_eq!(content.non_zero(), expected.iter().filter(|byte| **byte != 0).count() as u64);
        }
    }

    #[test]
    fn runs_begin_and_end_with_what_is_not_zero() {
        let mut content = Content::default();
        let bytes = [&[0; 9][..], b"a", &[0; 32], b"b", &[0; 33], b"c", &[0; 5]].concat();
        content.write(100, &bytes);
        content.write(181, b"\0d");
        assert_eq!(content.runs(), [109..143, 176..183]);
    }

    #[test]
    fn a_part_is_cut_out_anywhere() {
        let mut content = Content::default();
        content.write(10, b"abcd");
        content.write(20, b"ef");
        let parts: Vec<(u64, Option<&[u8]>)> = vec![(2, Some(b"cd")), (6, None), (1, Some(b"e"))];
        assert_eq!(content.parts(12..21), parts);
        assert_eq!(content.parts(14..16), [(2, None)]);
    }

    fn content(segments: &[(u64, &'static [u8])]) -> Content<'static> {
        let mut content = Content::default();
        segments.iter().for_each(|(start, bytes)| content.write(*start, bytes));
        content
    }

    #[test]
    fn it_does_not_matter_how_contents_are_cut() {
        let covered = content(&[(4, b"abcdefgh"), (6, b"XY"), (20, b"mn"), (18, b"----"), (0, b"")]);
        assert!(covered.is_like(&content(&[(4, b"ab"), (6, b"XY"), (8, b"efgh"), (18, b"----")])));
        assert!(covered.is_like(&content(&[(4, b"abXYefgh"), (18, b"----")])));
    }

    #[test]
    fn what_is_not_filled_is_zero() {
        let differing = |a: &Content<'_>, b: &Content<'_>| {
            let mut places = Vec::<u64>::new();
            a.compare(b, |at| places.push(at));
            places
        };
        let zeros = content(&[(1 << 40, &[0; 100]), (0, b"\0a\0")]);
        assert_eq!(differing(&zeros, &content(&[(1, b"a")])), [0; 0]);
        assert_eq!(differing(&zeros, &content(&[(1, b"b\0\0cd"), (50, b"e")])), [1, 4, 5, 50]);
        assert_eq!(differing(&content(&[]), &content(&[(7, b"\0x\0yz")])), [8, 10, 11]);
    }

    #[test]
    fn the_end_of_the_address_space_is_no_place_for_a_segment() {
        let wat = "(module (memory i64 1) (data (i64.const -1) \"ab\"))";
        let artifact = prewasm_artifact::Artifact::from_bytes("test", wat.into()).expect("valid");
        let program = Program::parse(artifact.bytes()).expect("valid");
        assert!(Content::of(&program, 0).is_none() && contents(&program).is_none());
    }
}
