//! Guests: how each kind of program is instantiated for a request.

pub(crate) mod command;
pub(crate) mod component;
pub(crate) mod leash;
pub(crate) mod limiter;
pub(crate) mod resident;
pub(crate) mod socket;
pub(crate) mod state;
pub(crate) mod task;
