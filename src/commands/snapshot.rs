//! `prewasm snapshot`.

mod args;
mod attestation;
mod budget;
mod cache;
mod check;
mod class;
mod declared;
mod depfile;
mod progress;

pub use args::SnapshotArgs;

use std::path::Path;

use prewasm_artifact::{Artifact, write_whole};
use prewasm_snapshot::{Options, Report, Snapshot, build};

use self::{attestation::Attestation, cache::Cache, check::Expected, declared::Declared};
use crate::{
    cli::Format,
    exit::{Class, Exit, Failure},
    output,
};

/// A snapshot, made now or before.
struct Outcome {
    wasm: Vec<u8>,
    /// The report as JSON.
    report: String,
    /// The report for people.
    summary: String,
}

/// Makes a snapshot.
pub fn run(args: &SnapshotArgs, quiet: bool) -> Result<Exit, Failure> {
    args.check_streams()?;
    let options = args.options()?;
    let artifact = Artifact::read(&args.input)?;
    let expected = args.check.as_deref().map(Expected::read).transpose()?;
    let outcome = obtain(args, &artifact, &options, quiet)?;
    args.budget.check(artifact.bytes().len() as u64, outcome.wasm.len() as u64)?;
    if let Some(expected) = expected {
        args.report(&outcome, true)?;
        return expected.compare(artifact.origin(), outcome.wasm, quiet);
    }
    // Of the two, clap makes sure.
    if let Some(path) = &args.output {
        write(args, path, &artifact, &options, &outcome)?;
    }
    args.report(&outcome, quiet)?;
    Ok(Exit::Done)
}

/// From the cache, or by building. What is checked is always built: that is what it is checked for.
fn obtain(args: &SnapshotArgs, artifact: &Artifact, options: &Options, quiet: bool) -> Result<Outcome, Failure> {
    let make =
        || build(artifact, options, &progress::progress(quiet)).map_err(|error| Failure::new(class::of(&error), error));
    let cache = match &args.cache_dir {
        Some(folder) if args.check.is_none() => Cache::at(folder, options)?,
        _ => None,
    };
    match cache {
        Some(cache) => cache.get_or(artifact, options, make),
        None => Outcome::of(make()?),
    }
}

/// The output comes last: once it is there, Make takes it for up to date.
fn write(
    args: &SnapshotArgs,
    path: &Path,
    artifact: &Artifact,
    options: &Options,
    outcome: &Outcome,
) -> Result<(), Failure> {
    let mut files = Vec::new();
    if args.depfile.is_some() || args.attestation.is_some() {
        let declared = Declared::of(options)?;
        if let Some(file) = &args.depfile {
            let written = [Some(path), Some(file), args.report.as_deref(), args.attestation.as_deref()];
            let written: Vec<_> = written.into_iter().flatten().collect();
            files.push((file, depfile::text(path, &args.files(), &declared, &written)?));
        }
        if let Some(file) = &args.attestation {
            let attestation = Attestation { output: path, wasm: &outcome.wasm, input: &args.input, artifact, options };
            files.push((file, attestation.text(&declared)?));
        }
    }
    files.iter().try_for_each(|(file, text)| write_whole(file, text.as_bytes()))?;
    output::binary(path, &outcome.wasm)
}

impl Outcome {
    fn of(snapshot: Snapshot) -> Result<Self, Failure> {
        let summary = snapshot.report.to_string();
        Ok(Self { report: json(&snapshot.report)?, wasm: snapshot.wasm, summary })
    }
}

fn json(report: &Report) -> Result<String, Failure> {
    let text = serde_json::to_string_pretty(report);
    text.map(|text| text + "\n")
        .map_err(|error| Failure::new(Class::Ours, anyhow::Error::new(error).context("cannot encode the report")))
}

impl SnapshotArgs {
    fn report(&self, outcome: &Outcome, quiet: bool) -> Result<(), Failure> {
        if let Some(path) = &self.report {
            write_whole(path, outcome.report.as_bytes())?;
        }
        match self.format {
            Format::Json => output::result(&outcome.report),
            Format::Text if quiet => Ok(()),
            Format::Text => {
                output::message(format_args!("{}", outcome.summary));
                Ok(())
            }
        }
    }
}
