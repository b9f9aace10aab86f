//! From a program to its snapshot.

use prewasm_artifact::Artifact;

use crate::{
    freeze::{self, FreezeError},
    initialize::{self, InitializeError},
    options::Options,
    preflight::{self, Method, Objection, Plan},
    progress::Progress,
    report::Report,
    verify::{self, Built, How, VerifyError},
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
    /// The program did not come to its stop point, or cannot be frozen there.
    #[error("cannot freeze `{origin}`")]
    Freeze {
        /// The program.
        origin: String,
        /// What happened.
        #[source]
        source: FreezeError,
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

/// Runs `artifact` to its stop point and snapshots what came of it.
///
/// Blocks, on a runtime of its own: not to be called from asynchronous code.
///
/// # Errors
/// [`BuildError`]. Nothing is written anywhere in any case.
pub fn build(artifact: &Artifact, options: &Options, progress: &Progress) -> Result<Snapshot, BuildError> {
    let origin = || artifact.origin().to_owned();
    let plan = preflight::preflight(artifact, options)
        .map_err(|objections| BuildError::Rejected { origin: origin(), objections })?;
    let built = bring_to_stop(&plan, progress)?;
    let verified = verify::verify(&plan, built).map_err(|source| BuildError::Verify { origin: origin(), source })?;
    let report = Report::of(&plan, &verified);
    Ok(Snapshot { wasm: verified.output.into_bytes(), report })
}

fn bring_to_stop(plan: &Plan<'_>, progress: &Progress) -> Result<Built, BuildError> {
    let origin = || plan.artifact.origin().to_owned();
    match &plan.method {
        Method::Init(init) => {
            let initialized = initialize::initialize(plan, init, progress)
                .map_err(|source| BuildError::Initialize { origin: origin(), source })?;
            Ok(Built { wasm: initialized.wasm, time: initialized.init_time, how: How::Initialized })
        }
        Method::Freeze(stop) => {
            let frozen = freeze::freeze(plan, stop, progress)
                .map_err(|source| BuildError::Freeze { origin: origin(), source })?;
            let (time, section) = (frozen.facts.time, frozen.section);
            Ok(Built { wasm: frozen.wasm, time, how: How::Frozen { section, facts: frozen.facts } })
        }
    }
}
