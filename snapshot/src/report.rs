//! What was done and what came of it, for people and for machines.

use std::{fmt, time::Duration};

use prewasm_artifact::Artifact;
use serde::Serialize;

use crate::{
    census::{census, imports_used},
    provenance::WASMTIME_VERSION,
    verify::Verified,
};

/// The outcome of a build.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Version of this structure as JSON.
    pub schema_version: u32,
    /// Version of prewasm.
    pub version: &'static str,
    /// Version of the engine which ran the init function.
    pub wasmtime: &'static str,
    /// What the program is.
    pub kind: &'static str,
    /// The initialization.
    pub init: Init,
    /// The program before.
    pub input: Image,
    /// The program after.
    pub output: Image,
    /// Imports which can still be reached; for a component, all.
    pub imports_used: Vec<String>,
    /// How many imports there are.
    pub imports: usize,
}

/// The initialization.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Init {
    /// The function that was run.
    pub function: String,
    /// How long it took, instantiation included, in microseconds.
    pub microseconds: u64,
}

/// A binary in figures.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Image {
    /// Its size.
    pub bytes: u64,
    /// Its hash.
    pub sha256: String,
    /// Data segments with content.
    pub data_segments: u64,
    /// Bytes which instantiation writes to memories.
    pub initialized_bytes: u64,
    /// Pages of all memories at instantiation.
    pub memory_pages: u64,
}

impl Report {
    const SCHEMA_VERSION: u32 = 1;

    pub(crate) fn of(verified: &Verified<'_>) -> Self {
        Self {
            schema_version: Self::SCHEMA_VERSION,
            version: env!("CARGO_PKG_VERSION"),
            wasmtime: WASMTIME_VERSION,
            kind: verified.plan.artifact.kind().name(),
            init: Init {
                function: verified.plan.init.clone(),
                microseconds: u64::try_from(verified.init_time.as_micros()).unwrap_or(u64::MAX),
            },
            input: Image::of(verified.plan.artifact),
            output: Image::of(&verified.output),
            imports_used: imports_used(&verified.output),
            imports: verified.output.imports().len(),
        }
    }
}

impl Image {
    fn of(artifact: &Artifact) -> Self {
        let census = census(artifact);
        Self {
            bytes: artifact.bytes().len() as u64,
            sha256: artifact.sha256().to_string(),
            data_segments: census.data_segments,
            initialized_bytes: census.initialized_bytes,
            memory_pages: census.memory_pages,
        }
    }
}

/// A summary of a few lines.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { init, input, output, .. } = self;
        let time = Duration::from_micros(init.microseconds);
        writeln!(f, "`{}` ran for {time:.1?}; it need not run again", init.function)?;
        writeln!(f, "  size         {} -> {} bytes", input.bytes, output.bytes)?;
        writeln!(f, "  data         {} -> {} bytes", input.initialized_bytes, output.initialized_bytes)?;
        writeln!(f, "  segments     {} -> {}", input.data_segments, output.data_segments)?;
        writeln!(f, "  memory       {} -> {} pages", input.memory_pages, output.memory_pages)?;
        writeln!(f, "  imports used {} of {}", self.imports_used.len(), self.imports)?;
        write!(f, "  sha256       {}", output.sha256)
    }
}
