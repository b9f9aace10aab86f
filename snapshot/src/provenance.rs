//! The custom section which tells where a snapshot comes from: what decides its content, and nothing of the machine it
//! was made on.

use prewasm_artifact::{Artifact, sha256};
use prewasm_ext_http::{Access, Draw, Reseed};
use serde::{Deserialize, Serialize};

use crate::{
    options::{InitExport, Rename, Strip},
    preflight::{Method, Plan},
};

/// Version of the JSON in the section.
const SCHEMA_VERSION: u32 = 1;
/// The engine which ran the program. Its crate does not tell; a test compares with the manifest.
pub const WASMTIME_VERSION: &str = "48.0.8";

/// Fields in a fixed order, and no maps: the same build gives the same bytes.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Provenance<'a> {
    schema_version: u32,
    tool: &'static str,
    version: &'static str,
    wasmtime: &'static str,
    input_sha256: String,
    until: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    init: Option<&'a str>,
    keep_init: bool,
    renames: Vec<String>,
    /// Requests, in order; what their answers were like shows in the content.
    warm_ups: Vec<String>,
    args: &'a [String],
    /// Names only: values may be secrets.
    env: Vec<&'a str>,
    dirs: Vec<Dir<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stdin_sha256: Option<String>,
    realtime: u64,
    layout: String,
    strip: bool,
    /// Hash keys, which each instance draws anew.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    reseeded: &'a [Reseed],
}

/// The hash keys which an earlier snapshot of this program has found.
pub(crate) fn reseeded(artifact: &Artifact) -> Vec<Reseed> {
    /// What is read of the section, whoever wrote it.
    #[derive(Deserialize)]
    struct Found {
        #[serde(default)]
        reseeded: Vec<Reseed>,
    }

    /// More than any program has, which has one for each thread.
    const MAX_CELLS: usize = 16;
    let found = artifact.provenance().and_then(|section| serde_json::from_slice::<Found>(section).ok());
    let mut reseeded = found.map(|found| found.reseeded).unwrap_or_default();
    reseeded.truncate(MAX_CELLS);
    let keys = u32::try_from(Draw::HEAD).unwrap_or(u32::MAX);
    let is_apart = reseeded.is_sorted_by(|a, b| a.offset.saturating_add(u64::from(a.length)) <= b.offset);
    let can_draw = artifact.imports().iter().any(|import| import.name == "random_get");
    if can_draw && is_apart && reseeded.iter().all(|cell| cell.length == keys && cell.offset < u64::from(u32::MAX)) {
        reseeded
    } else {
        // Nothing that we have written.
        Vec::new()
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Dir<'a> {
    guest: &'a str,
    access: &'static str,
}

/// The content of the section.
pub(crate) fn provenance(plan: &Plan<'_>, reseeded: &[Reseed]) -> serde_json::Result<Vec<u8>> {
    let inputs = &plan.options.inputs;
    let (until, init) = match &plan.method {
        Method::Init(init) => ("init".to_owned(), Some(init)),
        Method::Freeze(stop) => (stop.to_string(), None),
    };
    let dirs = inputs.dirs.iter().map(|dir| Dir {
        guest: &dir.guest,
        access: match dir.access {
            Access::ReadOnly => "ro",
            Access::ReadWrite => "rw",
        },
    });
    serde_json::to_vec(&Provenance {
        schema_version: SCHEMA_VERSION,
        tool: "prewasm",
        version: env!("CARGO_PKG_VERSION"),
        wasmtime: WASMTIME_VERSION,
        input_sha256: plan.artifact.sha256().to_string(),
        until,
        init: init.map(|init| init.function.as_str()),
        keep_init: plan.options.init_export == InitExport::Keep,
        renames: init
            .map_or(&[][..], |init| &init.renames)
            .iter()
            .map(|Rename { to, from }| format!("{to}={from}"))
            .collect(),
        warm_ups: plan.options.warm_ups.iter().map(ToString::to_string).collect(),
        args: &inputs.args,
        env: inputs.env.iter().map(|(name, _)| name.as_str()).collect(),
        dirs: dirs.collect(),
        stdin_sha256: inputs.stdin.as_deref().map(|content| sha256([content]).to_string()),
        realtime: inputs.realtime,
        layout: plan.options.layout.to_string(),
        strip: plan.options.strip == Strip::Unreachable,
        reseeded,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engines_version_is_the_pinned_one() {
        let manifest = include_str!("../../Cargo.toml");
        assert!(manifest.contains(&format!("\nwasmtime = {{ version = \"={WASMTIME_VERSION}\"")));
    }
}
