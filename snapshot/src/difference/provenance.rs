//! What two snapshots say about where they come from.

use std::collections::BTreeSet;

use prewasm_artifact::Artifact;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{Change, Few, text::printable};

/// Fields which alone explain why the bytes differ, most telling first; all others are options, and come behind.
const DECIDING: [&str; 3] = ["version", "wasmtime", "inputSha256"];

/// What two files say about where they come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Provenance {
    /// Why one or both cannot be asked.
    pub missing: Vec<String>,
    /// What they say differently: with these, the bytes cannot be the same.
    pub fields: Few<Change>,
}

impl Provenance {
    pub(super) fn compare(a: &Artifact, b: &Artifact) -> Self {
        let mut compared = Self::default();
        let mut read = |artifact| match fields(artifact) {
            Ok(fields) => Some(fields),
            Err(reason) => {
                compared.missing.push(format!("`{}` {reason}", printable(artifact.origin())));
                None
            }
        };
        let (Some(a), Some(b)) = (read(a), read(b)) else { return compared };
        let others: BTreeSet<&str> = a.keys().chain(b.keys()).map(String::as_str).collect();
        let others = others.into_iter().filter(|name| !DECIDING.contains(name));
        for name in DECIDING.into_iter().chain(others) {
            if a.get(name) != b.get(name) {
                let text = |fields: &Map<String, Value>| fields.get(name).map(text);
                compared.fields.push(|| Change { what: printable(name), a: text(&a), b: text(&b) });
            }
        }
        compared
    }
}

fn fields(artifact: &Artifact) -> Result<Map<String, Value>, &'static str> {
    let section = artifact.provenance().ok_or("has no provenance: it is no snapshot of prewasm")?;
    serde_json::from_slice(section).map_err(|_| "has a provenance which cannot be read")
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => printable(text),
        value => printable(&value.to_string()),
    }
}
