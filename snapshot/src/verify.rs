//! The output must be what it claims before anyone gets it.

use std::time::Duration;

use prewasm_artifact::{Artifact, ArtifactError, SNAPSHOT_SECTION, append_section};

use crate::{initialize::Initialized, options::InitExport, preflight::Plan, provenance::provenance};

/// A snapshot which validates and has the interface of its input.
#[derive(Debug)]
pub(crate) struct Verified<'a> {
    pub(crate) plan: Plan<'a>,
    pub(crate) output: Artifact,
    pub(crate) init_time: Duration,
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
pub(crate) fn verify(initialized: Initialized<'_>) -> Result<Verified<'_>, VerifyError> {
    let Initialized { plan, mut wasm, init_time } = initialized;
    append_section(&mut wasm, SNAPSHOT_SECTION, &provenance(&plan)?);
    let output = Artifact::from_bytes("snapshot", wasm)?;
    if output.imports() != plan.artifact.imports() {
        return Err(VerifyError::Imports);
    }
    let expected = expected_exports(&plan);
    let differs = |a: &[String], b: &[String]| a.iter().find(|name| !b.contains(name)).cloned();
    if let Some(name) = differs(output.exports(), &expected).or_else(|| differs(&expected, output.exports())) {
        return Err(VerifyError::Export { name });
    }
    Ok(Verified { plan, output, init_time })
}

/// The input's exports without the init functions, renamed.
fn expected_exports(plan: &Plan<'_>) -> Vec<String> {
    let is_component = plan.artifact.kind().is_component();
    let is_removed = |name: &String| {
        (*name == plan.init && plan.options.init_export == InitExport::Remove)
            || (*name == "_initialize" && !is_component)
    };
    let renamed = |name: &String| plan.renames.iter().find(|rename| rename.from == *name);
    let is_replaced = |name: &String| renamed(name).is_none() && plan.renames.iter().any(|rename| rename.to == *name);
    let kept = plan.artifact.exports().iter().filter(|name| !is_removed(name) && !is_replaced(name));
    kept.map(|name| renamed(name).map_or_else(|| name.clone(), |rename| rename.to.clone())).collect()
}
