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
//! - Each tracked page is protected, or is in a hot run, which the next reset restores whatever happened to it, or is in
//!   a chunk that nobody has touched: there is no page in it. As soon as there is one, the chunk is given back.
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

/// What one of the system's page tables describes. Looking for pages is quick where there is no table, and looking for
/// written ones means looking at each entry: so a memory is protected by chunks, when it is first touched in one.
const CHUNK: usize = 2 << 20;
/// Room to grow that is tracked. What lies beyond is given back after each request that had it.
const TRACKED_GROWTH: usize = 4 << 20;
/// A slot takes memory of its own for each page that was ever written. It is worn out after so many writes to pages that
/// are not hot, or as many as an eighth of its tracked pages.
const WEAR: usize = 1024;

/// A recyclable memory.
pub(super) struct Slot {
    space: Reservation,
    /// Where the memory begins, within the space: at the start of a chunk.
    start: usize,
    /// Bytes from the start which are tracked.
    tracked: usize,
    /// Chunks whose pages are protected, but for hot ones.
    protected: Box<[bool]>,
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
        let space = Reservation::new(CHUNK + GUARD + CAPACITY + GUARD)?;
        let start = space.at(GUARD).addr().next_multiple_of(CHUNK) - space.at(0).addr();
        let tracked = image.size().saturating_add(TRACKED_GROWTH).min(CAPACITY);
        let protected = vec![false; tracked.div_ceil(CHUNK)].into();
        let slot = Self { space, start, tracked, protected, heat: Heat::new(learned), wear: 0 };
        image.lay(&slot.space, start)?;
        slot.space.keep_small(&slot.at(0..tracked))?;
        tracker.watch(&slot.addresses(0..tracked))?;
        Ok(slot)
    }

    /// Where the memory begins.
    pub(super) fn start(&self) -> *mut u8 {
        self.space.at(self.start)
    }

    /// Makes the memory larger. What is new is zero.
    pub(super) fn grow(&mut self, from: usize, to: usize) -> io::Result<()> {
        self.space.open(&self.at(from..to))
    }

    /// Makes the memory, which has `size` bytes, the image again.
    ///
    /// If that fails, the slot must not be used any more.
    pub(super) fn reset(&mut self, size: usize, image: &Image, tracker: &Tracker) -> io::Result<Fate> {
        let end = size.min(self.tracked);
        for run in self.heat.hot().iter() {
            self.restore(image, bytes(run).start..bytes(run).end.min(end));
        }
        self.restore_cold(end, image, tracker)?;
        self.shrink(size, image.size())?;
        Ok(match self.heat.end_request() {
            _ if self.wear > WEAR.max(self.tracked / PAGE / 8) => Fate::Worn,
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
        let mut next = 0;
        while next < end.div_ceil(CHUNK) {
            let chunks = self.chunks_alike(next);
            let range = start + chunks.start * CHUNK..start + end.min(chunks.end * CHUNK);
            next = chunks.end;
            if self.protected[chunks.start] {
                tracker
                    .written(&range, |run| self.restore_run(&(run.start - start..run.end - start), image, tracker))?;
            } else {
                tracker.touched(&range, |run| self.protect_chunks(&(run.start - start..run.end - start), tracker))?;
            }
        }
        Ok(())
    }

    /// Chunks from the first on which are all protected, or all not.
    fn chunks_alike(&self, first: usize) -> Range<usize> {
        let rest = self.protected[first..].iter();
        first..first + rest.take_while(|protected| **protected == self.protected[first]).count()
    }

    fn restore_run(&mut self, run: &Range<usize>, image: &Image, tracker: &Tracker) -> io::Result<()> {
        for run in self.heat.cold(pages(run)) {
            self.wear += run.len();
            self.heat.count(run.clone());
            self.restore(image, bytes(&run));
            tracker.protect(&self.addresses(bytes(&run)))?;
        }
        Ok(())
    }

    /// Makes the chunks of a run the image by giving back what there is in them, and protects them.
    fn protect_chunks(&mut self, run: &Range<usize>, tracker: &Tracker) -> io::Result<()> {
        for chunk in run.start / CHUNK..run.end.div_ceil(CHUNK) {
            // Unless it was so for an earlier run.
            if !self.protected[chunk] {
                let range = chunk * CHUNK..self.tracked.min((chunk + 1) * CHUNK);
                self.space.give_back(&self.at(range.clone()))?;
                tracker.protect(&self.addresses(range))?;
                self.protected[chunk] = true;
            }
        }
        Ok(())
    }

    /// Puts back what a range of bytes held at the start.
    #[expect(unsafe_code, reason = "writes to a memory that no instance has")]
    fn restore(&self, image: &Image, range: Range<usize>) {
        if !range.is_empty() {
            // SAFETY: the range is within the memory's present size, and so accessible. The instance is gone: the slot's
            // owner has called `reset`, through a unique reference.
            unsafe { image.restore(&self.space, self.start, range) }
        }
    }

    /// Takes the room away that the memory has grown by, and gives back what is not tracked.
    fn shrink(&self, size: usize, image: usize) -> io::Result<()> {
        if size > self.tracked {
            self.space.vacate(&self.at(self.tracked..size))?;
        }
        let end = size.min(self.tracked);
        if end > image {
            self.space.close(&self.at(image..end))?;
        }
        Ok(())
    }

    /// Where bytes of the memory are within the reservation.
    fn at(&self, range: Range<usize>) -> Range<usize> {
        self.start + range.start..self.start + range.end
    }

    fn addresses(&self, range: Range<usize>) -> Range<usize> {
        let start = self.start().addr();
        start + range.start..start + range.end
    }
}

fn bytes(pages: &Range<u32>) -> Range<usize> {
    pages.start as usize * PAGE..pages.end as usize * PAGE
}

fn pages(bytes: &Range<usize>) -> Range<u32> {
    // There are at most 2^20 pages in a memory.
    (bytes.start / PAGE) as u32..(bytes.end / PAGE) as u32
}
