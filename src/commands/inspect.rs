//! `prewasm inspect`.

use std::{fmt::Write as _, net::SocketAddr, path::PathBuf};

use anyhow::Context as _;
use clap::Args;
use prewasm_artifact::{Artifact, Family, Import, Kind, PREVIEW1};
use prewasm_ext_http::{
    Frozen, FrozenError, imports,
    port::{Objection, Plan, PortOptions, plan},
};
use prewasm_gateway::{Limits, Mode, PrepareError, compile_objection, objections, provides, run};
use prewasm_snapshot::{Difference, Options};
use serde::Serialize;

use crate::{
    cli::Format,
    exit::{Class, Exit, Failure, chain},
    output,
};

/// Version of the JSON.
const SCHEMA_VERSION: u32 = 1;

/// Options of `inspect`.
#[derive(Args, Debug)]
#[command(after_help = "\
With `--diff`, tells where the first byte is that is not the same, and what differs: provenance, sections, memories,
globals, functions, imports and exports. Exit code 0: the files are the same; 5: they differ.

Examples:
  prewasm inspect app.wasm
  prewasm inspect app.wasm --format json
  prewasm inspect --diff old.snap.wasm new.snap.wasm")]
pub struct InspectArgs {
    /// The module or component, binary or text; `-` is standard input.
    file: PathBuf,
    /// With `--diff`, the file to compare with.
    #[arg(requires = "diff")]
    other: Option<PathBuf>,
    /// Tell how two files differ.
    #[arg(long, requires = "other")]
    diff: bool,
    /// The form of the answer.
    #[arg(long, value_enum, default_value_t, env = "PREWASM_FORMAT", hide_env_values = true)]
    format: Format,
}

/// Tells what a file is, or how two differ.
pub fn run(args: &InspectArgs) -> Result<Exit, Failure> {
    let artifact = Artifact::read(&args.file)?;
    if let Some(other) = &args.other {
        return diff(&artifact, &Artifact::read(other)?, args.format);
    }
    let inspection = Inspection::of(&artifact);
    let text = match args.format {
        Format::Text => inspection.text(&artifact),
        Format::Json => json(&inspection)?,
    };
    output::result(&text)?;
    Ok(Exit::Done)
}

fn diff(a: &Artifact, b: &Artifact, format: Format) -> Result<Exit, Failure> {
    let difference = Difference::between(a, b);
    let text = match format {
        Format::Text => format!("{difference}\n"),
        Format::Json => json(&difference)?,
    };
    output::result(&text)?;
    Ok(if difference.same { Exit::Done } else { Exit::Different })
}

