//! What data segments make of a memory, without the memory: a file of a few bytes may fill gigabytes with zeros.

use std::collections::BTreeMap;

use wasmparser::DataKind;

use super::{Few, modules::Range};
use crate::program::Program;

/// Pieces of a memory which segments fill, by address. They do not overlap; what is between them is zero.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Overlay<'a>(BTreeMap<u64, &'a [u8]>);

impl<'a> Overlay<'a> {
    /// What active segments make of a memory; `None` if that depends on imports, or if they do not fit.
    pub(super) fn of(program: &Program<'a>, memory: u32) -> Option<Self> {
        let mut overlay = Self::default();
        for data in &program.data {
            let DataKind::Active { memory_index, offset_expr } = &data.kind else { continue };
            if *memory_index == memory {
                overlay.put(program.constants.address(offset_expr)?, data.data)?;
            }
        }
        Some(overlay)
    }

    /// Later segments win.
    fn put(&mut self, start: u64, bytes: &'a [u8]) -> Option<()> {
        let end = start.checked_add(bytes.len() as u64)?;
        if bytes.is_empty() {
            return Some(());
        }
        let in_front = self.0.range(..start).next_back().map(|(at, piece)| (*at, *piece));
        if let Some((at, piece)) = in_front {
            let kept = usize::try_from(start - at).map_or(piece.len(), |kept| kept.min(piece.len()));
            self.0.insert(at, &piece[..kept]);
            self.keep_behind(end, at, piece);
        }
        while let Some((at, piece)) = self.0.range(start..end).next().map(|(at, piece)| (*at, *piece)) {
            self.0.remove(&at);
            self.keep_behind(end, at, piece);
        }
        self.0.insert(start, bytes);
        Some(())
    }

    /// Keeps what of a piece is behind `end`.
    fn keep_behind(&mut self, end: u64, at: u64, piece: &'a [u8]) {
        let covered = usize::try_from(end.saturating_sub(at)).unwrap_or(usize::MAX);
        if let Some(rest) = piece.get(covered..).filter(|rest| !rest.is_empty()) {
            self.0.insert(end.max(at), rest);
        }
    }

    /// How many bytes differ, and where.
    pub(super) fn compare(&self, other: &Self) -> (u64, Few<Range>) {
        let mut found = Found::default();
        let (mut a, mut b) = (Cursor::new(self), Cursor::new(other));
        let mut at = 0;
        while let Some(end) = [a.next_edge(at), b.next_edge(at)].into_iter().flatten().min() {
            match (a.bytes(at, end), b.bytes(at, end)) {
                (Some(a), Some(b)) if a == b => {}
                (Some(a), Some(b)) => found.compare(at, a.iter().zip(b).map(|(a, b)| a != b)),
                (Some(bytes), None) | (None, Some(bytes)) => found.compare(at, bytes.iter().map(|byte| *byte != 0)),
                (None, None) => {}
            }
            at = end;
        }
        found.finish()
    }
}

/// Goes through the pieces in ascending order.
struct Cursor<'o, 'a> {
    pieces: std::iter::Peekable<std::collections::btree_map::Iter<'o, u64, &'a [u8]>>,
}

impl<'o, 'a> Cursor<'o, 'a> {
    fn new(overlay: &'o Overlay<'a>) -> Self {
        Self { pieces: overlay.0.iter().peekable() }
    }

    /// Where the next piece behind `at` begins, or the one at `at` ends.
    fn next_edge(&mut self, at: u64) -> Option<u64> {
        let end = |start: u64, piece: &[u8]| start + piece.len() as u64;
        while self.pieces.next_if(|(start, piece)| end(**start, piece) <= at).is_some() {}
        let (start, piece) = self.pieces.peek()?;
        Some(if **start > at { **start } else { end(**start, piece) })
    }

    /// The bytes from `at` to `end`, which no edge is between.
    fn bytes(&mut self, at: u64, end: u64) -> Option<&'a [u8]> {
        let (start, piece) = self.pieces.peek()?;
        let from = usize::try_from(at.checked_sub(**start)?).ok()?;
        piece.get(from..from.checked_add(usize::try_from(end - at).ok()?)?)
    }
}

/// Differing bytes, gathered into ranges.
#[derive(Default)]
struct Found {
    bytes: u64,
    open: Option<Range>,
    ranges: Few<Range>,
}

impl Found {
    fn compare(&mut self, start: u64, differs: impl Iterator<Item = bool>) {
        for (at, _) in (start..).zip(differs).filter(|(_, differs)| *differs) {
            self.bytes += 1;
            match &mut self.open {
                Some(range) if range.end == at => range.end += 1,
                open => {
                    if let Some(range) = open.replace(Range { start: at, end: at + 1 }) {
                        self.ranges.push(|| range);
                    }
                }
            }
        }
    }

    fn finish(mut self) -> (u64, Few<Range>) {
        if let Some(range) = self.open {
            self.ranges.push(|| range);
        }
        (self.bytes, self.ranges)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overlay(segments: &[(u64, &'static [u8])]) -> Overlay<'static> {
        let mut overlay = Overlay::default();
        for (start, bytes) in segments {
            overlay.put(*start, bytes).expect("it fits");
        }
        overlay
    }

    fn ranges(a: &Overlay<'_>, b: &Overlay<'_>) -> Vec<(u64, u64)> {
        let (_, ranges) = a.compare(b);
        ranges.first.iter().map(|range| (range.start, range.end)).collect()
    }

    #[test]
    fn later_segments_win_over_parts_of_earlier_ones() {
        let covered = overlay(&[(4, b"abcdefgh"), (6, b"XY"), (20, b"mn"), (18, b"----"), (0, b"")]);
        assert_eq!(covered, overlay(&[(4, b"ab"), (6, b"XY"), (8, b"efgh"), (18, b"----")]));
        let flat = overlay(&[(4, b"abXYefgh"), (18, b"----")]);
        assert_eq!(covered.compare(&flat), (0, Few::default()), "it does not matter who says it");
    }

    #[test]
    fn what_is_not_filled_is_zero() {
        let zeros = overlay(&[(1 << 40, &[0; 100]), (0, b"\0a\0")]);
        assert_eq!(ranges(&zeros, &overlay(&[(1, b"a")])), []);
        assert_eq!(ranges(&zeros, &overlay(&[(1, b"b\0\0cd"), (50, b"e")])), [(1, 2), (4, 6), (50, 51)]);
        assert_eq!(ranges(&overlay(&[]), &overlay(&[(7, b"\0x\0yz")])), [(8, 9), (10, 12)]);
    }

    #[test]
    fn the_end_of_the_address_space_is_no_place_for_a_segment() {
        assert_eq!(Overlay::default().put(u64::MAX, b"ab"), None);
    }
}
