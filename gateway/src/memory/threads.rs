//! Parts for each thread that serves, so that threads do not wait for each other.

use std::{
    cell::Cell,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

/// A part for each of a number of threads, and some more: who asks first gets the first, serving or not, and two that
/// serve are not to share one.
pub(super) struct Threads<T>(Box<[Apart<T>]>);

/// Aligned so that no two threads write to one line of the cache, nor to two which the processor fetches together.
#[repr(align(128))]
#[derive(Default)]
struct Apart<T>(T);

impl<T: Default> Threads<T> {
    pub(super) fn new(threads: usize) -> Self {
        Self((0..threads.max(1) * 4).map(|_| Apart::default()).collect())
    }
}

impl<T> Threads<T> {
    /// The present thread's part.
    pub(super) fn own(&self) -> &T {
        self.get(self.number())
    }

    /// The number of the present thread's part.
    pub(super) fn number(&self) -> usize {
        static SEEN: AtomicUsize = AtomicUsize::new(0);
        thread_local!(static NUMBER: Cell<Option<usize>> = const { Cell::new(None) });
        let number = NUMBER.get().unwrap_or_else(|| SEEN.fetch_add(1, Relaxed));
        NUMBER.set(Some(number));
        number % self.0.len()
    }

    /// The part with that number, counted round.
    pub(super) fn get(&self, number: usize) -> &T {
        &self.0[number % self.0.len()].0
    }

    /// The number of all parts.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.0.iter_mut().map(|part| &mut part.0)
    }
}