fn json(answer: &impl Serialize) -> Result<String, Failure> {
    let json = serde_json::to_string_pretty(answer).context("cannot encode the answer");
    Ok(json.map_err(|error| Failure::new(Class::Ours, error))? + "\n")
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
struct Inspection {
    schema_version: u32,
    file: String,
    kind: &'static str,
    frozen: bool,
    /// Where a frozen program was stopped; null also if its section cannot be read.
    stop: Option<Stop>,
    bytes: usize,
    sha256: String,
    memories: Vec<MemoryPages>,
    uses_files: bool,
    imports: Vec<ImportRow>,
    exports: Vec<String>,
    verbs: Vec<Verb>,
    /// What `port` would do without options; null if it would refuse.
    port: Option<Port>,
    /// What the custom section says, if prewasm made this.
    snapshot: Option<serde_json::Value>,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
struct Stop {
    until: String,
    #[cfg_attr(test, schemars(with = "Vec<String>"))]
    listeners: Vec<SocketAddr>,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
struct MemoryPages {
    minimum: u64,
    maximum: Option<u64>,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
struct ImportRow {
    import: String,
    #[cfg_attr(test, schemars(with = "String"))]
    family: Family,
    provided: bool,
    /// Why it is not provided.
    reason: Option<String>,
}

/// What a ported program is.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Port {
    /// What the component imports and exports: `proxy` or `command`.
    world: &'static str,
    /// What it will not find as it was.
    notes: Vec<&'static str>,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Verb {
    verb: &'static str,
    works: bool,
    /// The option without which it does not work.
    requires: Option<String>,
    /// Why it does not work.
    reason: Option<String>,
}

impl Inspection {
    fn of(artifact: &Artifact) -> Self {
        let imports: Vec<_> = artifact.imports().iter().map(|import| row(artifact.kind(), import)).collect();
        let port = plan(artifact, &PortOptions::default());
        let memory =
            |memory: &prewasm_artifact::Memory| MemoryPages { minimum: memory.minimum, maximum: memory.maximum };
        Self {
            schema_version: SCHEMA_VERSION,
            file: artifact.origin().to_owned(),
            kind: artifact.kind().name(),
            frozen: artifact.is_frozen(),
            stop: stop(artifact).and_then(Result::ok),
            bytes: artifact.bytes().len(),
            sha256: artifact.sha256().to_string(),
            memories: artifact.memories().iter().map(memory).collect(),
            uses_files: artifact.imports().iter().any(opens_files),
            exports: artifact.exports().to_vec(),
            verbs: verbs(artifact, &imports, port.as_ref().err()),
            port: port.ok().map(|Plan { world, notes, .. }| Port { world: world.name(), notes }),
            imports,
            snapshot: artifact.provenance().and_then(|json| serde_json::from_slice(json).ok()),
        }
    }

    /// Writing to a string cannot fail.
    fn text(&self, artifact: &Artifact) -> String {
        let mut text = format!("{}: {}", self.file, artifact.kind());
        text.push_str(&match &self.stop {
            Some(Stop { until, .. }) => format!(", frozen at {}\n", until.escape_debug()),
            None if self.frozen => ", frozen\n".to_owned(),
            None => "\n".to_owned(),
        });
        let _ = writeln!(text, "  size      {} bytes", self.bytes);
        let _ = writeln!(text, "  sha256    {}", self.sha256);
        for MemoryPages { minimum, maximum } in &self.memories {
            let maximum = maximum.map_or_else(|| "no maximum".to_owned(), |pages| format!("at most {pages}"));
            let _ = writeln!(text, "  memory    {minimum} pages of 64 KiB, {maximum}");
        }
        if artifact.kind() != Kind::Precompiled {
            let _ = writeln!(text, "  files     {}", if self.uses_files { "opens files" } else { "none" });
        }
        for listener in self.stop.iter().flat_map(|stop| &stop.listeners) {
            let _ = writeln!(text, "  listens   on {listener}, as it knows it");
        }
        if let Some(snapshot) = &self.snapshot {
            let field = |name: &str| snapshot[name].as_str().unwrap_or("?").to_owned();
            // A frozen program was not stopped after a function.
            let place = match snapshot["init"].as_str() {
                Some(init) => format!("after `{init}`"),
                None => format!("at `{}`", field("until")),
            };
            let (version, input) = (field("version"), field("inputSha256"));
            let _ = writeln!(text, "  snapshot  by prewasm {version} {place}, of {input}");
        }
        let _ = writeln!(text, "verbs");
        for Verb { verb, requires, reason, .. } in &self.verbs {
            let answer = match (reason, requires) {
                (Some(reason), _) => format!("no: {reason}"),
                (None, Some(option)) => format!("yes, with `{option}`"),
                (None, None) => "yes".to_owned(),
            };
            let _ = writeln!(text, "  {verb:<9} {}", answer.replace('\n', "\n          "));
        }
        if let Some(Port { world, notes }) = &self.port {
            let _ = writeln!(text, "port: to world {world}");
            for note in notes {
                let _ = writeln!(text, "  {note}");
            }
        }
        self.imports_text(&mut text, artifact);
        for (i, export) in self.exports.iter().enumerate() {
            let heading = if i == 0 { "exports\n" } else { "" };
            let _ = writeln!(text, "{heading}  {export}");
        }
        text
    }

    fn imports_text(&self, text: &mut String, artifact: &Artifact) {
        let mut families: Vec<_> = artifact.imports().iter().map(|import| import.family).collect();
        families.sort();
        families.dedup();
        for family in families {
            let _ = writeln!(text, "imports: {family}");
            for row in self.imports.iter().filter(|row| row.family == family) {
                let missing = if row.provided { "" } else { "  NOT PROVIDED" };
                let _ = writeln!(text, "  {}{missing}", row.import);
            }
        }
    }
}

fn opens_files(import: &Import) -> bool {
    (import.module == PREVIEW1 && import.name == "path_open") || import.module.starts_with("wasi:filesystem/types@")
}

fn row(kind: Kind, import: &Import) -> ImportRow {
    let reason = if kind.is_component() { component_reason(import) } else { module_reason(import) };
    ImportRow { import: import.to_string(), family: import.family, provided: reason.is_none(), reason }
}

fn module_reason(import: &Import) -> Option<String> {
    imports::check(import).err().map(|error| error.to_string())
}

fn component_reason(import: &Import) -> Option<String> {
    match import.family {
        _ if provides(&import.module) => None,
        Family::WasiInterface => Some("only WASI 0.2 is provided to components".to_owned()),
        _ => Some("nobody provides it".to_owned()),
    }
}

/// Asks those who decide. Missing imports are reported alike for all verbs that need every import.
fn verbs(artifact: &Artifact, imports: &[ImportRow], port: Option<&Vec<Objection>>) -> Vec<Verb> {
    let missing = imports.iter().any(|row| !row.provided).then(|| "some imports are not provided".to_owned());
    let refused = |reason: Option<String>| reason.or_else(|| missing.clone());
    let verb = |verb, reason: Option<String>| Verb { verb, works: reason.is_none(), requires: None, reason };
    let (served, requires) = serve_reason(artifact);
    vec![
        verb("snapshot", snapshot_reason(artifact)),
        Verb { requires, ..verb("serve", refused(served)) },
        verb("run", refused(run_reason(artifact))),
        verb("port", port.map(|objections| lines(objections))),
        verb("compile", refused(compile_objection(artifact).map(|objection| chain(&objection)))),
    ]
}

fn lines(objections: &[impl ToString]) -> String {
    objections.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// What the section of a frozen program says.
fn stop(artifact: &Artifact) -> Option<Result<Stop, FrozenError>> {
    let frozen = Frozen::parse(artifact.frozen()?);
    Some(frozen.map(|Frozen { until, host, .. }| Stop { until, listeners: host.listeners().collect() }))
}

fn snapshot_reason(artifact: &Artifact) -> Option<String> {
    let objections = prewasm_snapshot::check(artifact, &Options::default()).err()?;
    Some(lines(&objections))
}

const NEEDS_TRUST: &str = "machine code needs `--allow-precompiled`, and is not looked into here";

/// Why `serve` refuses, or what option it needs.
fn serve_reason(artifact: &Artifact) -> (Option<String>, Option<String>) {
    if artifact.kind() == Kind::Precompiled {
        return (Some(NEEDS_TRUST.to_owned()), None);
    }
    let mut objections = objections(artifact, artifact.kind(), Mode::Auto, &Limits::default());
    let mut requires = None;
    objections.retain(|objection| match objection {
        PrepareError::Memory { needed, .. } => {
            requires = Some(format!("--max-memory {}MiB", needed.div_ceil(1024 * 1024)));
            false
        }
        _ => true,
    });
    let reason =
        (!objections.is_empty()).then(|| objections.iter().map(|error| chain(error)).collect::<Vec<_>>().join("\n"));
    (reason, requires)
}

fn run_reason(artifact: &Artifact) -> Option<String> {
    if artifact.kind() == Kind::Precompiled {
        return Some(NEEDS_TRUST.to_owned());
    }
    let objections = run::objections(artifact);
    (!objections.is_empty()).then(|| objections.iter().map(|error| chain(error)).collect::<Vec<_>>().join("\n"))
}

#[cfg(test)]
mod tests {
    use std::{env, fs, path::Path};

    use schemars::generate::SchemaSettings;

    use super::*;

    #[test]
    fn the_schema_is_that_of_the_type() {
        let generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
        let schema = generator.into_root_schema_for::<Inspection>().to_value();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/inspect.schema.json");
        if env::var_os("BLESS").is_some() {
            fs::write(&path, json(&schema).expect("JSON")).expect("writable");
        }
        let found: serde_json::Value = serde_json::from_slice(&fs::read(&path).expect("readable")).expect("JSON");
        assert_eq!(found, schema, "run the tests with BLESS=1");
    }
}
