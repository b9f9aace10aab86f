//! The output must be what it claims before anyone gets it.

use prewasm_artifact::{Artifact, ArtifactError};

use crate::{
    assemble::Assembled,
    freeze::keeps_export,
    options::InitExport,
    preflight::{InitPlan, Method, Plan},
};

/// A snapshot which validates and has the interface of its input.
#[derive(Debug)]
pub(crate) struct Verified {
    pub(crate) output: Artifact,
    pub(crate) assembled: Assembled,
}

/// What is wrong with an output.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// It is not valid.
    #[error("the output does not validate")]
    Invalid(#[from] ArtifactError),
    /// It does not parse.
    #[error("the output does not parse")]
    Unreadable(#[from] wasmparser::BinaryReaderError),
    /// Its imports are not those of the input.
    #[error("the output's imports differ from the input's")]
    Imports,
    /// The init function can still be called, or something else can no more.
    #[error("the output's export `{name}` is not as it should be")]
    Export {
        /// The export.
        name: String,
    },
}

/// Checks the whole.
pub(crate) fn verify(plan: &Plan<'_>, mut assembled: Assembled) -> Result<Verified, VerifyError> {
    let output = Artifact::from_bytes("snapshot", std::mem::take(&mut assembled.wasm))?;
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
    Ok(Verified { output, assembled })
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
