//! The output must be what it claims before anyone gets it.

use std::time::Duration;

use prewasm_artifact::{Artifact, ArtifactError, FROZEN_SECTION, SNAPSHOT_SECTION, append_section};

use crate::{
    freeze::{Facts, keeps_export},
    options::InitExport,
    preflight::{InitPlan, Method, Plan},
    provenance::provenance,
};

/// A program brought to its stop point, as it came out.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) wasm: Vec<u8>,
    /// How long it ran, without compilation.
    pub(crate) time: Duration,
    pub(crate) how: How,
}

/// How the program was brought there.
#[derive(Debug)]
pub(crate) enum How {
    Initialized,
    Frozen {
        /// What the host must know to go on.
        section: Vec<u8>,
        facts: Facts,
    },
}

/// A snapshot which validates and has the interface of its input.
#[derive(Debug)]
pub(crate) struct Verified {
    pub(crate) output: Artifact,
    pub(crate) time: Duration,
    /// What happened, if it was frozen while it ran.
    pub(crate) facts: Option<Facts>,
}

/// What is wrong with an output.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// It is not valid.
    #[error("the output does not validate")]
    Invalid(#[from] ArtifactError),
    /// Its imports are not those of the input.
    #[error("the output's imports differ from the input's")]
    Imports,
    /// The init function can still be called, or something else can no more.
    #[error("the output's export `{name}` is not as it should be")]
    Export {
        /// The export.
        name: String,
    },
    /// The provenance could not be written down.
    #[error("cannot encode the provenance")]
    Provenance(#[from] serde_json::Error),
}

/// Adds the provenance and checks the whole.
pub(crate) fn verify(plan: &Plan<'_>, built: Built) -> Result<Verified, VerifyError> {
    let Built { mut wasm, time, how } = built;
    append_section(&mut wasm, SNAPSHOT_SECTION, &provenance(plan)?);
    let facts = match how {
        How::Initialized => None,
        How::Frozen { section, facts } => {
            append_section(&mut wasm, FROZEN_SECTION, &section);
            Some(facts)
        }
    };
    let output = Artifact::from_bytes("snapshot", wasm)?;
    if output.imports() != plan.artifact.imports() {
        return Err(VerifyError::Imports);
    }
    let expected = match &plan.method {
        Method::Init(init) => initialized_exports(plan, init),
        Method::Freeze(_) => plan.artifact.exports().iter().filter(|name| keeps_export(name)).cloned().collect(),
    };
    let differs = |a: &[String], b: &[String]| a.iter().find(|name| !b.contains(name)).cloned();
    if let Some(name) = differs(output.exports(), &expected).or_else(|| differs(&expected, output.exports())) {
        return Err(VerifyError::Export { name });
    }
    Ok(Verified { output, time, facts })
}

/// The input's exports without the init functions, renamed.
fn initialized_exports(plan: &Plan<'_>, init: &InitPlan) -> Vec<String> {
    let is_component = plan.artifact.kind().is_component();
    let is_removed = |name: &String| {
        (*name == init.function && plan.options.init_export == InitExport::Remove)
            || (*name == "_initialize" && !is_component)
    };
    let renamed = |name: &String| init.renames.iter().find(|rename| rename.from == *name);
    let is_replaced = |name: &String| renamed(name).is_none() && init.renames.iter().any(|rename| rename.to == *name);
    let kept = plan.artifact.exports().iter().filter(|name| !is_removed(name) && !is_replaced(name));
    kept.map(|name| renamed(name).map_or_else(|| name.clone(), |rename| rename.to.clone())).collect()
}
