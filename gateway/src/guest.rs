//! Guests: how each kind of program is instantiated for a request.

pub(crate) mod command;
pub(crate) mod component;
pub(crate) mod core;
pub(crate) mod leash;
pub(crate) mod resident;
pub(crate) mod socket;
pub(crate) mod task;

use std::sync::Arc;

use prewasm_ext_http::Outbound;

use crate::{admission::Permit, chain::Chain, peer::Peer, record::Record};

/// What a guest is given along with a request.
pub(crate) struct Call {
    /// The place among the instances.
    pub(crate) permit: Permit,
    /// The app's door to the outside, on this worker.
    pub(crate) outbound: Arc<Outbound>,
    /// The way to other apps of the site, if the app knows it.
    pub(crate) chain: Option<Chain>,
    /// Who is asking.
    pub(crate) peer: Peer,
    /// Where it is noted what becomes of the request.
    pub(crate) record: Arc<Record>,
}

/// What becomes of a guest whose answer is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AfterAnswer {
    /// It runs on until it waits for the next connection: an isolated guest.
    Finish,
    /// It is not ours to end: a resident guest, or one that is reused.
    Leave,
}
