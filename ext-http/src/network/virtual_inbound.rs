//! A listening socket in memory: the gateway connects, the guest accepts.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use super::pipe::{GuestStream, VirtualStream, pipe};

struct State {
    queue: VecDeque<(GuestStream, SocketAddr)>,
    /// Client ends not yet dropped.
    clients: usize,
    /// No connection will come any more.
    closed: bool,
    /// The guest is gone: nobody will accept.
    deserted: bool,
    guest: Option<Waker>,
    /// When the guest last waited for a connection.
    last_wait: Instant,
}

type Shared = Arc<Mutex<State>>;

fn lock(shared: &Shared) -> MutexGuard<'_, State> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The guest's side: what its listening sockets accept from.
#[derive(Clone)]
pub struct VirtualInbound(Arc<GuestSide>);

/// Whoever holds this may still accept.
struct GuestSide(Shared);

impl Drop for GuestSide {
    fn drop(&mut self) {
        let mut state = lock(&self.0);
        state.deserted = true;
        // Closing connections wakes their clients, who may want the lock.
        let queue = std::mem::take(&mut state.queue);
        drop(state);
        drop(queue);
    }
}

/// The gateway's side.
#[derive(Clone)]
pub struct Connector(Shared);

/// Makes both sides.
pub fn virtual_inbound() -> (VirtualInbound, Connector) {
    let shared = Arc::new(Mutex::new(State {
        queue: VecDeque::new(),
        clients: 0,
        closed: false,
        deserted: false,
        guest: None,
        last_wait: Instant::now(),
    }));
    (VirtualInbound(Arc::new(GuestSide(Arc::clone(&shared)))), Connector(shared))
}

impl Connector {
    /// Queues a connection from `peer` for the guest to accept. The guest sees its end when the result is dropped.
    /// Without a guest, the connection is closed from the start.
    pub fn connect(&self, peer: SocketAddr) -> VirtualStream {
        let (guest, client) = pipe();
        let mut state = lock(&self.0);
        if !state.deserted {
            state.queue.push_back((guest, peer));
        }
        state.clients += 1;
        wake(state);
        let shared = Arc::clone(&self.0);
        client.on_drop(move || {
            let mut state = lock(&shared);
            state.clients -= 1;
            wake(state);
        })
    }

    /// How long ago the guest last waited for a connection, in `accept` or in a poll.
    pub fn since_last_wait(&self) -> Duration {
        lock(&self.0).last_wait.elapsed()
    }

    /// Declares that no further connection will come: a guest which waits for one, and has none left, is stopped.
    pub fn close(&self) {
        let mut state = lock(&self.0);
        state.closed = true;
        wake(state);
    }

    /// Takes [`Connector::close`] back: connections may come again.
    pub fn reopen(&self) {
        lock(&self.0).closed = false;
    }
}

impl VirtualInbound {
    pub(crate) fn accept(&self) -> Option<(GuestStream, SocketAddr)> {
        lock(&self.0.0).queue.pop_front()
    }

    /// Whether a connection waits to be accepted.
    pub(crate) fn has_connection(&self) -> bool {
        !lock(&self.0.0).queue.is_empty()
    }

    pub(crate) fn poll_acceptable(&self, cx: &mut Context<'_>) -> Poll<Acceptable> {
        let mut state = lock(&self.0.0);
        state.last_wait = Instant::now();
        if !state.queue.is_empty() {
            Poll::Ready(Acceptable::Connection)
        } else if state.closed && state.clients == 0 {
            Poll::Ready(Acceptable::NeverAgain)
        } else {
            state.guest = Some(cx.waker().clone());
            Poll::Pending
        }
    }
}

/// What a wait for a connection ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Acceptable {
    Connection,
    /// Every connection has been served, and none will come.
    NeverAgain,
}

/// Wakes the guest after the lock is released.
fn wake(mut state: MutexGuard<'_, State>) {
    let waker = state.guest.take();
    drop(state);
    if let Some(waker) = waker {
        waker.wake();
    }
}

impl std::fmt::Debug for VirtualInbound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VirtualInbound").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector").finish_non_exhaustive()
    }
}
