//! Threads for guests that compute for long.
//!
//! A worker serves many connections, and while a guest computes on it, the others wait for the guest's next epoch. So a
//! guest that has used up its time there goes on here, on threads which the system runs when workers leave it time.
//! They take turns: each runs until its next epoch.

use std::{
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
};

use async_task::{Runnable, Task};
use tokio::runtime::Handle;

/// Added to the niceness of these threads. Against a worker that is busy, the system gives one of them about a tenth of
/// a core.
const NICENESS: i32 = 10;

/// Goes on with a future here. What it has begun on the present runtime (timers, connections) stays there.
///
/// Dropping the task drops the future, but not before the guest's next epoch.
pub(crate) fn go_on<F>(mut future: F) -> Task<F::Output>
where
    F: Future<Output: Send> + Send + Unpin + 'static,
{
    let runtime = Handle::current();
    let future = poll_fn(move |cx| {
        let _entered = runtime.enter();
        std::pin::Pin::new(&mut future).poll(cx)
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
    use std::time::Duration;

    use super::*;

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
