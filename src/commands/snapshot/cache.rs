//! `--cache-dir`: the results of former builds. The same inputs and options give the same bytes, so they need not be
//! made again.

mod key;

use std::{
    fs,
    path::{Path, PathBuf},
};

use prewasm_artifact::{Artifact, Sha256, create_private_folder, sha256, write_whole};
use prewasm_ext_http::Access;
use prewasm_snapshot::{Options, Snapshot, scan_for_secrets};

use super::{Outcome, json};
use crate::exit::{Class, Failure};

/// Size of a hash, and of a length.
const HASH: usize = 32;
const LENGTH: usize = 8;

/// A folder of results.
pub(super) struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// A cache in `folder`, which is created if it is missing; `None`, with a warning, for a build which has effects, or
    /// depends on what is outside of this machine.
    pub(super) fn at(folder: &Path, options: &Options) -> Result<Option<Self>, Failure> {
        if let Some(reason) = hindrance(options) {
            tracing::warn!("the cache is not used: {reason}");
            return Ok(None);
        }
        create_private_folder(folder).map_err(|error| {
            let context = format!("cannot keep results in `{}`", folder.display());
            Failure::new(Class::Usage, anyhow::Error::new(error).context(context))
        })?;
        Ok(Some(Self { folder: folder.to_owned() }))
    }

    /// The result for these inputs, from here or by making it.
    pub(super) fn get_or(
        &self,
        artifact: &Artifact,
        options: &Options,
        make: impl FnOnce() -> Result<Snapshot, Failure>,
    ) -> Result<Outcome, Failure> {
        let key = key::of(artifact, options)?;
        let entry = self.folder.join(format!("{key}.snapshot"));
        if let Some(outcome) = read(&entry, key) {
            judge(artifact, &outcome.wasm, options)?;
            return Ok(outcome);
        }
        let snapshot = make()?;
        // Files which have changed since are not those that the program has seen.
        match key::of(artifact, options)? == key {
            true => keep(&entry, key, &snapshot)?,
            false => tracing::warn!("the result is not kept: declared files have changed while it was made"),
        }
        Outcome::of(snapshot)
    }
}

/// What is a secret on this machine need not have been one where the result was made.
fn judge(artifact: &Artifact, wasm: &[u8], options: &Options) -> Result<(), Failure> {
    let output = Artifact::from_bytes("cache", wasm.to_vec())?;
    let found = scan_for_secrets(artifact, &output, &options.secrets);
    let found = found.map_err(|error| Failure::new(Class::Verification, error))?;
    found.judge().map_err(|error| Failure::new(Class::Policy, error))
}

fn hindrance(options: &Options) -> Option<&'static str> {
    if !options.inputs.outbound.is_empty() {
        return Some("what a program gets by `--allow-outbound` may be something else each time");
    }
    let is_writable = options.inputs.dirs.iter().any(|dir| dir.access == Access::ReadWrite);
    is_writable.then_some("the program may write to a directory of `--dir`, which must happen each time")
}

/// An entry: the hash of all that follows, the key, the report and the summary, each behind its length, and the output.
fn read(entry: &Path, key: Sha256) -> Option<Outcome> {
    let bytes = fs::read(entry).ok()?;
    let outcome = parse(&bytes, key);
    if outcome.is_none() {
        tracing::warn!("building again: `{entry}` is damaged, or not ours", entry = entry.display());
    }
    outcome
}

fn parse(bytes: &[u8], key: Sha256) -> Option<Outcome> {
    let (hash, rest) = bytes.split_at_checked(HASH)?;
    if sha256([rest]).as_bytes() != hash {
        return None;
    }
    let rest = rest.strip_prefix(key.as_bytes().as_slice())?;
    let (report, rest) = text(rest)?;
    let (summary, wasm) = text(rest)?;
    // Whatever is there, only a valid program leaves.
    Artifact::from_bytes("cache", wasm.to_vec()).ok().filter(|artifact| artifact.provenance().is_some())?;
    Some(Outcome { wasm: wasm.to_vec(), report, summary: format!("from cache\n{summary}") })
}

fn text(bytes: &[u8]) -> Option<(String, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<LENGTH>()?;
    let (text, rest) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
    Some((String::from_utf8(text.to_vec()).ok()?, rest))
}

/// A result that cannot be kept is a result all the same.
fn keep(entry: &Path, key: Sha256, snapshot: &Snapshot) -> Result<(), Failure> {
    let summary = snapshot.report.to_string();
    let mut report = snapshot.report.clone();
    report.from_cache = true;
    let mut content = key.as_bytes().to_vec();
    for text in [json(&report)?, summary] {
        content.extend((text.len() as u64).to_le_bytes());
        content.extend(text.as_bytes());
    }
    content.extend(&snapshot.wasm);
    let bytes = [sha256([content.as_slice()]).as_bytes().as_slice(), &content].concat();
    if let Err(error) = write_whole(entry, &bytes) {
        tracing::warn!("the result is not kept: {error}: {source}", source = error.source);
    }
    Ok(())
}
