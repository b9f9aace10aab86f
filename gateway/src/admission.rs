//! How many guests run at the same time, and how many requests wait.
//!
//! An app has at most its own number of instances, and all apps together have at most the process's. Half of those are
//! shared out, so that an app always gets its share, however many requests another has; the rest goes to whoever comes
//! first.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Permission to run an instance; returned when dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    _places: [Option<OwnedSemaphorePermit>; 3],
}

/// The process's places for instances.
#[derive(Debug)]
pub(crate) struct Places {
    capacity: u32,
    /// All places: more instances cannot be made.
    all: Arc<Semaphore>,
}

impl Places {
    pub(crate) fn new(capacity: u32) -> Self {
        Self { capacity, all: Arc::new(Semaphore::new(capacity as usize)) }
    }

    /// Shares the places out among `apps` apps.
    pub(crate) fn share(&self, apps: usize) -> Shares {
        let apps = u32::try_from(apps).unwrap_or(u32::MAX).max(1);
        let each = if apps == 1 { self.capacity } else { (self.capacity / 2 / apps).max(1) };
        let left = self.capacity.saturating_sub(each.saturating_mul(apps));
        Shares { each, common: Arc::new(Semaphore::new(left as usize)), all: Arc::clone(&self.all) }
    }
}

/// The places as shared out among the apps of one site.
#[derive(Clone, Debug)]
pub(crate) struct Shares {
    each: u32,
    common: Arc<Semaphore>,
    all: Arc<Semaphore>,
}

/// The bounded queue in front of an app's instances.
#[derive(Debug)]
pub(crate) struct Admission {
    /// The app's limit.
    own: Arc<Semaphore>,
    /// What is kept for this app.
    share: Arc<Semaphore>,
    shares: Shares,
    waiting: AtomicU32,
    queue: u32,
}

/// The queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QueueFull;

impl Admission {
    pub(crate) fn new(instances: u32, queue: u32, shares: Shares) -> Self {
        Self {
            own: Arc::new(Semaphore::new(instances as usize)),
            share: Arc::new(Semaphore::new(shares.each as usize)),
            shares,
            waiting: AtomicU32::new(0),
            queue,
        }
    }

    /// Takes a free place, or waits for one if the queue is not full.
    pub(crate) async fn admit(&self) -> Result<Permit, QueueFull> {
        if let Some(permit) = self.try_admit() {
            return Ok(permit);
        }
        let _place = Place::take(&self.waiting, self.queue)?;
        let own = wait(&self.own).await;
        let part = tokio::select! {
            biased;
            share = wait(&self.share) => share,
            common = wait(&self.shares.common) => common,
        };
        let place = wait(&self.shares.all).await;
        Ok(Permit { _places: [own, part, place] })
    }

    fn try_admit(&self) -> Option<Permit> {
        let own = free(&self.own)?;
        let part = free(&self.share).or_else(|| free(&self.shares.common))?;
        let place = free(&self.shares.all)?;
        Some(Permit { _places: [Some(own), Some(part), Some(place)] })
    }
}

fn free(places: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
    Arc::clone(places).try_acquire_owned().ok()
}

/// None of these semaphores is ever closed.
async fn wait(places: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
    Arc::clone(places).acquire_owned().await.ok()
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
impl Permit {
    /// A permit that takes no place.
    pub(crate) fn free() -> Self {
        Self { _places: [None, None, None] }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn the_queue_is_bounded_and_places_come_back() {
        let admission = Admission::new(1, 1, Places::new(10).share(1));
        let running = admission.admit().await.expect("free");
        let mut waiting = Box::pin(admission.admit());
        assert!(waiting.as_mut().now_or_never().is_none());
        assert_eq!(admission.admit().await.err(), Some(QueueFull));
        drop(running);
        drop(waiting.await.expect("admitted"));
        admission.admit().await.expect("free again");
    }

    #[tokio::test]
    async fn an_app_that_takes_all_it_can_leaves_the_others_their_share() {
        let shares = Places::new(8).share(2);
        let [greedy, modest] = [(); 2].map(|()| Admission::new(100, 0, shares.clone()));
        let mut taken = Vec::new();
        while let Ok(permit) = greedy.admit().await {
            taken.push(permit);
        }
        assert_eq!(taken.len(), 6, "its share of two, and all four that are common");
        let kept = [modest.admit().await.expect("kept"), modest.admit().await.expect("kept")];
        assert_eq!(modest.admit().await.err(), Some(QueueFull));
        drop(taken);
        modest.admit().await.expect("common places are free again");
        drop(kept);
    }

    #[tokio::test]
    async fn places_shared_out_anew_are_never_more_than_there_are() {
        let places = Places::new(2);
        let before = Admission::new(2, 0, places.share(1));
        let held = [before.admit().await.expect("free"), before.admit().await.expect("free")];
        let after = Admission::new(2, 1, places.share(2));
        assert!(after.admit().now_or_never().is_none(), "both places are taken by the earlier site");
        drop(held);
        after.admit().await.expect("free again");
    }
}
