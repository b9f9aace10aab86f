//! The one place that waits.

use crate::{
    bindings::wasi::{
        clocks::monotonic_clock::subscribe_instant,
        io::poll::{self, Pollable},
    },
    clock,
    socket::Role,
    state::{Leftover, Run},
};

/// How long the host may take for what programs have left behind without waiting for it, such as a request whose answer
/// they did not want. A kernel would send it meanwhile.
const LEFT_BEHIND: u64 = 1_000_000_000;

/// What came of waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waited {
    /// The host has got on with something.
    Progress,
    /// The time is over.
    Elapsed,
    /// There is nothing that could happen.
    Nothing,
}

impl Run {
    /// Lets every connection do what it can.
    pub(crate) fn advance(&mut self) {
        let (sockets, mut around) = self.split();
        for socket in sockets.iter_mut() {
            match &mut socket.role {
                Role::Server(server) => server.advance(),
                Role::Client(client) => client.advance(&mut around),
                Role::Fresh | Role::Bound | Role::Listener => {}
            }
        }
        let mut leftovers = std::mem::take(&mut self.leftovers);
        let (_, mut around) = self.split();
        leftovers.retain_mut(|leftover| match leftover {
            Leftover::Body(sink) => sink.advance().is_ok() && !sink.is_finished(),
            Leftover::Client(client) => {
                client.advance(&mut around);
                !client.is_settled()
            }
        });
        self.leftovers = leftovers;
    }

    /// Waits until the host has got on with something, or up to `deadline`, and lets every connection make use of it.
    pub(crate) fn wait(&mut self, deadline: Option<u64>) -> Waited {
        let mut pollables = self.pollables();
        let has_any = !pollables.is_empty();
        if let Some(deadline) = deadline {
            if clock::now() >= deadline {
                return Waited::Elapsed;
            }
            pollables.push(subscribe_instant(deadline));
        }
        if pollables.is_empty() {
            return Waited::Nothing;
        }
        let ready = poll::poll(&pollables.iter().collect::<Vec<_>>());
        let is_progress = ready.iter().any(|index| !(deadline.is_some() && *index as usize == pollables.len() - 1));
        // Before the streams whose children they are.
        drop(pollables);
        self.advance();
        if has_any && is_progress { Waited::Progress } else { Waited::Elapsed }
    }

    /// Everything that could bring some connection on.
    pub(crate) fn pollables(&mut self) -> Vec<Pollable> {
        let mut pollables = Vec::new();
        for socket in self.sockets.iter_mut() {
            match &mut socket.role {
                Role::Server(server) => server.wait(&mut pollables),
                Role::Client(client) => client.wait(&mut pollables),
                Role::Fresh | Role::Bound | Role::Listener => {}
            }
        }
        for leftover in &self.leftovers {
            match leftover {
                Leftover::Body(sink) => sink.wait(&mut pollables),
                Leftover::Client(client) => client.wait(&mut pollables),
            }
        }
        pollables
    }

    /// Whether something could bring this connection on.
    pub(crate) fn has_prospects(&mut self, fd: i32) -> bool {
        let mut pollables = Vec::new();
        match self.sockets.get(fd).map(|socket| &mut socket.role) {
            Ok(Role::Server(server)) => server.wait(&mut pollables),
            Ok(Role::Client(client)) => client.wait(&mut pollables),
            _ => {}
        }
        !pollables.is_empty()
    }

    /// The program has been left: its answer is delivered, whatever else there is goes.
    pub(crate) fn end(&mut self) {
        self.close_all();
        if let Some(pending) = self.pending.take() {
            pending.refuse();
        }
        self.advance();
        // As long as the host takes for the answer; for the rest there is a limit.
        let limit = clock::now().saturating_add(LEFT_BEHIND);
        while !self.leftovers.is_empty() {
            let has_answer = self.leftovers.iter().any(|leftover| matches!(leftover, Leftover::Body(_)));
            match self.wait((!has_answer).then_some(limit)) {
                Waited::Progress => {}
                Waited::Elapsed | Waited::Nothing => break,
            }
        }
    }
}
