//! A running guest, polled by whoever waits for its answer.
//!
//! The guest runs inside of the task of its request: no hand-over between tasks on the hot path, and a client that
//! leaves drops the guest with everything else. A guest which still has work after its answer becomes a task of its own,
//! until it is done or its time is over; one that computes for long goes on on a thread that gives way to others.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

use crate::{admission::Permit, background::Movable, failure::Failure, record::Record, store::end::End};

type Outcome = Result<End, Failure>;

/// A guest, its permit and its deadline.
pub(crate) struct GuestTask {
    state: Progress,
    deadline: Pin<Box<Sleep>>,
    limit: Duration,
    record: Arc<Record>,
}

enum Progress {
    Running(Movable<Outcome>),
    Ended(End),
    Failed(Option<Failure>),
}

impl GuestTask {
    pub(crate) fn new(
        guest: impl Future<Output = Outcome> + Send + 'static,
        limit: Duration,
        permit: Permit,
        record: Arc<Record>,
    ) -> Self {
        let guest = async move {
            // Returned when the guest has ended, wherever that is: not sooner, since it takes up a slot until then, and
            // not later, when the client has read the answer.
            let _permit = permit;
            guest.await
        };
        Self {
            state: Progress::Running(Movable::new(guest)),
            deadline: Box::pin(sleep_until(Instant::now() + limit)),
            limit,
            record,
        }
    }

    /// Lets the guest run until it waits. Ready once it has ended, for whatever reason.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Progress::Running(guest) = &mut self.state else { return Poll::Ready(()) };
        let progress = Pin::new(guest).poll(cx);
        self.state = match progress {
            Poll::Ready(Ok(end)) => Progress::Ended(end),
            Poll::Ready(Err(failure)) => Progress::Failed(Some(failure)),
            // Dropping the guest ends it.
            Poll::Pending if self.deadline.as_mut().poll(cx).is_ready() => {
                Progress::Failed(Some(Failure::Deadline { limit: self.limit }))
            }
            Poll::Pending => return Poll::Pending,
        };
        Poll::Ready(())
    }

    /// When the guest's time is over.
    pub(crate) fn deadline(&self) -> Instant {
        self.deadline.deadline()
    }

    /// Whether the guest has not ended, as far as it has been polled.
    pub(crate) fn is_running(&self) -> bool {
        matches!(self.state, Progress::Running(_))
    }

    /// Whether the guest has failed.
    pub(crate) fn has_failed(&self) -> bool {
        matches!(self.state, Progress::Failed(_))
    }

    /// Takes the failure, if there is one.
    pub(crate) fn take_failure(&mut self) -> Option<Failure> {
        match &mut self.state {
            Progress::Failed(failure) => failure.take(),
            _ => None,
        }
    }

    /// How the guest ended, if it did without failing.
    pub(crate) fn end(&self) -> Option<End> {
        match self.state {
            Progress::Ended(end) => Some(end),
            _ => None,
        }
    }

    /// The answer is complete: lets the guest do what it still has to, and notes if that fails.
    pub(crate) fn finish(mut self, cx: &mut Context<'_>) {
        if self.poll(cx).is_pending() {
            tokio::task::spawn_local(async move {
                std::future::poll_fn(|cx| self.poll(cx)).await;
                self.note_failure();
            });
        } else {
            self.note_failure();
        }
    }

    fn note_failure(&mut self) {
        if let Some(failure) = self.take_failure() {
            self.record.fail(&failure);
        }
    }
}
