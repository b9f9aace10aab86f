//! What there is of one run of the program.

use std::cell::RefCell;

use crate::{
    body::Sink,
    client::{Client, Surroundings},
    clock::Clock,
    codec::Codecs,
    names::Names,
    question::Found,
    server::Pending,
    socket::Sockets,
};

/// What was decided when the program was ported.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Settings {
    pub(crate) uses_host_header: bool,
}

/// One run: everything goes when the next one begins.
pub(crate) struct Run {
    pub(crate) sockets: Sockets,
    pub(crate) codecs: Codecs,
    pub(crate) names: Names,
    /// Of the last look-up.
    pub(crate) found: Option<Found>,
    /// The request, until it is accepted.
    pub(crate) pending: Option<Pending>,
    /// What the program has closed and the host has yet to take.
    pub(crate) leftovers: Vec<Leftover>,
    pub(crate) settings: Settings,
    pub(crate) clock: Clock,
    /// The plugin's last answer.
    pub(crate) answer: Vec<u8>,
}

/// Something that the host has yet to take.
pub(crate) enum Leftover {
    Body(Sink),
    Client(Box<Client>),
}

impl Run {
    const fn new() -> Self {
        Self {
            sockets: Sockets::new(),
            codecs: Codecs::new(),
            names: Names::new(),
            found: None,
            pending: None,
            leftovers: Vec::new(),
            settings: Settings { uses_host_header: false },
            clock: Clock::new(),
            answer: Vec::new(),
        }
    }

    /// What clients need besides themselves.
    pub(crate) fn split(&mut self) -> (&mut Sockets, Surroundings<'_>) {
        (&mut self.sockets, Surroundings { codecs: &mut self.codecs, settings: self.settings })
    }
}

thread_local! {
    static RUN: RefCell<Run> = const { RefCell::new(Run::new()) };
}

/// Does something with the run. No call of the host leads back into here, so that it is never in use already.
pub(crate) fn with<T>(act: impl FnOnce(&mut Run) -> T) -> T {
    RUN.with(|run| act(&mut run.borrow_mut()))
}

/// Forgets everything.
pub(crate) fn reset() {
    with(|run| *run = Run::new());
}
