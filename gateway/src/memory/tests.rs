//! Slots and shelves without guests: what is kept, what is given back, what a reset costs.

#![expect(unsafe_code, reason = "writes to memories as guests would")]

use std::{fs, mem::MaybeUninit, sync::Arc};

use super::{
    Pool,
    image::Image,
    pool::Shelf,
    reservation::PAGE,
    slot::{CAPACITY, Fate, Slot},
};

const SIZE: usize = 17 * 64 * 1024;

fn pool(idle: usize) -> Arc<Pool> {
    Pool::new(1, idle).expect("supported")
}

fn shelf(pool: &Arc<Pool>) -> Arc<Shelf> {
    pool.shelf(Image::new(SIZE, &vec![(5000, &[0xDA; 10_000][..]), (SIZE - 1, b"z")]).expect("mapped"))
}

fn read(slot: &Slot, size: usize) -> Vec<u8> {
    // SAFETY: the test has the slot alone, and `size` is accessible.
    unsafe { std::slice::from_raw_parts(slot.start(), size) }.to_vec()
}

fn write(slot: &Slot, at: usize) {
    // SAFETY: as above.
    unsafe { slot.start().add(at).write(0xEE) }
}

/// Whether a byte is accessible.
fn is_open(place: usize) -> bool {
    let maps = fs::read_to_string("/proc/self/maps").expect("readable");
    let mut lines = maps.lines().map(|line| line.split([' ', '-']));
    let hex = |text: &str| usize::from_str_radix(text, 16).expect("an address");
    lines.any(|mut words| {
        let (start, end) = (hex(words.next().expect("start")), hex(words.next().expect("end")));
        (start..end).contains(&place) && words.next().expect("access").starts_with("rw")
    })
}

/// Page faults of this thread so far.
fn faults() -> i64 {
    let mut usage = MaybeUninit::<libc::rusage>::uninit();
    // SAFETY: the structure is filled if the call succeeds.
    let usage = unsafe {
        assert_eq!(libc::getrusage(libc::RUSAGE_THREAD, usage.as_mut_ptr()), 0);
        usage.assume_init()
    };
    usage.ru_minflt + usage.ru_majflt
}

#[test]
fn an_image_is_what_the_segments_write() {
    let slot = shelf(&pool(1)).take().expect("mapped");
    let mut expected = vec![0; SIZE];
    expected[5000..15_000].fill(0xDA);
    expected[SIZE - 1] = b'z';
    assert!(read(&slot, SIZE) == expected);
}

#[test]
fn a_slot_comes_back_as_new_to_who_asks_for_its_image() {
    let pool = pool(4);
    let (one, other) = (shelf(&pool), shelf(&pool));
    for round in 0..100 {
        let slot = one.take().expect("mapped");
        let start = slot.start();
        let image = read(&slot, SIZE);
        for at in [0, 4999, 14_999, 15_000, 16_383, 16_384, SIZE - 1, round * 8191] {
            write(&slot, at);
        }
        one.put_back(slot, SIZE);
        assert_ne!(other.take().expect("mapped").start(), start, "another image");
        let slot = one.take().expect("mapped");
        assert_eq!(slot.start(), start);
        assert!(read(&slot, SIZE) == image);
        one.put_back(slot, SIZE);
    }
}

#[test]
fn what_a_memory_has_grown_by_is_taken_away() {
    let shelf = shelf(&pool(1));
    // Within what is tracked, at its end, and beyond.
    for grown in [64 * 1024, 4 << 20, 9 << 20] {
        let mut slot = shelf.take().expect("mapped");
        let start = slot.start().addr();
        assert!(is_open(start + SIZE - 1) && !is_open(start + SIZE));
        slot.grow(SIZE, SIZE + grown).expect("there is room");
        assert!(is_open(start + SIZE + grown - 1) && !is_open(start + SIZE + grown));
        assert!(read(&slot, SIZE + grown)[SIZE..].iter().all(|byte| *byte == 0));
        (SIZE..SIZE + grown).step_by(64 * 1024).for_each(|at| write(&slot, at));
        shelf.put_back(slot, SIZE + grown);
        assert!(is_open(start + SIZE - 1) && !is_open(start + SIZE));
    }
    let mut slot = shelf.take().expect("mapped");
    slot.grow(SIZE, CAPACITY).expect("there is room");
    assert!(!is_open(slot.start().addr() + CAPACITY));
}

#[test]
fn large_memories_are_reset_where_they_were_touched() {
    let pool = pool(1);
    let size = 100 << 20;
    let shelf = pool.shelf(Image::blank(size));
    for _ in 0..3 {
        let slot = shelf.take().expect("mapped");
        assert!(read(&slot, size).iter().all(|byte| *byte == 0));
        (0..size).step_by(5 << 20).for_each(|at| write(&slot, at));
        shelf.put_back(slot, size);
    }
}

#[test]
fn idle_slots_of_other_images_make_room() {
    let pool = pool(2);
    let shelves: Vec<_> = (0..3).map(|_| shelf(&pool)).collect();
    let take = |index: usize| shelves[index].take().expect("mapped");
    let put_back = |index: usize, slot| shelves[index].put_back(slot, SIZE);
    let slots = [0, 1, 2].map(take);
    let starts = slots.each_ref().map(Slot::start);
    slots.into_iter().enumerate().for_each(|(index, slot)| put_back(index, slot));
    assert!(!is_open(starts[0].addr()), "the one used longest ago is gone");
    assert!(is_open(starts[1].addr()) && is_open(starts[2].addr()));
    for slot in [2; 3].map(take) {
        put_back(2, slot);
    }
    assert!(!is_open(starts[1].addr()), "more of one image than of the others");
    drop(shelves);
    assert!(!is_open(starts[2].addr()), "nobody has the image any more");
}

#[test]
fn in_steady_state_a_request_takes_no_page_fault() {
    const ROUNDS: i64 = 1000;

    let shelf = shelf(&pool(1));
    let round = || {
        let slot = shelf.take().expect("mapped");
        for at in [0, 6000, 60 * PAGE, 61 * PAGE, SIZE - 1] {
            write(&slot, at);
        }
        shelf.put_back(slot, SIZE);
    };
    (0..100).for_each(|_| round());
    let before = faults();
    (0..ROUNDS).for_each(|_| round());
    let faults = faults() - before;
    assert!(faults < ROUNDS / 10, "{faults} faults in {ROUNDS} rounds");
}

#[test]
fn a_slot_with_too_much_memory_of_its_own_is_given_up() {
    let pool = pool(1);
    let image = Image::blank(16 << 20);
    let mut slot = Slot::new(&image, None, &pool.tracker).expect("mapped");
    // Pages are never written twice, so that none is hot.
    let fates = (0..60).map(|round| {
        (0..64).for_each(|page| write(&slot, (round * 64 + page) * PAGE));
        slot.reset(16 << 20, &image, &pool.tracker).expect("reset")
    });
    assert!(fates.collect::<Vec<_>>().contains(&Fate::Worn));
}
