//! Heaps made by hand, whole and damaged. `tests/freed.rs` has real ones.

mod heap;

use std::ops::Range;

use proptest::prelude::*;

use super::{Freed, clear};
use crate::random::Random;
use heap::{Heap, Kind, SIZE};

/// Chunks of all kinds: in lists, with others of the same size, in trees, and in a ring of a tree.
fn mixed() -> Vec<(u64, Kind)> {
    use Kind::{Free, Live, Victim};
    let sizes = [16, 48, 48, 224, 256, 272, 272, 320, 400, 4096, 4096, 5000 / 16 * 16, 9008];
    let mut chunks = vec![(32, Live), (64, Victim)];
    for size in sizes {
        chunks.extend([(16, Live), (size, Free)]);
    }
    chunks.push((80, Live));
    chunks
}

/// Whether nothing was changed but what is free, and that was cleared.
fn is_cleared(heap: &Heap, after: &[u8]) -> bool {
    let is_zero = |range: &Range<usize>| after[range.clone()].iter().all(|byte| *byte == 0);
    is_kept(heap, &heap.memory, after) && heap.dead.iter().all(is_zero)
}

/// Whether nothing was changed but what is free in a heap.
fn is_kept(heap: &Heap, before: &[u8], after: &[u8]) -> bool {
    let mut dead = heap.dead.clone();
    dead.sort_unstable_by_key(|range| range.start);
    let starts = [0].into_iter().chain(dead.iter().map(|range| range.end));
    let ends = dead.iter().map(|range| range.start).chain([SIZE]);
    before.len() == after.len() && starts.zip(ends).all(|(start, end)| before[start..end] == after[start..end])
}

#[test]
fn what_is_free_is_cleared_and_nothing_else() {
    let heap = Heap::new(&mixed());
    let mut memory = heap.memory.clone();
    let bytes = heap.dead.iter().map(|range| range.len() as u64).sum();
    assert_eq!(clear(&mut memory), Freed { heaps: 1, bytes });
    assert!(is_cleared(&heap, &memory));
    assert_eq!(clear(&mut memory), Freed { heaps: 1, bytes: 0 });
}

#[test]
fn heaps_of_any_shape_are_recognized() {
    for seed in 0..50 {
        let mut random = Random::new(seed);
        let mut chunks = Vec::new();
        for _ in 0..random.below(80) {
            let largest = if random.chance(20) { 100 } else { 20 };
            let size = 16 + 16 * random.below(largest) as u64;
            let may_be_free = chunks.last().is_none_or(|(_, kind)| *kind == Kind::Live);
            chunks.push((size, if may_be_free && random.chance(50) { Kind::Free } else { Kind::Live }));
        }
        chunks.push((16, Kind::Live));
        let heap = Heap::new(&chunks);
        let mut memory = heap.memory.clone();
        assert_eq!(clear(&mut memory).heaps, 1, "{seed}");
        assert!(is_cleared(&heap, &memory), "{seed}");
    }
}

#[test]
fn older_segments_are_part_of_the_heap() {
    use Kind::{Free, Live};
    let old = [(16, Live), (512, Free), (16, Live)];
    let heap = Heap::with_older_segment(&[(32, Live), (512, Free), (48, Live)], &old);
    let mut memory = heap.memory.clone();
    assert_eq!(clear(&mut memory).heaps, 1);
    assert!(is_cleared(&heap, &memory) && heap.dead.len() == 3);
}

#[test]
fn whatever_does_not_fit_leaves_the_heap_as_it_is() {
    let heap = Heap::with_older_segment(&mixed(), &[(16, Kind::Live), (512, Kind::Free), (16, Kind::Live)]);
    for at in &heap.structure {
        for bit in [0, 1, 2, 4, 8, 20, 31] {
            let mut memory = heap.memory.clone();
            let word = &mut memory[usize::try_from(*at).expect("small")..][..4];
            let changed = u32::from_le_bytes(word.try_into().expect("a word")) ^ 1 << bit;
            word.copy_from_slice(&changed.to_le_bytes());
            let damaged = memory.clone();
            assert_eq!(clear(&mut memory), Freed::default(), "bit {bit} of {at:#x}");
            assert_eq!(memory, damaged);
        }
    }
}

#[test]
fn near_misses_are_no_heaps() {
    use Kind::{Free, Live};
    for chunks in [
        // Neighbours which are both free would have been joined.
        vec![(16, Live), (64, Free), (64, Free), (16, Live)],
        // So would the last with the top.
        vec![(16, Live), (64, Free)],
    ] {
        assert_eq!(clear(&mut Heap::new(&chunks).memory), Freed::default(), "{chunks:?}");
    }
    // A copy at some other place.
    let mut moved = Heap::new(&mixed()).memory;
    moved.splice(0..0, [0; 64]);
    assert_eq!(clear(&mut moved), Freed::default());
    // A heap which ends with the memory's content cut off.
    for length in (0..SIZE).step_by(1000) {
        assert_eq!(clear(&mut Heap::new(&mixed()).memory[..length]), Freed::default());
    }
}

proptest! {
    #[test]
    fn damage_anywhere_never_costs_what_is_live(damage in prop::collection::vec((0..SIZE, any::<u8>()), 1..20)) {
        let heap = Heap::new(&mixed());
        let mut memory = heap.memory.clone();
        for (at, byte) in damage {
            memory[at] = byte;
        }
        let damaged = memory.clone();
        clear(&mut memory);
        prop_assert!(is_kept(&heap, &damaged, &memory));
    }

    /// Words which are likely in a heap, anywhere.
    #[test]
    fn no_memory_is_too_strange(words in prop::collection::vec((0..1024_u32, -2..3_i32), 0..1024)) {
        let mut memory = vec![0; 4096];
        for (at, (word, offset)) in words.iter().enumerate() {
            let word = (word * 4).wrapping_add_signed(*offset);
            memory[4 * at..4 * at + 4].copy_from_slice(&word.to_le_bytes());
        }
        prop_assert_eq!(clear(&mut memory), Freed::default());
    }
}
