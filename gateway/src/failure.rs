//! Why a request got no answer from its guest. `respond.rs` chooses the status.

use std::{error::Error, time::Duration};

use crate::store;

/// An error of a body that came from somewhere else.
pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

/// Why a request got no answer from its guest.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The client's: its target can be read in two ways, or in none.
    #[error("the request's target is refused: {what}")]
    BadTarget { what: String },
    /// The client's: nobody answers there.
    #[error("there is nothing here")]
    NoRoute,
    /// The client's: what is there does not take this method.
    #[error("this method is not allowed here")]
    MethodNotAllowed { allow: String },
    /// The client's: its body is larger than permitted.
    #[error("the request body is larger than {limit} bytes")]
    BodyTooLarge { limit: u64 },
    /// The client's: its body did not arrive.
    #[error("the request body could not be read")]
    BodyRead(#[source] BoxError),
    /// The client's: its body did not arrive in time.
    #[error("the request body did not arrive within {limit:?}")]
    BodyTimeout { limit: Duration },
    /// The guest's: it trapped.
    #[error("the guest trapped")]
    Trap(#[source] wasmtime::Error),
    /// The guest's: it asked for more memory than permitted.
    #[error("the guest ran out of memory (it asked for {asked} bytes, the limit is {limit})")]
    OutOfMemory { asked: u64, limit: u64 },
    /// The guest's: it used up its fuel.
    #[error("the guest ran out of fuel")]
    OutOfFuel,
    /// The guest's: it ended, or closed the connection, without an answer.
    #[error("the guest {how} before it answered")]
    NoResponse { how: String },
    /// The guest's: what it wrote is no answer.
    #[error("the guest's answer is not valid: {what}")]
    BadResponse { what: String },
    /// The guest's: it ended its answer before it was complete.
    #[error("the guest broke off its answer")]
    BrokeOff,
    /// The guest's: it took too long.
    #[error("the guest did not answer within {limit:?}")]
    Deadline { limit: Duration },
    /// The guest's, or a slow client's: time was over while the answer was being sent.
    #[error("the answer was not complete at the guest's deadline; it is broken off")]
    DeadlineWhileSending,
    /// Ours: more requests wait than permitted.
    #[error("too many requests wait for an instance")]
    QueueFull,
    /// Ours: a file could not be looked for.
    #[error("files cannot be read now")]
    File(#[source] std::io::Error),
    /// Ours: no instance could be made.
    #[error("no instance could be made")]
    Instantiate(#[source] wasmtime::Error),
}

/// An error with its causes, `separator` in between.
pub(crate) fn chain(error: &dyn Error, separator: &str) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(separator);
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

/// Whose fault a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Client,
    Guest,
    Ours,
}

impl Failure {
    /// Whose fault it is.
    pub(crate) fn fault(&self) -> Fault {
        match self {
            Self::BadTarget { .. }
            | Self::NoRoute
            | Self::MethodNotAllowed { .. }
            | Self::BodyTooLarge { .. }
            | Self::BodyRead(_)
            | Self::BodyTimeout { .. } => Fault::Client,
            Self::Trap(_)
            | Self::OutOfMemory { .. }
            | Self::OutOfFuel
            | Self::NoResponse { .. }
            | Self::BadResponse { .. }
            | Self::BrokeOff
            | Self::Deadline { .. }
            | Self::DeadlineWhileSending => Fault::Guest,
            Self::QueueFull | Self::File(_) | Self::Instantiate(_) => Fault::Ours,
        }
    }

    /// What caused it, with its own causes, on one line.
    pub(crate) fn cause(&self) -> Option<String> {
        self.source().map(|source| chain(source, ": "))
    }

    /// One word for logs and counters.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::BadTarget { .. } => "bad-target",
            Self::NoRoute => "no-route",
            Self::MethodNotAllowed { .. } => "method-not-allowed",
            Self::BodyTooLarge { .. } => "body-too-large",
            Self::BodyRead(_) => "body-broken",
            Self::BodyTimeout { .. } => "body-timeout",
            Self::Trap(_) => "trap",
            Self::OutOfMemory { .. } => "out-of-memory",
            Self::OutOfFuel => "out-of-fuel",
            Self::NoResponse { .. } => "no-response",
            Self::BadResponse { .. } => "bad-response",
            Self::BrokeOff => "broke-off",
            Self::Deadline { .. } | Self::DeadlineWhileSending => "deadline",
            Self::QueueFull => "queue-full",
            Self::File(_) => "no-file",
            Self::Instantiate(_) => "not-instantiated",
        }
    }
}

impl From<store::end::Fault> for Failure {
    fn from(fault: store::end::Fault) -> Self {
        match fault {
            store::end::Fault::OutOfFuel(_) => Self::OutOfFuel,
            store::end::Fault::OutOfMemory { asked, limit, .. } => Self::OutOfMemory { asked, limit },
            store::end::Fault::Trap(error) => Self::Trap(error),
        }
    }
}
