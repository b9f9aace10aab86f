//! `--attestation`: how the output was made, for those who verify supply chains: an in-toto Statement v1 with a SLSA
//! Provenance v1 predicate (<https://slsa.dev/spec/v1.0/provenance>), not signed.

use std::{
    path::Path,
    time::{Duration, UNIX_EPOCH},
};

use prewasm_artifact::{Artifact, Sha256, sha256};
use prewasm_ext_http::Access;
use prewasm_snapshot::{Body, EntropyPolicy, InitExport, Options, Strip, Verification, WASMTIME_VERSION};
use serde::Serialize;

use super::{
    args::source_date_epoch,
    declared::{Declared, EntryKind, hash_file},
};
use crate::exit::{Class, Failure};

/// What is parameter and dependency is as README.md says. A name without a place to look it up: the project has no
/// domain of its own.
const BUILD_TYPE: &str = "urn:prewasm:snapshot:v1";
/// A prewasm that somebody runs; whoever signs says who that is.
const BUILDER: &str = "urn:prewasm:builder";

/// What is to be attested.
pub(super) struct Attestation<'a> {
    pub(super) output: &'a Path,
    pub(super) wasm: &'a [u8],
    pub(super) input: &'a Path,
    pub(super) artifact: &'a Artifact,
    pub(super) options: &'a Options,
}

#[derive(Serialize)]
struct Statement {
    #[serde(rename = "_type")]
    kind: &'static str,
    subject: [Resource; 1],
    #[serde(rename = "predicateType")]
    predicate_type: &'static str,
    predicate: Predicate,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Predicate {
    build_definition: BuildDefinition,
    run_details: RunDetails,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BuildDefinition {
    build_type: &'static str,
    external_parameters: Parameters,
    resolved_dependencies: Vec<Resource>,
}

/// The options. Of variables the names only: values may be secrets.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Parameters {
    input: String,
    until: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    init: Option<String>,
    keep_init: bool,
    renames: Vec<String>,
    warm_ups: Vec<String>,
    args: Vec<String>,
    env: Vec<String>,
    dirs: Vec<String>,
    outbound: Vec<String>,
    stdin: bool,
    realtime: u64,
    max_memory: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    fuel: Option<u64>,
    layout: String,
    strip: bool,
    verified: bool,
    frozen_entropy: &'static str,
    allowed_secrets: Vec<String>,
}

/// What SLSA calls a resource descriptor.
#[derive(Serialize)]
struct Resource {
    name: String,
    digest: Digest,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<Annotations>,
}

#[derive(Serialize)]
struct Digest {
    sha256: String,
}

/// The digest of a link is that of where it leads to.
#[derive(Serialize)]
struct Annotations {
    link: String,
}

#[derive(Serialize)]
struct RunDetails {
    builder: Builder,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Metadata>,
}

#[derive(Serialize)]
struct Builder {
    id: &'static str,
    version: Versions,
}

#[derive(Serialize)]
struct Versions {
    prewasm: &'static str,
    wasmtime: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    started_on: String,
    finished_on: String,
}

impl Attestation<'_> {
    /// The statement, as JSON: the same for the same build.
    pub(super) fn text(&self, declared: &Declared) -> Result<String, Failure> {
        let statement = Statement {
            kind: "https://in-toto.io/Statement/v1",
            subject: [resource(file_name(self.output), sha256([self.wasm]))],
            predicate_type: "https://slsa.dev/provenance/v1",
            predicate: Predicate {
                build_definition: BuildDefinition {
                    build_type: BUILD_TYPE,
                    external_parameters: self.parameters(),
                    resolved_dependencies: self.dependencies(declared)?,
                },
                run_details: RunDetails {
                    builder: Builder {
                        id: BUILDER,
                        version: Versions { prewasm: env!("CARGO_PKG_VERSION"), wasmtime: WASMTIME_VERSION },
                    },
                    metadata: metadata()?,
                },
            },
        };
        let text = serde_json::to_string_pretty(&statement);
        text.map(|text| text + "\n").map_err(|error| {
            Failure::new(Class::Ours, anyhow::Error::new(error).context("cannot encode the attestation"))
        })
    }

    fn parameters(&self) -> Parameters {
        let Options {
            until,
            init,
            init_export,
            renames,
            warm_ups,
            inputs,
            limits,
            layout,
            strip,
            verification,
            entropy,
            secrets,
            sizes: _,
        } = self.options;
        Parameters {
            input: file_name(self.input),
            until: until.to_string(),
            init: init.clone(),
            keep_init: *init_export == InitExport::Keep,
            renames: renames.iter().map(|rename| format!("{}={}", rename.to, rename.from)).collect(),
            warm_ups: warm_ups.iter().map(ToString::to_string).collect(),
            args: inputs.args.clone(),
            env: inputs.env.iter().map(|(name, _)| name.clone()).collect(),
            dirs: inputs.dirs.iter().map(directory).collect(),
            outbound: inputs.outbound.iter().map(ToString::to_string).collect(),
            stdin: inputs.stdin.is_some(),
            realtime: inputs.realtime,
            max_memory: limits.memory,
            fuel: limits.fuel,
            layout: layout.to_string(),
            strip: *strip == Strip::Unreachable,
            verified: *verification == Verification::Compare,
            frozen_entropy: match entropy {
                EntropyPolicy::DenyHashKeys => "denied",
                EntropyPolicy::HashKeys => "hash keys",
                EntropyPolicy::Any => "allowed",
            },
            allowed_secrets: secrets.allowed.iter().cloned().collect(),
        }
    }

    /// Names are as the program or the user knows them, without the folders of this machine.
    fn dependencies(&self, declared: &Declared) -> Result<Vec<Resource>, Failure> {
        let mut resources = vec![resource(file_name(self.input), self.artifact.sha256())];
        for warm_up in &self.options.warm_ups {
            if let Body::File(path) = &warm_up.body {
                resources.push(resource(file_name(path), hash_file(path)?));
            }
        }
        if let Some(content) = &self.options.inputs.stdin {
            resources.push(resource("stdin".to_owned(), sha256([content.as_ref()])));
        }
        for entry in &declared.entries {
            let Some(hash) = entry.hash()? else { continue };
            let guest = &self.options.inputs.dirs[entry.directory].guest;
            let mut found = resource(format!("{}/{}", guest.trim_end_matches('/'), entry.name.display()), hash);
            if let EntryKind::Link { target } = &entry.kind {
                found.annotations = Some(Annotations { link: target.display().to_string() });
            }
            resources.push(found);
        }
        Ok(resources)
    }
}

fn directory(directory: &prewasm_ext_http::Directory) -> String {
    let access = match directory.access {
        Access::ReadOnly => "ro",
        Access::ReadWrite => "rw",
    };
    format!("{}::{access}", directory.guest)
}

fn resource(name: String, hash: Sha256) -> Resource {
    Resource { name, digest: Digest { sha256: hash.to_string() }, annotations: None }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// A time that is not declared would be another for each build.
fn metadata() -> Result<Option<Metadata>, Failure> {
    let Some(seconds) = source_date_epoch()? else { return Ok(None) };
    let time = UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
    // RFC 3339 has four digits for the year, and the library refuses more.
    let in_range = time.filter(|_| seconds < 253_402_300_800);
    let text = in_range.map(|time| humantime::format_rfc3339_seconds(time).to_string());
    Ok(text.map(|text| Metadata { started_on: text.clone(), finished_on: text }))
}
