//! The lists and trees in which free chunks are: each chunk in one, and in the right one.

use super::{BK, Chunk, FD, Heap, LARGE, Words, field};

/// In chunks of trees, and where their links end.
const CHILDREN: [u64; 2] = [16, 20];
const PARENT: u64 = 24;
const INDEX: u64 = 28;
/// There are as many bins of either kind.
const BINS: u64 = 32;

impl Heap {
    /// Whether the bins, and the victim, hold the free chunks and nothing else.
    pub(super) fn is_accounted_for(&self, words: Words<'_>) -> Option<bool> {
        let maps = [field::SMALL_MAP, field::TREE_MAP].map(|map| words.at(self.state.at + map));
        let [small_map, tree_map] = [maps[0]?, maps[1]?];
        let mut seen = 0;
        for bin in 0..BINS {
            let is_in = |map: u64| map >> bin & 1 == 1;
            let tree = self.tree(words, bin)?;
            // A list which became empty is only marked so, and leads to what was in it last.
            let small = if is_in(small_map) { self.small(words, bin)? } else { 0 };
            if (small > 0) != is_in(small_map) || (tree > 0) != is_in(tree_map) {
                return None;
            }
            seen += small + tree;
        }
        if let Some(victim) = self.state.victim {
            if self.chunk(victim.at)?.size != victim.size {
                return None;
            }
            seen += 1;
        }
        Some(seen == self.free.len())
    }

    /// Counts the chunks of a list; all have the same size.
    fn small(&self, words: Words<'_>, bin: u64) -> Option<usize> {
        let header = self.state.at + field::SMALL_BINS + bin * 8;
        self.ring(words, header, |chunk| chunk.size == bin * 8)
    }

    /// Counts what hangs together by `fd`, `start` not included, if `bk` leads back and each chunk is as it must be.
    fn ring(&self, words: Words<'_>, start: u64, is_fit: impl Fn(Chunk) -> bool) -> Option<usize> {
        let (mut count, mut before, mut at) = (0, start, words.at(start + FD)?);
        while at != start {
            if count == self.free.len() || words.at(at + BK)? != before || !is_fit(self.chunk(at)?) {
                return None;
            }
            count += 1;
            before = at;
            at = words.at(at + FD)?;
        }
        (words.at(start + BK)? == before).then_some(count)
    }

    /// Counts the chunks of a tree. Each node is in a ring with others of its size, which are no nodes.
    fn tree(&self, words: Words<'_>, bin: u64) -> Option<usize> {
        let slot = self.state.at + field::TREE_BINS + bin * 4;
        let mut left = vec![(words.at(slot)?, slot)];
        left.retain(|(root, _)| *root != 0);
        let mut count = 0;
        while let Some((node, parent)) = left.pop() {
            let Chunk { size, .. } = self.chunk(node)?;
            let is_marked =
                |at: u64, parent: u64| words.at(at + PARENT) == Some(parent) && words.at(at + INDEX) == Some(bin);
            if count >= self.free.len() || index(size) != Some(bin) || !is_marked(node, parent) {
                return None;
            }
            let has_no_children = |at: u64| CHILDREN.iter().all(|child| words.at(at + child) == Some(0));
            let is_fit = |chunk: Chunk| chunk.size == size && is_marked(chunk.at, 0) && has_no_children(chunk.at);
            count += 1 + self.ring(words, node, is_fit)?;
            for child in CHILDREN {
                let child = words.at(node + child)?;
                if child != 0 {
                    left.push((child, node));
                }
            }
        }
        Some(count)
    }
}

/// `compute_tree_index`: two bins for each power of two.
fn index(size: u64) -> Option<u64> {
    let log2 = u64::from((size / LARGE).checked_ilog2()?);
    Some(if log2 > 15 { BINS - 1 } else { 2 * log2 + (size >> (log2 + 7) & 1) })
}
