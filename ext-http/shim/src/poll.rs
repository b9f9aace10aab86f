//! What `poll_oneoff` means: wait until at least one subscription is due.

use crate::{
    clock,
    complain::complain,
    errno::{Errno, Failure},
    socket::{FIRST_SOCKET, Role},
    state::Run,
    subscription::{self, Interest, State, Subscription},
    wait::Waited,
};

impl Run {
    /// Waits, and gives the due events in the order of their subscriptions.
    pub(crate) fn poll(&mut self, subscriptions: &[u8]) -> Result<Vec<u8>, Failure> {
        let subscriptions = subscription::decode(subscriptions)?;
        let deadlines = self.deadlines(&subscriptions);
        let repeated = subscription::repeated(&subscriptions);
        let nearest = deadlines.iter().flatten().min().copied();
        self.advance();
        loop {
            let now = nearest.map(|_| clock::now());
            let mut events = Vec::new();
            for (index, subscription) in subscriptions.iter().enumerate() {
                let state = match deadlines[index] {
                    Some(deadline) => now.filter(|now| deadline <= *now).map(|_| READY),
                    None if repeated[index] => Some(State::Error(Errno::Exist)),
                    None => self.state(subscription.interest),
                };
                if let Some(state) = state {
                    subscription::encode(subscription, state, &mut events);
                }
            }
            if !events.is_empty() {
                return Ok(events);
            }
            if self.is_served_out() {
                return Err(Failure::Leave);
            }
            if self.pollables().is_empty() && self.starve_readers(&subscriptions, nearest.is_some()) {
                continue;
            }
            // With nothing to wait for, the program would wait for ever.
            if self.wait(nearest) == Waited::Nothing {
                complain(&["the program was stopped: it waits for what can never happen"]);
                return Err(Failure::Leave);
            }
        }
    }

    fn deadlines(&mut self, subscriptions: &[Subscription]) -> Vec<Option<u64>> {
        let delay = self.clock.take_delay();
        let deadline = |subscription: &Subscription| match subscription.interest {
            Interest::Timeout(timeout) => Some(self.clock.deadline(timeout, delay)),
            _ => None,
        };
        subscriptions.iter().map(deadline).collect()
    }

    /// Whether the request has been answered: a server which waits again, for whatever, is at its end. One of its timers
    /// or connections would go on only if there were a next request.
    fn is_served_out(&mut self) -> bool {
        self.sockets.has_listener() && self.pending.is_none() && !self.sockets.has_unfinished()
    }

    /// What is ready without waiting. There are no errors for descriptors that exist: programs would give up.
    fn state(&mut self, interest: Interest) -> Option<State> {
        match interest {
            Interest::Timeout(_) => None,
            Interest::Invalid(_) => Some(State::Error(Errno::Inval)),
            // Files never wait, and standard output waits inside of the write.
            Interest::Read(0..FIRST_SOCKET) => Some(State::Ready { bytes: 1, hangup: false }),
            Interest::Write(0..FIRST_SOCKET) => Some(READY),
            Interest::Read(fd) => self.readable(fd),
            Interest::Write(fd) => self.writable(fd),
        }
    }

    fn readable(&mut self, fd: i32) -> Option<State> {
        let is_pending = self.pending.is_some();
        let socket = match self.sockets.get(fd) {
            Ok(socket) => socket,
            Err(errno) => return Some(State::Error(errno)),
        };
        let waits = !socket.is_nonblocking;
        let (is_ready, hangup) = match &mut socket.role {
            Role::Listener => (is_pending, false),
            Role::Server(server) => (server.is_readable(waits), server.is_hung_up()),
            Role::Client(client) => (client.is_readable(), client.is_hung_up()),
            // A call will tell what is wrong.
            Role::Fresh | Role::Bound => (true, false),
        };
        is_ready.then_some(State::Ready { bytes: 1, hangup })
    }

    /// A listener never is.
    fn writable(&mut self, fd: i32) -> Option<State> {
        let socket = match self.sockets.get(fd) {
            Ok(socket) => socket,
            Err(errno) => return Some(State::Error(errno)),
        };
        let (is_ready, room, hangup) = match &socket.role {
            Role::Listener => (false, 0, false),
            Role::Server(server) => (server.room() > 0, server.room(), server.is_hung_up()),
            Role::Client(client) => (client.is_writable(), client.room(), client.is_hung_up()),
            Role::Fresh | Role::Bound => (true, 0, false),
        };
        is_ready.then_some(State::Ready { bytes: room as u64, hangup })
    }

    /// Nothing is under way that could bring any bytes, and the program waits for some. Whether there is something for it
    /// now. If it also waits for a time, that may be all it waits for; but one which can have a connection of its own gets
    /// it then, since the other side may speak first.
    fn starve_readers(&mut self, subscriptions: &[Subscription], has_timeout: bool) -> bool {
        let mut has_changed = false;
        for subscription in subscriptions {
            let Interest::Read(fd) = subscription.interest else { continue };
            let Ok(Role::Client(client)) = self.sockets.get(fd).map(|socket| &mut socket.role) else { continue };
            let may_starve = {
                #[cfg(feature = "sockets")]
                let is_silent = client.is_silent();
                #[cfg(not(feature = "sockets"))]
                let is_silent = false;
                !has_timeout || is_silent
            };
            has_changed |= may_starve && client.starve();
        }
        if has_changed {
            self.advance();
        }
        has_changed
    }
}

const READY: State = State::Ready { bytes: 0, hangup: false };
