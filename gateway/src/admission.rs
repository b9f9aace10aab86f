//! How many guests run at the same time, and how many requests wait.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Permission to run an instance; returned when dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    _permit: OwnedSemaphorePermit,
}

/// The bounded queue in front of an app's instances.
#[derive(Clone, Debug)]
pub(crate) struct Admission {
    permits: Arc<Semaphore>,
    waiting: Arc<AtomicU32>,
    queue: u32,
}

/// The queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QueueFull;

impl Admission {
    pub(crate) fn new(instances: u32, queue: u32) -> Self {
        Self { permits: Arc::new(Semaphore::new(instances as usize)), waiting: Arc::default(), queue }
    }

    /// Takes a free place, or waits for one if the queue is not full.
    pub(crate) async fn admit(&self) -> Result<Permit, QueueFull> {
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            return Ok(Permit { _permit: permit });
        }
        let _place = Place::take(&self.waiting, self.queue)?;
        let permit = Arc::clone(&self.permits).acquire_owned().await.expect("the semaphore is never closed");
        Ok(Permit { _permit: permit })
    }
}

/// A place in the queue, given up when dropped: also when the client leaves.
struct Place<'a>(&'a AtomicU32);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicU32, queue: u32) -> Result<Self, QueueFull> {
        if waiting.fetch_add(1, Ordering::Relaxed) >= queue {
            waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(QueueFull);
        }
        Ok(Self(waiting))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn the_queue_is_bounded_and_places_come_back() {
        let admission = Admission::new(1, 1);
        let running = admission.admit().await.expect("free");
        let mut waiting = Box::pin(admission.admit());
        assert!(waiting.as_mut().now_or_never().is_none());
        assert_eq!(admission.admit().await.err(), Some(QueueFull));
        drop(running);
        drop(waiting.await.expect("admitted"));
        admission.admit().await.expect("free again");
    }
}
