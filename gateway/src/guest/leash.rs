//! A guest whose answer is being sent, ended at its deadline even if nobody polls it.
//!
//! A client that stops reading also stops the body from being polled, and with it the guest's own deadline. Without the
//! leash, slow clients could hold every instance there is.

use std::{
    cell::RefCell,
    rc::{Rc, Weak},
    sync::Arc,
};

use tokio::{
    task::{AbortHandle, spawn_local},
    time::sleep_until,
};

use super::task::GuestTask;
use crate::{body::BrokenOff, failure::Failure, record::Record};

/// What holds a guest.
pub(crate) trait Holds: 'static {
    fn task(&mut self) -> &mut GuestTask;
}

impl Holds for GuestTask {
    fn task(&mut self) -> &mut GuestTask {
        self
    }
}

/// Holds a guest until it is taken, or until its time is over.
pub(crate) struct Leash<T> {
    held: Rc<RefCell<Option<T>>>,
    watchdog: AbortHandle,
    record: Arc<Record>,
}

impl<T: Holds> Leash<T> {
    pub(crate) fn new(mut value: T, record: Arc<Record>) -> Self {
        let deadline = value.task().deadline();
        let held = Rc::new(RefCell::new(Some(value)));
        let (watched, noted) = (Rc::downgrade(&held), Arc::clone(&record));
        let watchdog = spawn_local(async move {
            sleep_until(deadline).await;
            end(&watched, &noted);
        });
        Self { held, watchdog: watchdog.abort_handle(), record }
    }

    /// Looks at the guest's holder, unless it is gone.
    pub(crate) fn with<R>(&self, look: impl FnOnce(&mut T) -> R) -> Option<R> {
        self.held.borrow_mut().as_mut().map(look)
    }

    /// Takes the guest's holder, unless it is gone.
    pub(crate) fn take(&self) -> Option<T> {
        self.watchdog.abort();
        self.held.borrow_mut().take()
    }

    /// Whether a failure is known: of a guest on another thread, before the end of the guest is.
    pub(crate) fn has_failed(&self) -> bool {
        self.record.has_failed()
    }

    /// Ends the guest, and notes why its answer is not complete.
    pub(crate) fn break_off(&self) -> BrokenOff {
        let failure = self.take().and_then(|mut held| held.task().take_failure());
        self.record.fail(&failure.unwrap_or(Failure::BrokeOff));
        BrokenOff
    }

    /// Notes that the answer is complete, and takes the guest's holder.
    pub(crate) fn complete(&self) -> Option<T> {
        self.record.complete();
        self.take()
    }
}

fn end<T>(held: &Weak<RefCell<Option<T>>>, record: &Record) {
    if let Some(held) = held.upgrade() {
        // Dropped after the borrow has ended: dropping a guest runs code.
        let ended = held.borrow_mut().take();
        if ended.is_some() {
            record.fail(&Failure::DeadlineWhileSending);
        }
    }
}

impl<T> Drop for Leash<T> {
    fn drop(&mut self) {
        self.watchdog.abort();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::task::LocalSet;

    use super::*;
    use crate::admission::Permit;

    #[tokio::test]
    async fn lets_go_at_the_deadline() {
        let local = LocalSet::new();
        local
            .run_until(async {
                let record = Record::new(&http::Method::GET, &http::Uri::default(), [127, 0, 0, 1].into());
                let never = std::future::pending();
                let task = GuestTask::new(never, Duration::from_millis(1), Permit::free(), Arc::clone(&record));
                let leash = Leash::new(task, record);
                while leash.with(|_| ()).is_some() {
                    tokio::task::yield_now().await;
                }
                assert!(leash.take().is_none());
            })
            .await;
    }
}
