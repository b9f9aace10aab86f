//! What was done and what came of it, for people and for machines.

mod entropy;

use std::{collections::BTreeMap, fmt, time::Duration};

use prewasm_artifact::Artifact;
use serde::Serialize;

use crate::{
    assemble::Seen,
    census::{census, imports_used},
    cleared::Cleared,
    code::is_debug_info,
    freeze::{Compared, ENTRY, Facts},
    options::Sizes,
    preflight::{Method, Plan},
    program::Program,
    provenance::WASMTIME_VERSION,
    secrets::{Finding, Findings},
    sections::{Section, sections},
    sizes::{FileSizes, InitialData},
    state::Place,
    verify::Verified,
    warm_up::Answer,
};

pub use entropy::{Dependent, EntropyReport, Part};

/// The outcome of a build.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Version of this structure as JSON.
    pub schema_version: u32,
    /// Version of prewasm.
    pub version: &'static str,
    /// Version of the engine which ran the program.
    pub wasmtime: &'static str,
    /// What the program is.
    pub kind: &'static str,
    /// Where the program was stopped: `init`, or the stop point at which it was frozen.
    pub until: String,
    /// The run.
    pub init: Init,
    /// Host calls which have been made, by import; none for a component.
    pub host_calls: BTreeMap<String, u64>,
    /// What was dead in its memory, and is zero now.
    pub cleared: Cleared,
    /// What depends on random bytes and on the time.
    pub entropy: EntropyReport,
    /// What looks like a secret of the build machine, and was allowed.
    pub secrets: Vec<Finding>,
    /// Whose environment variables it sees.
    pub environment: Seen,
    /// Whose directories it sees.
    pub directories: Seen,
    /// How it was frozen, unless it was stopped at the end of its init function.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub freeze: Option<Freeze>,
    /// The program before.
    pub input: Image,
    /// The program after.
    pub output: Image,
    /// The sizes of the file in transit, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transit: Option<FileSizes>,
    /// What the memory of an instance starts with; none for a component.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initial_data: Option<InitialData>,
    /// Imports which can still be reached; for a component, all.
    pub imports_used: Vec<String>,
    /// How many imports there are.
    pub imports: usize,
    /// Whether this is the result of a former build, kept in a cache.
    pub from_cache: bool,
}

/// The run of the program up to its stop point.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Init {
    /// The function that was run.
    pub function: String,
    /// How long it took, instantiation included, in microseconds.
    pub microseconds: u64,
    /// Constructors, which would have run again at each call of an export, do nothing any more.
    pub constructors_silenced: bool,
}

/// A program frozen while it ran.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Freeze {
    /// The import in whose call it was stopped.
    pub stopped_in: String,
    /// Functions which had called and waited for the return.
    pub frames: usize,
    /// What they are called, the innermost first; at most 64 of them.
    pub stack: Vec<String>,
    /// Size of the functions which go on where those waited.
    pub continuation_bytes: usize,
    /// Whether debug information had to be left out.
    pub lost_debug_info: bool,
    /// How far it was run side by side with the original; none if that cannot be done, or was not asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compared: Option<Comparison>,
    /// Addresses on which it listens.
    pub listeners: Vec<String>,
    /// Requests which it answered.
    pub warm_ups: Vec<WarmUpAnswer>,
}

/// A frozen program and the original, run side by side from the stop point on: they did the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Comparison {
    /// Host calls which both made, with the same arguments.
    pub host_calls: usize,
    /// How both ended.
    pub end: String,
}

impl Comparison {
    fn of(compared: &Compared) -> Self {
        Self { host_calls: compared.host_calls, end: compared.end.clone() }
    }
}

/// A request which a server answered before it was frozen.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct WarmUpAnswer {
    /// Method and target.
    pub request: String,
    /// The answer's status.
    pub status: u16,
    /// Size of the answer's content.
    pub bytes: u64,
}

