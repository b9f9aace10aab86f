//! Idle slots, by image and by thread.
//!
//! A slot goes back to the shelf it came from, so that it need not be mapped anew. Each thread has a part of each shelf
//! to itself: as long as instances end where they began, no two threads wait for each other.

use std::{
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use super::{
    heat::Runs,
    image::Image,
    slot::{Fate, Slot},
    stacks::Stacks,
    threads::Threads,
    tracker::{Tracker, Unsupported},
};

/// The memories and stacks of a process's instances.
pub(crate) struct Pool {
    pub(super) tracker: Tracker,
    pub(super) stacks: Arc<Stacks>,
    counts: Threads<Count>,
    /// Idle slots of one thread.
    limit: usize,
    shelves: Mutex<Vec<Weak<Shelf>>>,
    threads: usize,
}

/// What a thread keeps count of.
#[derive(Default)]
struct Count {
    idle: AtomicUsize,
    /// Slots that were put back so far.
    clock: AtomicU64,
}

/// The slots of one image.
pub(super) struct Shelf {
    pub(super) image: Image,
    learned: Mutex<Option<Runs>>,
    parts: Threads<Part>,
    pool: Arc<Pool>,
}

/// A thread's part of a shelf.
#[derive(Default)]
struct Part {
    idle: Mutex<Vec<Slot>>,
    /// When a slot was last put here, by the thread's clock.
    used: AtomicU64,
}

impl Pool {
    /// A pool for `threads` threads which keeps up to `idle` slots for later.
    ///
    /// # Errors
    /// If the system cannot track which pages are written.
    pub(crate) fn new(threads: usize, idle: usize) -> Result<Arc<Self>, Unsupported> {
        Ok(Arc::new(Self {
            tracker: Tracker::new()?,
            stacks: Arc::new(Stacks::new(threads, idle)),
            counts: Threads::new(threads),
            limit: idle.div_ceil(threads.max(1)),
            shelves: Mutex::default(),
            threads,
        }))
    }

    /// A shelf for slots of an image.
    pub(super) fn shelf(self: &Arc<Self>, image: Image) -> Arc<Shelf> {
        let parts = Threads::new(self.threads);
        let shelf = Arc::new(Shelf { image, learned: Mutex::default(), parts, pool: Arc::clone(self) });
        let mut shelves = lock(&self.shelves);
        shelves.retain(|shelf| shelf.strong_count() > 0);
        shelves.push(Arc::downgrade(&shelf));
        shelf
    }

    /// Drops an idle slot of the shelf that this thread has not used for longest, `but` one shelf. Whether there is any.
    fn make_room(&self, thread: usize, but: &Shelf) -> bool {
        let shelves: Vec<_> = lock(&self.shelves).iter().filter_map(Weak::upgrade).collect();
        let others = shelves.iter().filter(|shelf| !std::ptr::eq(&***shelf, but));
        let parts = others.map(|shelf| shelf.parts.get(thread)).filter(|part| !lock(&part.idle).is_empty());
        let Some(part) = parts.min_by_key(|part| part.used.load(Relaxed)) else { return false };
        let slot = lock(&part.idle).pop();
        if slot.is_some() {
            self.counts.get(thread).idle.fetch_sub(1, Relaxed);
        }
        slot.is_some()
    }
}

impl Shelf {
    /// A slot that holds the image: an idle one, or a new one.
    pub(super) fn take(&self) -> io::Result<Slot> {
        let own = self.parts.number();
        for thread in own..own + self.parts.len() {
            let slot = lock(&self.parts.get(thread).idle).pop();
            if let Some(slot) = slot {
                self.pool.counts.get(thread).idle.fetch_sub(1, Relaxed);
                return Ok(slot);
            }
        }
        Slot::new(&self.image, lock(&self.learned).clone(), &self.pool.tracker)
    }

    /// Resets a slot whose memory has `size` bytes, and keeps it for later.
    pub(super) fn put_back(&self, mut slot: Slot, size: usize) {
        match slot.reset(size, &self.image, &self.pool.tracker) {
            Ok(Fate::Idle) => {}
            Ok(Fate::Learned(hot)) => *lock(&self.learned) = Some(hot),
            Ok(Fate::Worn) => return,
            Err(error) => {
                tracing::warn!("a memory cannot be reset, and is not used again: {error}");
                return;
            }
        }
        let thread = self.parts.number();
        let count = self.pool.counts.get(thread);
        if count.idle.load(Relaxed) >= self.pool.limit && !self.pool.make_room(thread, self) {
            return;
        }
        let part = self.parts.get(thread);
        part.used.store(count.clock.fetch_add(1, Relaxed), Relaxed);
        count.idle.fetch_add(1, Relaxed);
        lock(&part.idle).push(slot);
    }
}

impl Drop for Shelf {
    fn drop(&mut self) {
        for (thread, part) in self.parts.iter_mut().enumerate() {
            let idle = part.idle.get_mut().unwrap_or_else(PoisonError::into_inner).len();
            self.pool.counts.get(thread).idle.fetch_sub(idle, Relaxed);
        }
    }
}

/// No code runs under these locks that can panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
