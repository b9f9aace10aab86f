//! Whose fault it is that there is no snapshot.

use prewasm_snapshot::{AssembleError, BuildError, FreezeError, InitializeError, RunError, WarmUpFailure};

use crate::exit::Class;

/// The class of a failed build.
pub(super) fn of(error: &BuildError) -> Class {
    match error {
        BuildError::Rejected { .. } => Class::Rejected,
        BuildError::Verify { .. } => Class::Verification,
        BuildError::Entropy { .. } | BuildError::Secrets { .. } => Class::Policy,
        BuildError::Assemble { source, .. } => match source {
            AssembleError::Strip(_) | AssembleError::Layout(_) => Class::Rejected,
            AssembleError::Prologue(_) | AssembleError::Malformed(_) | AssembleError::Encode(_) => Class::Ours,
            AssembleError::Content => Class::Verification,
        },
        BuildError::Initialize { source, .. } => match source {
            InitializeError::Run(error) => class_of_run(error),
            InitializeError::Differs { .. } => Class::Verification,
            InitializeError::NoInit { .. } | InitializeError::Record(_) => Class::Rejected,
        },
        BuildError::Freeze { source, .. } => match source {
            FreezeError::Run(error) | FreezeError::FailedAt { source: error, .. } => class_of_run(error),
            FreezeError::Ended { .. } | FreezeError::Waits { .. } => Class::Guest,
            FreezeError::WarmUp(WarmUpFailure::File { .. }) => Class::Usage,
            FreezeError::WarmUp(WarmUpFailure::NoAnswer { .. } | WarmUpFailure::Status { .. }) => Class::Guest,
            FreezeError::State { .. } | FreezeError::Host { .. } | FreezeError::Damaged(_) | FreezeError::Resume(_) => {
                Class::Rejected
            }
            FreezeError::Differs { .. } => Class::Verification,
        },
    }
}

fn class_of_run(error: &RunError) -> Class {
    match error {
        RunError::Trapped { .. }
        | RunError::Exited { .. }
        | RunError::TimedOut { .. }
        | RunError::OutOfFuel { .. }
        | RunError::OutOfMemory { .. } => Class::Guest,
        RunError::Compile(_) => Class::Rejected,
        RunError::Directory(_) => Class::Usage,
        RunError::System(_) | RunError::Engine(_) => Class::Ours,
    }
}
