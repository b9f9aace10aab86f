//! A guest whose answer is being sent, ended at its deadline even if nobody polls it.
//!
//! A client that stops reading also stops the body from being polled, and with it the guest's own deadline. Without the
//! leash, slow clients could hold every instance there is.

use std::{
    cell::RefCell,
    rc::{Rc, Weak},
};

use tokio::{
    task::{AbortHandle, spawn_local},
    time::{Instant, sleep_until},
};

/// Holds a value until it is taken, or until its time is over.
pub(crate) struct Leash<T> {
    held: Rc<RefCell<Option<T>>>,
    watchdog: AbortHandle,
}

impl<T: 'static> Leash<T> {
    pub(crate) fn new(value: T, deadline: Instant) -> Self {
        let held = Rc::new(RefCell::new(Some(value)));
        let watchdog = spawn_local(end_at(deadline, Rc::downgrade(&held))).abort_handle();
        Self { held, watchdog }
    }

    /// Looks at the value, unless it is gone.
    pub(crate) fn with<R>(&self, look: impl FnOnce(&mut T) -> R) -> Option<R> {
        self.held.borrow_mut().as_mut().map(look)
    }

    /// Takes the value, unless it is gone.
    pub(crate) fn take(&self) -> Option<T> {
        self.watchdog.abort();
        self.held.borrow_mut().take()
    }
}

async fn end_at<T>(deadline: Instant, held: Weak<RefCell<Option<T>>>) {
    sleep_until(deadline).await;
    if let Some(held) = held.upgrade() {
        // Dropped after the borrow has ended: dropping a guest runs code.
        let ended = held.borrow_mut().take();
        if ended.is_some() {
            tracing::warn!("the answer was not complete at the guest's deadline; it is broken off");
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

    #[tokio::test]
    async fn lets_go_at_the_deadline() {
        let local = LocalSet::new();
        local
            .run_until(async {
                let leash = Leash::new((), Instant::now() + Duration::from_millis(1));
                while leash.with(|()| ()).is_some() {
                    tokio::task::yield_now().await;
                }
                assert_eq!(leash.take(), None);
            })
            .await;
    }
}
