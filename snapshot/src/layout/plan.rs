//! Which bytes of a memory become a segment of their own.

use std::ops::Range;

use super::{Layout, image::fills_enough};

/// The pages in which hosts map memory, in bytes. Larger ones (16 KiB on some ARM machines) are made of these.
const PAGE: u64 = 4096;
/// Zeros up to this many become part of a segment for the wire. The flag, offset and length of a segment take about six
/// bytes after compression, zeros two and another for each 250. On the heap of a rules engine, this gap gives the
/// smallest gzip of all powers of two, and brotli is within a thousandth of its best.
const WIRE_GAP: u64 = 1024;
/// How many segments a memory may have before longer gaps are filled too: engines read them one by one.
const MANY: usize = 200;
/// How many zeros may be written, besides half of the content: enough to join the parts of any small program.
const FILLING: u64 = 1 << 20;
/// Pages are completed if that takes no more than this part of the data.
const PADDING: u64 = 64;

/// The ranges which become segments, given the `runs` of what is not zero, in ascending order, of a memory of `size`
/// bytes.
///
/// Gaps are filled in the order of their length: those which the layout does not want at all, then as many as it takes
/// to have few segments and, copy-on-write, an image that is worth mapping. A memory which is nearly empty would need
/// more zeros than it has content; there, filling ends before that. Nothing but the content decides, so that a second
/// time changes nothing.
pub(super) fn ranges(runs: &[Range<u64>], size: u64, layout: Layout) -> Vec<Range<u64>> {
    let short = match layout {
        // Two runs less than a page apart are in the same page, or in neighbours: no page between them could be left
        // out.
        Layout::Cow => PAGE,
        Layout::Wire => WIRE_GAP,
        Layout::Raw => 0,
    };
    let content: u64 = runs.iter().map(|run| run.end - run.start).sum();
    let span = runs.first().zip(runs.last()).map_or(0, |(first, last)| last.end - first.start);
    let most = content.saturating_add(content / 2).saturating_add(FILLING);

    let (mut data, mut count) = (content, runs.len());
    let mut filled = vec![false; runs.len()];
    for (gap, behind) in gaps(runs) {
        let is_sparse = layout == Layout::Cow && !fills_enough(span, data);
        let is_wanted = gap <= short || count > MANY || is_sparse;
        if !is_wanted || data + gap > most {
            break;
        }
        data += gap;
        count -= 1;
        filled[behind] = true;
    }
    let ranges = merge(runs, |behind| filled[behind]);
    match layout {
        Layout::Cow => with_whole_pages(ranges, size),
        Layout::Wire | Layout::Raw => ranges,
    }
}

/// Gaps with the number of the run that they are behind, the shortest first.
fn gaps(runs: &[Range<u64>]) -> Vec<(u64, usize)> {
    let gap = |(behind, pair): (usize, &[Range<u64>])| (pair[1].start - pair[0].end, behind);
    let mut gaps: Vec<_> = runs.windows(2).enumerate().map(gap).collect();
    gaps.sort_unstable();
    gaps
}

fn merge(runs: &[Range<u64>], is_filled: impl Fn(usize) -> bool) -> Vec<Range<u64>> {
    let mut merged: Vec<Range<u64>> = Vec::new();
    for (index, run) in runs.iter().enumerate() {
        match merged.last_mut() {
            Some(last) if is_filled(index - 1) => last.end = run.end,
            _ => merged.push(run.clone()),
        }
    }
    merged
}

/// Completes the pages at both ends of each range, if that takes hardly anything.
fn with_whole_pages(ranges: Vec<Range<u64>>, size: u64) -> Vec<Range<u64>> {
    let length = |ranges: &[Range<u64>]| ranges.iter().map(|range| range.end - range.start).sum::<u64>();
    let mut whole: Vec<Range<u64>> = Vec::new();
    for range in &ranges {
        let start = range.start - range.start % PAGE;
        let end = range.end.checked_next_multiple_of(PAGE).unwrap_or(size).min(size);
        match whole.last_mut() {
            // They share a page, since filling has ended early.
            Some(last) if last.end > start => last.end = end,
            _ => whole.push(start..end),
        }
    }
    let is_cheap = length(&whole) - length(&ranges) <= length(&ranges) / PADDING;
    if is_cheap { whole } else { ranges }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u64 = 1 << 32;

    #[test]
    fn short_gaps_are_filled_and_long_ones_stay() {
        let runs = [0..10, 1034..1040, 2065..2070, 6166..6170, 10_267..10_270];
        assert_eq!(ranges(&runs, SIZE, Layout::Wire), [0..1040, 2065..2070, 6166..6170, 10_267..10_270]);
        assert_eq!(ranges(&runs, SIZE, Layout::Cow), [0..6170, 10_267..10_270]);
        assert_eq!(ranges(&[], SIZE, Layout::Cow), []);
    }

    #[test]
    fn pages_are_completed_where_there_is_much() {
        let runs = [1_000_100..1_999_990, 2_007_000..4_000_000];
        assert_eq!(ranges(&runs, SIZE, Layout::Cow), [999_424..2_002_944, 2_007_040 - PAGE..4_001_792]);
        assert_eq!(ranges(&runs, SIZE, Layout::Wire), runs);
        let whole = ranges(&[5..2_000_000, 2_100_000..4_000_000], 4_000_003, Layout::Cow);
        assert_eq!(whole, [0..2_002_944, 2_097_152..4_000_003]);
    }

    #[test]
    fn longer_gaps_are_filled_if_there_are_many() {
        let runs: Vec<_> = (1..=1000).map(|number| number * 10_000 + number..number * 10_000 + 2000).collect();
        for layout in [Layout::Cow, Layout::Wire] {
            let found = ranges(&runs, SIZE, layout);
            assert!(found.len() > MANY && found.len() < 800, "{} segments", found.len());
        }
        let dense: Vec<_> = (1..=1000).map(|number| number * 10_000 + number..number * 10_000 + 6000).collect();
        for layout in [Layout::Cow, Layout::Wire] {
            // The gaps grow from first to last, so those at the end stay.
            let found = ranges(&dense, SIZE, layout);
            assert_eq!((found.len(), &found[1..]), (MANY, &dense[dense.len() - MANY + 1..]));
        }
    }

    #[test]
    fn an_image_becomes_dense_enough_to_be_mapped() {
        // 9 of 20 MiB, and no short gap: one MiB and a byte are missing.
        let mib = 1 << 20;
        let runs = [0..9 * mib, 11 * mib + 8..11 * mib + 16, 20 * mib - 1..20 * mib];
        let found = ranges(&runs, SIZE, Layout::Cow);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0], 0..11 * mib + PAGE);
        assert_eq!(ranges(&runs, SIZE, Layout::Wire), runs);
    }

    #[test]
    fn nearly_empty_memories_stay_small() {
        let runs: Vec<_> = (0..100_000).map(|number| number * 4000..number * 4000 + 1).collect();
        for layout in [Layout::Cow, Layout::Wire] {
            let found = ranges(&runs, SIZE, layout);
            let length: u64 = found.iter().map(|range| range.end - range.start).sum();
            assert!(length < 2 * FILLING, "{length}");
        }
    }
}
