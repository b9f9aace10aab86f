//! From a program to its snapshot.

use prewasm_artifact::Artifact;

use crate::{
    assemble::{self, AssembleError, Built, How},
    entropy::EntropyError,
    freeze::{self, FreezeError, FrozenProgram},
    initialize::{self, InitializeError, Initialized},
    options::Options,
    preflight::{self, Method, Objection, Plan},
    program::Program,
    progress::Progress,
    regions::Regions,
    report::Report,
    secrets::{self, SecretsFound},
    state::Place,
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
    /// The program did not come to its stop point, or cannot be frozen there.
    #[error("cannot freeze `{origin}`")]
    Freeze {
        /// The program.
        origin: String,
        /// What happened.
        #[source]
        source: FreezeError,
    },
    /// Its state holds random bytes which every instance would share.
    #[error("`{origin}` is not snapshotted")]
    Entropy {
        /// The program.
        origin: String,
        /// What depends on which.
        #[source]
        source: EntropyError,
    },
    /// Something in it looks like a secret of the build machine.
    #[error("`{origin}` is not snapshotted")]
    Secrets {
        /// The program.
        origin: String,
        /// What was found, and where.
        #[source]
        source: SecretsFound,
    },
    /// The snapshot could not be put together: a fault of ours.
    #[error("cannot write the snapshot of `{origin}`")]
    Assemble {
        /// The program.
        origin: String,
        /// What went wrong.
        #[source]
        source: AssembleError,
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
    let program = Program::parse(artifact.bytes()).ok().filter(|_| !artifact.kind().is_component());
    let regions = program.as_ref().map(Regions::of);
    let region = |place: &Place| match &regions {
        Some(regions) => regions.name(place.memory, place.offset),
        None => format!("{:#x}", place.offset),
    };
    let judged = built.entropy.judge(options.entropy, &region);
    judged.map_err(|source| BuildError::Entropy { origin: origin(), source })?;
    let assembled = assemble::assemble(&plan, built);
    let assembled = assembled.map_err(|source| BuildError::Assemble { origin: origin(), source })?;
    let verified =
        verify::verify(&plan, assembled).map_err(|source| BuildError::Verify { origin: origin(), source })?;
    let secrets = secrets::scan(artifact, &verified.output, &options.secrets);
    let secrets = secrets.map_err(|error| BuildError::Verify { origin: origin(), source: error.into() })?;
    secrets.judge().map_err(|source| BuildError::Secrets { origin: origin(), source })?;
    let report = Report::of(&plan, &verified, secrets, &region);
    Ok(Snapshot { wasm: verified.output.into_bytes(), report })
}

fn bring_to_stop(plan: &Plan<'_>, progress: &Progress) -> Result<Built, BuildError> {
    let origin = || plan.artifact.origin().to_owned();
    match &plan.method {
        Method::Init(init) => {
            let initialized = initialize::initialize(plan, init, progress)
                .map_err(|source| BuildError::Initialize { origin: origin(), source })?;
            let Initialized { wasm, time, asked, cleared, entropy, constructors_silenced } = initialized;
            Ok(Built { wasm, time, asked, cleared, entropy, how: How::Initialized { constructors_silenced } })
        }
        Method::Freeze(stop) => {
            let program = freeze::freeze(plan, stop, progress)
                .map_err(|source| BuildError::Freeze { origin: origin(), source })?;
            let FrozenProgram { wasm, time, asked, cleared, entropy, frozen, facts } = program;
            let how = How::Frozen { frozen: Box::new(frozen), facts };
            Ok(Built { wasm, time, asked, cleared, entropy, how })
        }
    }
}
