//! Who builds: Wizer, and prewasm with several sets of options.

use std::path::Path;

use prewasm_artifact::Artifact;
use prewasm_snapshot::{Layout, Options, Strip, build, silent};
use wasmtime::{Cache, CacheConfig};

use crate::{
    cases::Case,
    wizer::{self, Imports},
};

/// One way to make a snapshot.
pub(crate) enum Builder {
    /// Wizer as in Wasmtime's CLI.
    Wizer {
        /// What the program can call.
        imports: Imports,
        /// Where compiled code is kept.
        cache: Option<Cache>,
    },
    /// prewasm.
    Prewasm {
        /// How the options are called in the table.
        name: &'static str,
        /// The options.
        options: Box<Options>,
    },
}

/// All ways for a case: Wizer's, if it can build it, and ours. The CLI's code cache is in `folder`.
pub(crate) fn all(case: &Case, folder: &Path) -> anyhow::Result<Vec<Builder>> {
    let mut builders = Vec::new();
    if let Some(imports) = case.wizer {
        let mut config = CacheConfig::new();
        config.with_directory(folder.join("code"));
        let caches = [None, Some(Cache::new(config)?)];
        builders.extend(caches.map(|cache| Builder::Wizer { imports, cache }));
    }
    let ours = variants(&case.options).into_iter();
    builders.extend(ours.map(|(name, options)| Builder::Prewasm { name, options: Box::new(options) }));
    Ok(builders)
}

/// Sets of options of ours which are compared: a line each.
fn variants(common: &Options) -> Vec<(&'static str, Options)> {
    let stripped = Options { strip: Strip::Unreachable, ..common.clone() };
    let wire = Options { layout: Layout::Wire, ..stripped.clone() };
    vec![("prewasm", common.clone()), ("prewasm --strip", stripped), ("prewasm --optimize wire --strip", wire)]
}

impl Builder {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Wizer { cache: None, .. } => "wasmtime wizer",
            Self::Wizer { cache: Some(_), .. } => "wasmtime wizer, code cached",
            Self::Prewasm { name, .. } => name,
        }
    }

    /// Whether the others are compared with it.
    pub(crate) fn is_yardstick(&self) -> bool {
        matches!(self, Self::Wizer { cache: None, .. })
    }

    /// Whether it promises the same bytes for the same input. Wizer's programs have the real clock and real randomness.
    pub(crate) fn is_reproducible(&self) -> bool {
        matches!(self, Self::Prewasm { .. })
    }

    pub(crate) fn build(&self, wasm: &[u8]) -> anyhow::Result<Vec<u8>> {
        match self {
            Self::Wizer { imports, cache } => wizer::build(wasm, *imports, cache.clone()),
            Self::Prewasm { options, .. } => {
                let artifact = Artifact::from_bytes("input", wasm.to_vec())?;
                Ok(build(&artifact, options, &silent())?.wasm)
            }
        }
    }
}
