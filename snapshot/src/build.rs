//! From a program to its snapshot.

use prewasm_artifact::Artifact;

use crate::{
    initialize::{self, InitializeError},
    options::Options,
    preflight::{self, Objection},
    progress::Progress,
    report::Report,
    verify::{self, VerifyError},
};

/// A program after its start-up.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The module or component, validated.
    pub wasm: Vec<u8>,
    /// What was done, and what came of it.
    pub report: Report,
}

/// Why there is no snapshot.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The program cannot be snapshotted as it is: every objection, not just the first.
    #[error("`{origin}` cannot be snapshotted:{}", list(objections))]
    Rejected {
        /// The program.
        origin: String,
        /// What stands against it.
        objections: Vec<Objection>,
    },
    /// The program failed while it was initialized, or could not be started.
    #[error("cannot initialize `{origin}`")]
    Initialize {
        /// The program.
        origin: String,
        /// What happened.
        #[source]
        source: InitializeError,
    },
    /// The output is not what it should be: a fault of ours.
    #[error("the snapshot of `{origin}` is faulty")]
    Verify {
        /// The program.
        origin: String,
        /// What is wrong with it.
        #[source]
        source: VerifyError,
    },
}

fn list(objections: &[Objection]) -> String {
    objections.iter().map(|objection| format!("\n  {objection}")).collect()
}

/// Runs the init function of `artifact` and snapshots what came of it.
///
/// Blocks, on a runtime of its own: not to be called from asynchronous code.
///
/// # Errors
/// [`BuildError`]. Nothing is written anywhere in any case.
pub fn build(artifact: &Artifact, options: &Options, progress: &Progress) -> Result<Snapshot, BuildError> {
    let origin = || artifact.origin().to_owned();
    let plan = preflight::preflight(artifact, options)
        .map_err(|objections| BuildError::Rejected { origin: origin(), objections })?;
    let initialized =
        initialize::initialize(plan, progress).map_err(|source| BuildError::Initialize { origin: origin(), source })?;
    let verified = verify::verify(initialized).map_err(|source| BuildError::Verify { origin: origin(), source })?;
    let report = Report::of(&verified);
    Ok(Snapshot { wasm: verified.output.into_bytes(), report })
}
