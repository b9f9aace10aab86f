//! From a program at its stop point to the file: what it does by itself before it goes on, and our sections.

use std::time::Duration;

use prewasm_artifact::{FROZEN_SECTION, SNAPSHOT_SECTION, append_section};
use prewasm_ext_http::{Frozen, Reseed};
use serde::Serialize;

use crate::{
    entropy::Entropy,
    freeze::Facts,
    host_calls::Asked,
    preflight::Plan,
    program::Program,
    prologue::{Prologue, PrologueError},
    provenance::{provenance, reseeded},
};

/// A program brought to its stop point.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) wasm: Vec<u8>,
    /// How long it ran, without compilation.
    pub(crate) time: Duration,
    pub(crate) asked: Asked,
    pub(crate) entropy: Entropy,
    pub(crate) how: How,
}

/// How the program was brought there.
#[derive(Debug)]
pub(crate) enum How {
    Initialized,
    Frozen {
        /// What the host must know to go on.
        frozen: Box<Frozen>,
        facts: Facts,
    },
}

/// A snapshot in one piece, which nobody has checked.
#[derive(Debug)]
pub(crate) struct Assembled {
    pub(crate) wasm: Vec<u8>,
    pub(crate) time: Duration,
    pub(crate) asked: Asked,
    pub(crate) entropy: Entropy,
    /// What happened, if it was frozen while it ran.
    pub(crate) facts: Option<Facts>,
    /// What each instance fills with random bytes of its own.
    pub(crate) reseeded: Vec<Reseed>,
    pub(crate) environment: EnvironmentSeen,
}

/// Which environment variables a snapshot sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum EnvironmentSeen {
    /// Those of its host: it has not asked for them yet.
    Fresh,
    /// Those of its host: it reads them again before it goes on. What it has made of the earlier ones stays.
    ReadAgain,
    /// Those of the build.
    Frozen,
}

/// Why a snapshot could not be put together.
#[derive(Debug, thiserror::Error)]
pub enum AssembleError {
    /// The prologue does not fit.
    #[error(transparent)]
    Prologue(#[from] PrologueError),
    /// A section of ours cannot be written down.
    #[error("cannot encode what the snapshot tells about itself")]
    Encode(#[from] serde_json::Error),
}

/// Puts the snapshot together.
pub(crate) fn assemble(plan: &Plan<'_>, built: Built) -> Result<Assembled, AssembleError> {
    let Built { mut wasm, time, asked, entropy, how } = built;
    let reseeded = entropy.reseed(&reseeded(plan.artifact));
    let (mut frozen, facts) = match how {
        How::Initialized => (None, None),
        How::Frozen { frozen, facts } => (Some(frozen), Some(facts)),
    };
    let has_read_environment = frozen.as_ref().map_or(asked.has_read_environment(), |frozen| frozen.environment_read);
    let mut prologue = Prologue::default();
    match &mut frozen {
        // Only a host that knows of frozen programs can run it: it also does this.
        Some(frozen) if !frozen.host.is_portable() => frozen.reseed(reseeded.clone()),
        _ => prologue.reseed.clone_from(&reseeded),
    }
    if has_read_environment && !plan.artifact.kind().is_component() {
        let program = Program::parse(&wasm).map_err(|_| PrologueError)?;
        prologue.read_environment = Prologue::environment_reader(&program);
    }
    let environment = match (has_read_environment, prologue.read_environment) {
        (false, _) => EnvironmentSeen::Fresh,
        (true, Some(_)) => EnvironmentSeen::ReadAgain,
        (true, None) => EnvironmentSeen::Frozen,
    };
    if !prologue.is_empty() {
        wasm = prologue.inject(&wasm, plan.artifact.imports())?;
    }
    append_section(&mut wasm, SNAPSHOT_SECTION, &provenance(plan, &reseeded)?);
    if let Some(frozen) = &mut frozen {
        frozen.environment_read = environment == EnvironmentSeen::Frozen;
        append_section(&mut wasm, FROZEN_SECTION, &frozen.to_section()?);
    }
    Ok(Assembled { wasm, time, asked, entropy, facts, reseeded, environment })
}
