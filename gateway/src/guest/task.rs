//! A running guest, polled by whoever waits for its answer.
//!
//! The guest runs inside of the task of its request: no hand-over between tasks on the hot path, and a client that
//! leaves drops the guest with everything else. A guest which still has work after its answer becomes a task of its own,
//! until it is done or its time is over; one that computes for long goes on on a thread that gives way to others.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant as Clock},
};

use async_task::Task;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::{admission::Permit, background, failure::Failure, record::Record, store::end::End};

/// The time for which a guest may compute on its worker. An answer rarely takes a tenth of it, and two epochs are more.
const WORKER_TIME: Duration = Duration::from_millis(2);

type Outcome = Result<End, Failure>;
type Running = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// A guest, its permit and its deadline.
pub(crate) struct GuestTask {
    state: Progress,
    deadline: Pin<Box<Sleep>>,
    limit: Duration,
    record: Arc<Record>,
    /// How long it has computed on this worker.
    computed: Duration,
}

enum Progress {
    Running(Running),
    /// On another thread.
    Away(Task<Outcome>),
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
            state: Progress::Running(Box::pin(guest)),
            deadline: Box::pin(sleep_until(Instant::now() + limit)),
            limit,
            record,
            computed: Duration::ZERO,
        }
    }

    /// Lets the guest run until it waits. Ready once it has ended, for whatever reason.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let progress = match &mut self.state {
            Progress::Running(guest) => {
                let begin = Clock::now();
                let progress = guest.as_mut().poll(cx);
                self.computed += begin.elapsed();
                progress
            }
            Progress::Away(task) => Pin::new(task).poll(cx),
            Progress::Ended(_) | Progress::Failed(_) => return Poll::Ready(()),
        };
        self.state = match progress {
            Poll::Ready(Ok(end)) => Progress::Ended(end),
            Poll::Ready(Err(failure)) => Progress::Failed(Some(failure)),
            // Dropping the guest ends it.
            Poll::Pending if self.deadline.as_mut().poll(cx).is_ready() => {
                Progress::Failed(Some(Failure::Deadline { limit: self.limit }))
            }
            Poll::Pending => {
                if self.computed > WORKER_TIME {
                    self.send_away(cx);
                }
                return Poll::Pending;
            }
        };
        Poll::Ready(())
    }

    /// Lets the guest go on on another thread.
    fn send_away(&mut self, cx: &mut Context<'_>) {
        self.computed = Duration::ZERO;
        let state = std::mem::replace(&mut self.state, Progress::Failed(None));
        self.state = match state {
            Progress::Running(guest) => {
                // Its wake-ups were for this task, and are for the other one from now on: both look once more.
                cx.waker().wake_by_ref();
                Progress::Away(background::go_on(guest))
            }
            state => state,
        };
    }

    /// When the guest's time is over.
    pub(crate) fn deadline(&self) -> Instant {
        self.deadline.deadline()
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
