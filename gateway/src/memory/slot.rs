//! One memory: address space, an image in it, and the knowledge which of its pages differ from that.
//!
//! ```text
//! | guard | image: file and zeros | room to grow, tracked | ... up to 4 GiB: given back | guard |
//!         ^ start                 ^ image.size()          ^ tracked
//!         |<- accessible: the memory's present size ->|
//! ```
//!
//! Invariants of an idle slot, which [`Slot::reset`] restores or fails:
//! - Exactly the image's size is accessible. A guest that reaches beyond its memory meets a page without access, as
//!   code without bounds checks relies on; what earlier instances had grown to cannot be told.
//! - Each tracked page holds what the image says, or zero beyond the image.
//! - Each tracked page is protected, or is in a hot run, which the next reset restores whatever happened to it.
//! - Pages beyond the tracked ones have been given back: they are zero.
//!
//! Whoever has a slot is the only one to use its bytes: a guest, and after it nobody but the reset.

use std::{io, ops::Range};

use super::{
    heat::{Change, Heat, Runs},
    image::Image,
    reservation::{PAGE, Reservation},
    tracker::Tracker,
};

/// What a memory can grow to without being moved. Code elides bounds checks in 32-bit memories of as much.
pub(super) const CAPACITY: usize = 4 << 30;
/// Inaccessible bytes on both sides: a constant offset of a load or store may reach as far. Wasmtime's default.
pub(super) const GUARD: usize = 32 << 20;

/// Zeros that are tracked behind what an image fills, and room to grow that is behind the image. The scan looks at each
/// tracked page, so that there is a bound on them; what lies beyond is given back after each request that had it.
const TRACKED_ZEROS: usize = 16 << 20;
const TRACKED_GROWTH: usize = 4 << 20;

/// A slot takes memory of its own for each page that was ever written. It is worn out after so many writes to pages that
/// are not hot, or as many as a quarter of its tracked pages.
const WEAR: usize = 1024;

/// A recyclable memory.
pub(super) struct Slot {
    space: Reservation,
    /// Bytes from the start which are tracked.
    tracked: usize,
    heat: Heat,
    wear: usize,
}

/// What becomes of a slot that has been reset.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is as new.
    Idle,
    /// The same, and others can do with what it has learned.
    Learned(Runs),
    /// It has more memory of its own than it is worth.
    Worn,
}

impl Slot {
    /// A new memory that holds the image.
    pub(super) fn new(image: &Image, learned: Option<Runs>, tracker: &Tracker) -> io::Result<Self> {
        let space = Reservation::new(GUARD + CAPACITY + GUARD)?;
        let zeros = image.filled().saturating_add(TRACKED_ZEROS);
        let tracked = image.size().saturating_add(TRACKED_GROWTH).min(zeros).min(CAPACITY);
        image.lay(&space, GUARD)?;
        let slot = Self { space, tracked, heat: Heat::new(learned), wear: 0 };
        if tracked > 0 {
            slot.space.keep_small(&at(&(0..tracked)))?;
            tracker.watch(&slot.addresses(0..tracked))?;
            tracker.protect(&slot.addresses(0..tracked))?;
        }
        Ok(slot)
    }

    /// Where the memory begins.
    pub(super) fn start(&self) -> *mut u8 {
        self.space.at(GUARD)
    }

    /// Makes the memory larger. What is new is zero.
    pub(super) fn grow(&mut self, from: usize, to: usize) -> io::Result<()> {
        self.space.open(&at(&(from..to)))
    }

    /// Makes the memory, which has `size` bytes, the image again.
    ///
    /// If that fails, the slot must not be used any more.
    pub(super) fn reset(&mut self, size: usize, image: &Image, tracker: &Tracker) -> io::Result<Fate> {
        let end = size.min(self.tracked);
        for run in self.heat.hot().iter() {
            restore(&self.space, image, bytes(run).start..bytes(run).end.min(end));
        }
        self.restore_cold(end, image, tracker)?;
        self.shrink(size, image.size())?;
        Ok(match self.heat.end_request() {
            _ if self.wear > WEAR.max(self.tracked / PAGE / 4) => Fate::Worn,
            Change::None => Fate::Idle,
            Change::Learned(hot) => Fate::Learned(hot),
            Change::Forgotten(hot) => {
                for run in hot.iter() {
                    tracker.protect(&self.addresses(bytes(run)))?;
                }
                Fate::Idle
            }
        })
    }

    /// Restores the pages that are found written, and protects them again.
    fn restore_cold(&mut self, end: usize, image: &Image, tracker: &Tracker) -> io::Result<()> {
        let start = self.start().addr();
        let Self { space, heat, wear, .. } = self;
        tracker.written(&(start..start + end), |found| {
            heat.cold(pages(&(found.start - start..found.end - start)), |run| {
                *wear += run.len();
                restore(space, image, bytes(&run));
                tracker.protect(&(start + bytes(&run).start..start + bytes(&run).end))
            })
        })
    }

    /// Takes the room away that the memory has grown by, and gives back what is not tracked.
    fn shrink(&self, size: usize, image: usize) -> io::Result<()> {
        if image > self.tracked {
            self.space.give_back(&at(&(self.tracked..image)))?;
        }
        let untracked = image.max(self.tracked);
        if size > untracked {
            self.space.vacate(&at(&(untracked..size)))?;
        }
        if size.min(untracked) > image {
            self.space.close(&at(&(image..size.min(untracked))))?;
        }
        Ok(())
    }

    fn addresses(&self, range: Range<usize>) -> Range<usize> {
        let start = self.start().addr();
        start + range.start..start + range.end
    }
}

/// Puts back what a range of bytes of a memory held at the start.
#[expect(unsafe_code, reason = "writes to a memory that no instance has")]
fn restore(space: &Reservation, image: &Image, range: Range<usize>) {
    if range.start < range.end {
        // SAFETY: the range is within the memory's present size, and so accessible. The instance is gone: the slot's
        // owner has called `reset`, through a unique reference.
        unsafe { image.restore(space, GUARD, range) }
    }
}

/// Where bytes of a memory are within its reservation.
fn at(range: &Range<usize>) -> Range<usize> {
    GUARD + range.start..GUARD + range.end
}

fn bytes(pages: &Range<u32>) -> Range<usize> {
    pages.start as usize * PAGE..pages.end as usize * PAGE
}

fn pages(bytes: &Range<usize>) -> Range<u32> {
    // At most 2^20 pages are tracked.
    (bytes.start / PAGE) as u32..(bytes.end / PAGE) as u32
}
