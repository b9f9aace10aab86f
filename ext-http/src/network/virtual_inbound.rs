//! A listening socket in memory: the gateway connects, the guest accepts.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use super::pipe::{GuestStream, VirtualStream, pipe};

#[derive(Default)]
struct State {
    queue: VecDeque<(GuestStream, SocketAddr)>,
    /// Client ends not yet dropped.
    clients: usize,
    /// No connection will come any more.
    closed: bool,
    guest: Option<Waker>,
    /// How often the guest has waited for a connection.
    waits: u64,
}

type Shared = Arc<Mutex<State>>;

fn lock(shared: &Shared) -> MutexGuard<'_, State> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The guest's side: what its listening sockets accept from.
#[derive(Clone)]
pub struct VirtualInbound(Shared);

/// The gateway's side.
#[derive(Clone)]
pub struct Connector(Shared);

/// Makes both sides.
pub fn virtual_inbound() -> (VirtualInbound, Connector) {
    let shared = Shared::default();
    (VirtualInbound(Arc::clone(&shared)), Connector(shared))
}

impl Connector {
    /// Queues a connection from `peer` for the guest to accept. The guest sees its end when the result is dropped.
    pub fn connect(&self, peer: SocketAddr) -> VirtualStream {
        let (guest, client) = pipe();
        let mut state = lock(&self.0);
        state.queue.push_back((guest, peer));
        state.clients += 1;
        wake(state);
        let shared = Arc::clone(&self.0);
        client.on_drop(move || {
            let mut state = lock(&shared);
            state.clients -= 1;
            wake(state);
        })
    }

    /// How often the guest has waited for a connection, in `accept` or in a poll: it lives as long as this grows.
    pub fn waits(&self) -> u64 {
        lock(&self.0).waits
    }

    /// Declares that no further connection will come: a guest which waits for one, and has none left, is stopped.
    pub fn close(&self) {
        let mut state = lock(&self.0);
        state.closed = true;
        wake(state);
    }
}

impl VirtualInbound {
    pub(crate) fn accept(&self) -> Option<(GuestStream, SocketAddr)> {
        lock(&self.0).queue.pop_front()
    }

    pub(crate) fn poll_acceptable(&self, cx: &mut Context<'_>) -> Poll<Acceptable> {
        let mut state = lock(&self.0);
        state.waits += 1;
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
