//! Threads for guests that compute for long.
//!
//! A worker serves many connections, and while a guest computes on it, the others wait for the guest's next epoch. So a
//! guest that has used up its time there goes on here, on threads which the system runs when workers leave it time.
//! They take turns: each runs until its next epoch.

use std::{
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        mpsc::{Receiver, Sender, channel},
    },
    task::{Context, Poll},
    thread,
    time::{Duration, Instant},
};

use async_task::{Runnable, Task};
use tokio::runtime::Handle;

/// Added to the niceness of these threads. Against a worker that is busy, the system gives one of them about a tenth of
/// a core.
const NICENESS: i32 = 10;

/// The time for which a future may compute where it was begun. An answer rarely takes a tenth of it, and two epochs are
/// more.
const WORKER_TIME: Duration = Duration::from_millis(2);

/// The least time that counts: about half of an epoch, after which a guest that computes has to yield.
const SLICE: Duration = Duration::from_micros(500);

/// A guest that computes where it is polled, until it has used up its time there, and goes on on a background thread.
pub(crate) struct Movable<T> {
    place: Place<T>,
    /// How long it has computed here.
    computed: Duration,
}

enum Place<T> {
    Here(Pin<Box<dyn Future<Output = T> + Send>>),
    Away(Task<T>),
    /// On its way, or done.
    Nowhere,
}

impl<T: Send + 'static> Movable<T> {
    pub(crate) fn new(guest: impl Future<Output = T> + Send + 'static) -> Self {
        Self { place: Place::Here(Box::pin(guest)), computed: Duration::ZERO }
    }
}

impl<T: Send + 'static> Future for Movable<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let progress = match &mut self.place {
            Place::Here(guest) => {
                let begin = Instant::now();
                let progress = guest.as_mut().poll(cx);
                let time = begin.elapsed();
                // Shorter ones are those of a guest that waits in between, and may serve many requests.
                if time >= SLICE {
                    self.computed += time;
                }
                progress
            }
            Place::Away(task) => Pin::new(task).poll(cx),
            Place::Nowhere => Poll::Pending,
        };
        if progress.is_ready() {
            // Its memory and its permit are for the next one, now.
            self.place = Place::Nowhere;
        } else if self.computed > WORKER_TIME {
            self.computed = Duration::ZERO;
            self.place = match std::mem::replace(&mut self.place, Place::Nowhere) {
                Place::Here(guest) => {
                    // Its wake-ups were for this task, and are for the other one from now on: both look once more.
                    cx.waker().wake_by_ref();
                    Place::Away(go_on(guest))
                }
                place => place,
            };
        }
        progress
    }
}

/// Goes on with a future here. What it has begun on the present runtime (timers, connections) stays there.
///
/// Dropping the task drops the future, but not before the guest's next epoch.
fn go_on<F>(mut future: F) -> Task<F::Output>
where
    F: Future<Output: Send> + Send + Unpin + 'static,
{
    let runtime = Handle::current();
    let future = poll_fn(move |cx| {
        let _entered = runtime.enter();
        Pin::new(&mut future).poll(cx)
    });
    let (runnable, task) = async_task::spawn(future, schedule);
    runnable.schedule();
    task
}

fn schedule(runnable: Runnable) {
    static QUEUE: OnceLock<Sender<Runnable>> = OnceLock::new();
    // Only a process that cannot have threads has no receiver; then the task is cancelled, and its request fails.
    let _ = QUEUE.get_or_init(start).send(runnable);
}

/// Starts the threads, one for each core.
fn start() -> Sender<Runnable> {
    let (sender, receiver) = channel();
    let receiver = Arc::new(Mutex::new(receiver));
    for index in 0..thread::available_parallelism().map_or(1, usize::from) {
        let receiver = Arc::clone(&receiver);
        let started = thread::Builder::new().name(format!("background-{index}")).spawn(move || work(&receiver));
        if let Err(error) = started {
            tracing::error!("cannot start a thread for guests that compute for long: {error}");
        }
    }
    sender
}

fn work(queue: &Mutex<Receiver<Runnable>>) {
    // Where this is refused, guests here merely compete with workers.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(NICENESS) {
        tracing::debug!("a background thread keeps its priority: {error}");
    }
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(runnable) = next else { return };
        // A panic is a fault of ours. It ends the guest's task, which its request notices, but not this thread.
        if catch_unwind(AssertUnwindSafe(|| runnable.run())).is_err() {
            tracing::error!("a guest's host call panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_computes_for_long_is_moved() {
        let here = thread::current().id();
        let computing = Movable::new(async move {
            for _ in 0..50 {
                let begin = Instant::now();
                while begin.elapsed() < Duration::from_millis(1) {}
                tokio::task::yield_now().await;
            }
            thread::current().id() != here
        });
        assert!(computing.await);
        let quick = Movable::new(async move { thread::current().id() == here });
        assert!(quick.await);
    }

    #[tokio::test]
    async fn a_future_goes_on_elsewhere_with_the_timers_of_its_runtime() {
        let here = thread::current().id();
        let future = Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            thread::current().id() != here
        });
        assert!(go_on(future).await);
    }

    #[tokio::test]
    async fn a_task_that_is_dropped_drops_its_future() {
        let (sender, dropped) = tokio::sync::oneshot::channel::<()>();
        let future = Box::pin(async move {
            let _sender = sender;
            std::future::pending::<()>().await;
        });
        drop(go_on(future));
        assert!(dropped.await.is_err());
    }
}
