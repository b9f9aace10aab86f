//! What is in a memory: the runs of bytes which are not zero.

use std::ops::Range;

/// Runs are joined over fewer zeros than this: a segment costs about as much.
const GAP: usize = 32;
/// Wasmtime and others take 100,000 segments per module; beyond this many, neighbours are joined.
const MAX_RUNS: usize = 50_000;
/// Zeros are skipped by this much at a time.
const BLOCK: usize = 4096;

/// The content of a linear memory. Two are equal if their content is, however it is cut into runs.
#[derive(Clone, Debug)]
pub(crate) struct MemoryImage {
    /// Its size in pages.
    pub(crate) pages: u64,
    /// What is not zero, in ascending order.
    pub(crate) runs: Vec<Run>,
}

/// Consecutive bytes of a memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// Where they start.
    pub(crate) offset: u64,
    pub(crate) bytes: Vec<u8>,
}

/// Copies what is not zero.
pub(crate) fn image(pages: u64, bytes: &[u8]) -> MemoryImage {
    let runs = runs(bytes).into_iter().map(|range| Run { offset: range.start as u64, bytes: bytes[range].to_vec() });
    MemoryImage { pages, runs: runs.collect() }
}

impl PartialEq for MemoryImage {
    fn eq(&self, other: &Self) -> bool {
        self.pages == other.pages && (self.runs == other.runs || self.differences(other).is_empty())
    }
}

impl Eq for MemoryImage {}

impl MemoryImage {
    /// Sets a part to zero, and tells how many bytes were not.
    pub(crate) fn zero(&mut self, part: Range<u64>) -> u64 {
        let mut zeroed = 0;
        // Only what has changed is cut anew: there may be as many runs as there can be.
        let mut cut = Vec::with_capacity(self.runs.len());
        for mut run in std::mem::take(&mut self.runs) {
            let end = run.offset + run.bytes.len() as u64;
            let (from, to) = (part.start.clamp(run.offset, end), part.end.clamp(run.offset, end));
            let place = |offset: u64| usize::try_from(offset - run.offset).expect("inside of the run");
            let dead = &mut run.bytes[place(from)..place(to).max(place(from))];
            let changed = dead.iter().filter(|byte| **byte != 0).count() as u64;
            dead.fill(0);
            zeroed += changed;
            match changed {
                0 => cut.push(run),
                _ => cut.extend(split(run)),
            }
        }
        self.runs = cut;
        zeroed
    }
}

/// A run of which a part may have become zero.
fn split(run: Run) -> Vec<Run> {
    let part = |range: Range<usize>| Run { offset: run.offset + range.start as u64, bytes: run.bytes[range].to_vec() };
    runs(&run.bytes).into_iter().map(part).collect()
}

fn runs(bytes: &[u8]) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        if at.is_multiple_of(BLOCK) && bytes[at..].len() >= BLOCK && bytes[at..at + BLOCK].iter().all(|byte| *byte == 0)
        {
            at += BLOCK;
            continue;
        }
        if bytes[at] == 0 {
            at += 1;
            continue;
        }
        let end = bytes[at..].iter().position(|byte| *byte == 0).map_or(bytes.len(), |length| at + length);
        match runs.last_mut() {
            Some(last) if at - last.end <= GAP => last.end = end,
            _ => runs.push(at..end),
        }
        at = end;
    }
    while runs.len() > MAX_RUNS {
        runs = runs.chunks(2).map(|pair| pair[0].start..pair[pair.len() - 1].end).collect();
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_joined_over_short_gaps_only() {
        let mut bytes = vec![0; 3 * BLOCK];
        bytes[5] = 1;
        bytes[5 + GAP] = 2;
        bytes[2 * BLOCK] = 3;
        let image = image(1, &bytes);
        let places: Vec<_> = image.runs.iter().map(|run| (run.offset, run.bytes.len())).collect();
        assert_eq!(places, [(5, GAP + 1), (2 * BLOCK as u64, 1)]);
    }

    #[test]
    fn images_are_equal_however_they_are_cut() {
        let bytes: Vec<u8> = (0..4 * GAP * MAX_RUNS).map(|at| u8::from(at % (2 * GAP) == 0)).collect();
        let joined = image(1, &bytes);
        assert_eq!(joined.runs.len(), MAX_RUNS);
        let mut cut = joined.clone();
        cut.runs = std::mem::take(&mut cut.runs).into_iter().flat_map(split).collect();
        assert!(cut.runs.len() > MAX_RUNS && cut == joined);
        cut.runs[7].bytes[0] ^= 2;
        assert!(cut != joined);
        assert!(MemoryImage { pages: 2, ..joined.clone() } != joined);
    }

    #[test]
    fn a_part_can_be_zeroed() {
        let mut bytes = vec![7; 200];
        bytes.extend([0; 100]);
        bytes.extend([8; 10]);
        let mut image = image(1, &bytes);
        assert_eq!(image.zero(50..150), 100);
        let places: Vec<_> = image.runs.iter().map(|run| (run.offset, run.bytes.len())).collect();
        assert_eq!(places, [(0, 50), (150, 50), (300, 10)]);
        assert_eq!(image.zero(0..1000), 110);
        assert_eq!(image.runs, []);
    }
}