/// A binary in figures.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
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

    pub(crate) fn of(
        plan: &Plan<'_>,
        verified: &Verified,
        secrets: Findings,
        region: &impl Fn(&Place) -> String,
    ) -> Self {
        let assembled = &verified.assembled;
        let (until, function) = match &plan.method {
            Method::Init(init) => ("init".to_owned(), init.function.clone()),
            Method::Freeze(stop) => (stop.to_string(), ENTRY.to_owned()),
        };
        Self {
            schema_version: Self::SCHEMA_VERSION,
            version: env!("CARGO_PKG_VERSION"),
            wasmtime: WASMTIME_VERSION,
            kind: plan.artifact.kind().name(),
            until,
            init: Init {
                function,
                microseconds: u64::try_from(assembled.time.as_micros()).unwrap_or(u64::MAX),
                constructors_silenced: assembled.constructors_silenced,
            },
            host_calls: assembled.asked.counts.clone(),
            cleared: assembled.cleared,
            entropy: EntropyReport::of(assembled, region),
            secrets: secrets.listed,
            environment: assembled.environment,
            directories: assembled.preopens,
            freeze: assembled.facts.as_ref().map(|facts| Freeze::of(facts, plan.artifact, &verified.output)),
            input: Image::of(plan.artifact),
            output: Image::of(&verified.output),
            transit: (plan.options.sizes == Sizes::Compressed).then(|| FileSizes::of(verified.output.bytes())),
            initial_data: Program::parse(verified.output.bytes())
                .ok()
                .filter(|_| !verified.output.kind().is_component())
                .map(|program| {
                    InitialData::of(&program, |memory, offset| region(&Place { memory, offset, length: 0 }))
                }),
            imports_used: imports_used(&verified.output),
            imports: verified.output.imports().len(),
            from_cache: false,
        }
    }
}

/// Whether a module has debug information. It is left out where the code had to move, or was stripped.
fn has_debug_info(artifact: &Artifact) -> bool {
    let sections = sections(artifact.bytes()).unwrap_or_default();
    sections.iter().filter_map(Section::custom).any(|(name, _)| is_debug_info(name))
}

impl Freeze {
    fn of(facts: &Facts, input: &Artifact, output: &Artifact) -> Self {
        let answer = |answer: &Answer| WarmUpAnswer {
            request: answer.request.clone(),
            status: answer.status.as_u16(),
            bytes: answer.bytes,
        };
        Self {
            stopped_in: facts.stopped_in.clone(),
            frames: facts.frames,
            stack: facts.stack.clone(),
            continuation_bytes: facts.continuation_bytes,
            lost_debug_info: has_debug_info(input) && !has_debug_info(output),
            compared: facts.compared.as_ref().map(Comparison::of),
            listeners: facts.listeners.clone(),
            warm_ups: facts.answers.iter().map(answer).collect(),
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
        let Self { until, init, freeze, input, output, .. } = self;
        let time = Duration::from_micros(init.microseconds);
        match freeze {
            None => writeln!(f, "`{}` ran for {time:.1?}; it need not run again", init.function)?,
            Some(freeze) => {
                writeln!(f, "`{}` ran for {time:.1?} and was frozen at `{until}`", init.function)?;
                write!(f, "{freeze}")?;
            }
        }
        if !self.cleared.is_empty() {
            let Cleared { stack_bytes, freed_bytes, .. } = self.cleared;
            writeln!(f, "  cleared      {freed_bytes} bytes which were freed, {stack_bytes} of the stack")?;
        }
        write!(f, "{}", self.entropy)?;
        for secret in &self.secrets {
            writeln!(f, "  secret       {secret}, as was allowed")?;
        }
        for (what, seen) in [("environment ", self.environment), ("directories ", self.directories)] {
            match seen {
                Seen::Fresh => {}
                Seen::ReadAgain => writeln!(f, "  {what} looked at; the program looks again when it goes on")?,
                Seen::Frozen => writeln!(f, "  {what} looked at; later the program sees those of this build")?,
            }
        }
        writeln!(f, "  size         {} -> {} bytes", input.bytes, output.bytes)?;
        if let Some(FileSizes { gzip, brotli, .. }) = self.transit {
            writeln!(f, "  in transit   {gzip} bytes with gzip, {brotli} with brotli")?;
        }
        writeln!(f, "  data         {} -> {} bytes", input.initialized_bytes, output.initialized_bytes)?;
        writeln!(f, "  segments     {} -> {}", input.data_segments, output.data_segments)?;
        writeln!(f, "  memory       {} -> {} pages", input.memory_pages, output.memory_pages)?;
        writeln!(f, "  imports used {} of {}", self.imports_used.len(), self.imports)?;
        write!(f, "  sha256       {}", output.sha256)
    }
}

/// Further lines of the summary.
impl fmt::Display for Freeze {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for WarmUpAnswer { request, status, bytes } in &self.warm_ups {
            writeln!(f, "  warm-up      {request}: {status}, {bytes} bytes")?;
        }
        for listener in &self.listeners {
            writeln!(f, "  listens on   {listener}")?;
        }
        writeln!(f, "  goes on in   {}, {} frames deep", self.stopped_in, self.frames)?;
        if let Some(Comparison { host_calls, end }) = &self.compared {
            writeln!(f, "  verified     beside the original for {host_calls} host calls; both {end}")?;
        }
        if self.lost_debug_info {
            writeln!(f, "  debug info   left out, since code had to move")?;
        }
        Ok(())
    }
}
