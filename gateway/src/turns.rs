//! Turns: how the apps of a site share a worker.
//!
//! A worker answers what is ready in the order in which it came. If one app is asked by a hundred clients at once, the
//! one request of another would wait for all of theirs. So while a worker serves several apps, each may begin a few
//! requests only, before the worker looks for what has come in meanwhile.

use std::{
    cell::{Cell, RefCell},
    sync::Arc,
};

use tokio::{
    sync::{Notify, Semaphore},
    task::yield_now,
};

/// Requests that an app may begin between two looks. Each look is a system call, and an answer takes tens of
/// microseconds.
const TURNS: usize = 4;
/// Requests after which a worker that has served one app only no longer counts turns.
const ALONE: u32 = 1_000;

/// An app's turns on one worker.
pub(crate) type Share = Arc<Semaphore>;

/// A full share.
pub(crate) fn share() -> Share {
    Arc::new(Semaphore::new(TURNS))
}

/// The turns of one worker.
#[derive(Default)]
pub(crate) struct Turns {
    /// Shares of which nothing is left.
    drained: RefCell<Vec<Share>>,
    is_drained: Notify,
    /// The app that was served last, by its share.
    last: Cell<usize>,
    /// Requests since another app than that was served.
    alone: Cell<u32>,
}

impl Turns {
    /// Waits for the app's turn.
    pub(crate) async fn take(&self, share: &Share) {
        if self.is_alone(share) {
            return;
        }
        let turn = match share.try_acquire() {
            Ok(turn) => Ok(turn),
            Err(_) => share.acquire().await,
        };
        // Shares are never closed.
        let Ok(turn) = turn else { return };
        turn.forget();
        if share.available_permits() == 0 {
            let mut drained = self.drained.borrow_mut();
            if !drained.iter().any(|known| Arc::ptr_eq(known, share)) {
                drained.push(Arc::clone(share));
            }
            self.is_drained.notify_one();
        }
    }

    fn is_alone(&self, share: &Share) -> bool {
        let this = Arc::as_ptr(share).addr();
        let alone = if self.last.replace(this) == this { self.alone.get().saturating_add(1) } else { 0 };
        self.alone.set(alone);
        alone > ALONE
    }

    /// Fills shares again, each time the worker has looked for what has come in. Runs as long as the worker does.
    pub(crate) async fn run(&self) {
        loop {
            self.is_drained.notified().await;
            // Comes back after the runtime has asked the system for events.
            yield_now().await;
            self.fill();
        }
    }

    fn fill(&self) {
        for share in self.drained.take() {
            share.add_permits(TURNS.saturating_sub(share.available_permits()));
        }
    }
}

impl Drop for Turns {
    /// Shares outlive a worker that is there for a single request.
    fn drop(&mut self) {
        self.fill();
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use tokio::task::LocalSet;

    use super::*;

    #[tokio::test]
    async fn one_request_does_not_wait_for_a_hundred_of_another_app() {
        let local = LocalSet::new();
        let (turns, order) = (Rc::new(Turns::default()), Rc::new(RefCell::new(Vec::new())));
        let [greedy, modest] = [share(), share()];
        let ask = |name: &'static str, share: &Share| {
            let (turns, order, share) = (Rc::clone(&turns), Rc::clone(&order), Arc::clone(share));
            async move {
                turns.take(&share).await;
                order.borrow_mut().push(name);
            }
        };
        let running = Rc::clone(&turns);
        local.spawn_local(async move { running.run().await });
        let mut asked: Vec<_> = (0..100).map(|_| local.spawn_local(ask("greedy", &greedy))).collect();
        asked.push(local.spawn_local(ask("modest", &modest)));
        local
            .run_until(async {
                for task in asked {
                    task.await.expect("no panic")
                }
            })
            .await;
        let order = order.borrow();
        assert_eq!(order.len(), 101, "all have their turn");
        let place = order.iter().position(|name| *name == "modest").expect("asked");
        assert!(place <= 2 * TURNS, "{place}");
    }

    #[tokio::test]
    async fn an_app_alone_does_not_wait() {
        let turns = Turns::default();
        let share = share();
        let local = LocalSet::new();
        local
            .run_until(async {
                tokio::select! {
                    () = turns.run() => {}
                    () = async { for _ in 0..2 * ALONE { turns.take(&share).await } } => {}
                }
            })
            .await;
        let before = share.available_permits();
        turns.take(&share).await;
        assert_eq!(share.available_permits(), before, "no turn is counted");
    }
}
