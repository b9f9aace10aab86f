//! From a program at its stop point to the file: how it is laid out, what it does by itself before it goes on, and our
//! sections.

use std::time::Duration;

use prewasm_artifact::{FROZEN_SECTION, SNAPSHOT_SECTION, append_section};
use prewasm_ext_http::{Frozen, Reseed};
use serde::Serialize;

use crate::{
    cleared::Cleared,
    entropy::Entropy,
    freeze::Facts,
    host_calls::Asked,
    layout::{self, LayoutError},
    options::{Options, Strip},
    preflight::Plan,
    program::Program,
    prologue::{Prologue, PrologueError},
    provenance::{provenance, reseeded},
    sections::{PREAMBLE, Section, sections},
    state::{contents, modules},
    strip::{StripError, strip},
};

/// A program brought to its stop point.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) wasm: Vec<u8>,
    /// How long it ran, without compilation.
    pub(crate) time: Duration,
    pub(crate) asked: Asked,
    pub(crate) cleared: Cleared,
    pub(crate) entropy: Entropy,
    pub(crate) how: How,
}

/// How the program was brought there.
#[derive(Debug)]
pub(crate) enum How {
    Initialized {
        /// Constructors would have run again at each call, and do no more.
        constructors_silenced: bool,
    },
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
    pub(crate) cleared: Cleared,
    pub(crate) entropy: Entropy,
    /// What happened, if it was frozen while it ran.
    pub(crate) facts: Option<Facts>,
    /// What each instance fills with random bytes of its own.
    pub(crate) reseeded: Vec<Reseed>,
    pub(crate) environment: Seen,
    pub(crate) preopens: Seen,
    pub(crate) constructors_silenced: bool,
}

/// Whose environment variables, or whose directories, a snapshot sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum Seen {
    /// Those of its host: it has not asked for them yet.
    Fresh,
    /// Those of its host: it asks for them again before it goes on. What it has made of the earlier ones stays.
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
    /// The program cannot be stripped.
    #[error(transparent)]
    Strip(#[from] StripError),
    /// The content of its memories cannot be laid out.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// Stripped and laid out, it would start with something else: a fault of ours.
    #[error("the content of its memories has changed while it was laid out; this is a bug")]
    Content,
    /// It does not parse: a fault of ours.
    #[error("the snapshot cannot be taken apart; this is a bug")]
    Malformed(#[from] wasmparser::BinaryReaderError),
    /// A section of ours cannot be written down.
    #[error("cannot encode what the snapshot tells about itself")]
    Encode(#[from] serde_json::Error),
}

/// Puts the snapshot together.
pub(crate) fn assemble(plan: &Plan<'_>, built: Built) -> Result<Assembled, AssembleError> {
    let Built { wasm, time, asked, cleared, entropy, how } = built;
    let options = plan.options;
    let mut wasm = rewrite(wasm, options)?;
    let reseeded = entropy.reseed(&reseeded(plan.artifact));
    let (mut frozen, facts, constructors_silenced) = match how {
        How::Initialized { constructors_silenced } => (None, None, constructors_silenced),
        How::Frozen { frozen, facts } => (Some(frozen), Some(facts), false),
    };
    let mut prologue = Prologue::default();
    match &mut frozen {
        // Only a host that knows of frozen programs can run it: it also does this.
        Some(frozen) if !frozen.host.is_portable() => frozen.reseed(reseeded.clone()),
        _ => prologue.reseed.clone_from(&reseeded),
    }
    let (mut environment, mut preopens) = (Seen::Fresh, Seen::Fresh);
    if !plan.artifact.kind().is_component() {
        let program = Program::parse(&wasm).map_err(|_| PrologueError)?;
        let seen = |is_read_again| if is_read_again { Seen::ReadAgain } else { Seen::Frozen };
        if frozen.as_ref().map_or(asked.has_read_environment(), |frozen| frozen.environment_read) {
            environment = seen(prologue.read_environment(&program));
        }
        if asked.has_read_preopens() {
            preopens = seen(prologue.read_preopens(&program));
        }
    }
    if !prologue.is_empty() {
        wasm = prologue.inject(&wasm, plan.artifact.imports())?;
    }
    let mut wasm = without_our_sections(&wasm)?;
    append_section(&mut wasm, SNAPSHOT_SECTION, &provenance(plan, &reseeded)?);
    if let Some(frozen) = &mut frozen {
        frozen.environment_read = environment == Seen::Frozen;
        append_section(&mut wasm, FROZEN_SECTION, &frozen.to_section()?);
    }
    Ok(Assembled { wasm, time, asked, cleared, entropy, facts, reseeded, environment, preopens, constructors_silenced })
}

/// Strips the program and lays out its memories, neither of which may change what an instance starts with.
fn rewrite(wasm: Vec<u8>, options: &Options) -> Result<Vec<u8>, AssembleError> {
    let rewritten = match options.strip {
        Strip::Nothing => layout::apply(&wasm, options.layout)?,
        Strip::Unreachable => layout::apply(&strip(&wasm)?, options.layout)?,
    };
    if rewritten != wasm && !memories_are_equal(&rewritten, &wasm) {
        return Err(AssembleError::Content);
    }
    Ok(rewritten)
}

/// The program without what an earlier snapshot says about itself.
fn without_our_sections(wasm: &[u8]) -> Result<Vec<u8>, AssembleError> {
    let is_ours = |section: &Section<'_>| section.custom().is_some_and(|(name, _)| name.starts_with("prewasm."));
    let mut kept = wasm[..PREAMBLE].to_vec();
    for section in sections(wasm)?.iter().filter(|section| !is_ours(section)) {
        kept.extend_from_slice(section.whole);
    }
    Ok(kept)
}

/// Whether two programs start with the same in their memories.
fn memories_are_equal(a: &[u8], b: &[u8]) -> bool {
    let (Ok(a), Ok(b)) = (modules(a), modules(b)) else { return false };
    a.len() == b.len()
        && a.iter().zip(&b).all(|(a, b)| match (contents(a), contents(b)) {
            (Some(a), Some(b)) => a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| a.is_like(b)),
            (None, None) => true,
            _ => false,
        })
}
