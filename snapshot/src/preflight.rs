//! Every objection against snapshotting a program, before anything of it runs.

mod constructs;
mod freeze;
mod references;

use prewasm_artifact::{Artifact, Family, Kind};
use prewasm_ext_http::{imports::ImportError, link};
use wasmparser::{
    Parser, ValidPayload, Validator, WasmFeatures,
    component_types::ComponentEntityType,
    types::{EntityType, Types},
};

use crate::options::{InitExport, Options, Rename, Stop, Until};

/// Names under which Wizer's guest libraries export the init function.
const INIT_NAMES: [&str; 2] = ["wizer-initialize", "wizer.initialize"];
/// What `_start` becomes where a program exports it: the way on after the init function.
const RESUME: &str = "wizer.resume";
const START: &str = "_start";

/// A program which can be snapshotted, and how.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) artifact: &'a Artifact,
    pub(crate) options: &'a Options,
    pub(crate) method: Method,
}

/// How the program is brought to its stop point.
#[derive(Clone, Debug)]
pub(crate) enum Method {
    /// By a call of its init function.
    Init(InitPlan),
    /// It runs by itself.
    Freeze(Stop),
}

/// A call of an init function.
#[derive(Clone, Debug)]
pub(crate) struct InitPlan {
    pub(crate) function: String,
    pub(crate) renames: Vec<Rename>,
}

/// What stands against a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Objection {
    /// There is nothing to run.
    #[error(
        "no init function: it exports neither `wizer-initialize` nor `wizer.initialize`{hint}\n  note: only a core module with `_start` can be frozen while it runs",
        hint = candidates_hint(candidates)
    )]
    NoInit {
        /// Exported functions without parameters and results.
        candidates: Vec<String>,
    },
    /// The function which was asked for is not exported.
    #[error("it exports no function `{name}`{hint}", hint = candidates_hint(candidates))]
    NoSuchInit {
        /// The name asked for.
        name: String,
        /// Exported functions without parameters and results.
        candidates: Vec<String>,
    },
    /// The init function takes parameters or gives results.
    #[error("the init function `{name}` must take no parameters and give no results")]
    InitType {
        /// Its name.
        name: String,
    },
    /// A rename which cannot be done.
    #[error("cannot rename `{from}` to `{to}`: {reason}", from = rename.from, to = rename.to)]
    Rename {
        /// The rename.
        rename: Rename,
        /// Why not.
        reason: &'static str,
    },
    /// An import which nobody provides.
    #[error("{0}")]
    Import(#[from] ImportError),
    /// An import of a component which nobody provides.
    #[error("unknown import `{import}`\n  hint: components may import interfaces of WASI 0.2")]
    ComponentImport {
        /// The import.
        import: String,
    },
    /// Something in the program whose state cannot be recorded.
    #[error("{construct} (at offset {offset:#x}{more}) cannot be snapshotted{hint}", more = and_more(*count))]
    Construct {
        /// What it is.
        construct: String,
        /// Where it was first met.
        offset: usize,
        /// How often.
        count: usize,
        /// What to do about it, as a line of its own; empty if we know nothing.
        hint: &'static str,
    },
    /// Components have no policy for network calls yet.
    #[error("outbound calls are not supported while a component is initialized\n  hint: leave out `--allow-outbound`")]
    ComponentOutbound,
    /// Only a program which starts by itself can be stopped on its way.
    #[error(
        "it is a {kind}: only a core module which exports `_start` can be frozen while it runs\n  hint: export an init function, and use `--until init`"
    )]
    NoStart {
        /// What it is.
        kind: Kind,
    },
    /// The stop point can never be reached.
    #[error("it never reaches `{stop}`: {reason}")]
    NeverReached {
        /// The stop point.
        stop: Stop,
        /// Why not, and what to do.
        reason: String,
    },
    /// An option which has no meaning for how the program is stopped.
    #[error("`{option}` has no effect when the program is stopped at `{stop}`\n  hint: {hint}")]
    Option {
        /// The option.
        option: &'static str,
        /// Where the program is stopped.
        stop: String,
        /// What to do.
        hint: &'static str,
    },
    /// It waits in the middle of its work.
    #[error(
        "it is frozen while it runs: an init function would not find it at its start\n  hint: freeze it further on, with `--until`, or initialize the program that it was made from"
    )]
    Frozen,
    /// Machine code.
    #[error("it is precompiled machine code\n  hint: snapshot the `.wasm` it was made from")]
    Precompiled,
}

fn candidates_hint(candidates: &[String]) -> String {
    match candidates {
        [] => "\n  hint: export a function without parameters and results, and name it with `--init`".to_owned(),
        _ => {
            let names: Vec<_> = candidates.iter().map(|name| format!("`{name}`")).collect();
            format!("\n  hint: name one with `--init`; exported functions which could be meant: {}", names.join(", "))
        }
    }
}

fn and_more(count: usize) -> String {
    if count > 1 { format!(", and {} more", count - 1) } else { String::new() }
}

/// Tells whether [`build`](crate::build) would start initializing `artifact`.
///
/// # Errors
/// All objections.
pub fn check(artifact: &Artifact, options: &Options) -> Result<(), Vec<Objection>> {
    preflight(artifact, options).map(drop)
}

pub(crate) fn preflight<'a>(artifact: &'a Artifact, options: &'a Options) -> Result<Plan<'a>, Vec<Objection>> {
    if artifact.kind() == Kind::Precompiled {
        return Err(vec![Objection::Precompiled]);
    }
    let exports = Exports::of(artifact);
    match stop(artifact, &exports, options) {
        Some(stop) => freeze::preflight(artifact, options, stop),
        None => preflight_init(artifact, options, &exports),
    }
}

/// Where the program is to be frozen; `None` if its init function is to be called.
fn stop(artifact: &Artifact, exports: &Exports, options: &Options) -> Option<Stop> {
    match &options.until {
        Until::Init => None,
        Until::Stop(stop) => Some(stop.clone()),
        Until::Auto if !options.warm_ups.is_empty() => Some(Stop::Accept),
        Until::Auto if options.init.is_some() || INIT_NAMES.into_iter().any(|name| exports.contains(name)) => None,
        Until::Auto => match artifact.kind() {
            Kind::SocketServer => Some(Stop::Accept),
            Kind::Command => Some(Stop::Pure),
            _ => None,
        },
    }
}

fn preflight_init<'a>(
    artifact: &'a Artifact,
    options: &'a Options,
    exports: &Exports,
) -> Result<Plan<'a>, Vec<Objection>> {
    let init = find_init(exports, options);
    let renames = renames(exports, options);

    let mut objections = Vec::new();
    objections.extend(init.as_ref().err().cloned());
    if artifact.is_frozen() {
        objections.push(Objection::Frozen);
    }
    objections.extend(rename_objections(artifact, exports, &renames));
    objections.extend(import_objections(artifact));
    objections.extend(constructs::refused(artifact.bytes()));
    if !options.warm_ups.is_empty() {
        let hint = "requests are answered by a server that runs: use `--until accept`";
        objections.push(Objection::Option { option: "--warm-up", stop: "init".to_owned(), hint });
    }
    if artifact.kind().is_component() {
        if !options.inputs.outbound.is_empty() {
            objections.push(Objection::ComponentOutbound);
        }
        if let (Ok(init), InitExport::Remove) = (&init, options.init_export) {
            objections.extend(references::to_removed_export(artifact.bytes(), init));
        }
    }
    match init {
        Ok(function) if objections.is_empty() => {
            Ok(Plan { artifact, options, method: Method::Init(InitPlan { function, renames }) })
        }
        _ => Err(objections),
    }
}

/// The functions a program exports.
struct Exports {
    /// Without parameters and results.
    plain: Vec<String>,
    /// With some.
    other: Vec<String>,
    /// Whether functions may also be nested in exported instances, which are looked into later.
    nested: bool,
}

impl Exports {
    fn of(artifact: &Artifact) -> Self {
        let types = types(artifact.bytes()).expect("the artifact was validated");
        let mut exports = Self { plain: Vec::new(), other: Vec::new(), nested: artifact.kind().is_component() };
        for name in artifact.exports() {
            match is_plain(&types, name) {
                Some(true) => exports.plain.push(name.clone()),
                Some(false) => exports.other.push(name.clone()),
                None => {}
            }
        }
        exports
    }

    fn contains(&self, name: &str) -> bool {
        self.plain.iter().chain(&self.other).any(|export| export == name)
    }

    /// Functions that could initialize: not those which run the whole program.
    fn candidates(&self) -> Vec<String> {
        self.plain.iter().filter(|name| ![START, "_initialize"].contains(&name.as_str())).cloned().collect()
    }
}

/// The types of a valid module or component. Code is not looked at.
fn types(wasm: &[u8]) -> wasmparser::Result<Types> {
    let mut validator = Validator::new_with_features(WasmFeatures::default());
    let mut types = None;
    for payload in Parser::new(0).parse_all(wasm) {
        if let ValidPayload::End(of_this) = validator.payload(&payload?)? {
            // The outermost ends last.
            types = Some(of_this);
        }
    }
    Ok(types.expect("whatever is valid has an end"))
}

/// Whether the function exported as `name` takes and gives nothing; `None` if it is no function.
fn is_plain(types: &Types, name: &str) -> Option<bool> {
    let types = types.as_ref();
    if let Some(mut exports) = types.core_exports() {
        let (_, EntityType::Func(id)) = exports.find(|(export, _)| *export == name)? else { return None };
        let ty = types[id].unwrap_func();
        return Some(ty.params().is_empty() && ty.results().is_empty());
    }
    match types.component_item_for_export(name)?.ty {
        ComponentEntityType::Func(id) => Some(types[id].params.is_empty() && types[id].result.is_none()),
        _ => None,
    }
}

fn find_init(exports: &Exports, options: &Options) -> Result<String, Objection> {
    let name = match &options.init {
        Some(name) if exports.nested && name.contains('.') => return Ok(name.clone()),
        Some(name) if exports.contains(name) => name.clone(),
        Some(name) => {
            return Err(Objection::NoSuchInit { name: name.clone(), candidates: exports.candidates() });
        }
        None => match INIT_NAMES.into_iter().find(|name| exports.contains(name)) {
            Some(name) => name.to_owned(),
            None => return Err(Objection::NoInit { candidates: exports.candidates() }),
        },
    };
    if exports.plain.contains(&name) { Ok(name) } else { Err(Objection::InitType { name }) }
}

/// The renames asked for, and `_start=wizer.resume` unless `_start` is spoken for.
fn renames(exports: &Exports, options: &Options) -> Vec<Rename> {
    let mut renames = options.renames.clone();
    let is_mentioned = renames.iter().any(|rename| rename.to == START || rename.from == RESUME);
    if exports.contains(RESUME) && !is_mentioned {
        renames.push(Rename { to: START.to_owned(), from: RESUME.to_owned() });
    }
    renames
}

fn rename_objections(artifact: &Artifact, exports: &Exports, renames: &[Rename]) -> Vec<Objection> {
    let mut objections = Vec::new();
    for (i, rename) in renames.iter().enumerate() {
        let earlier = &renames[..i];
        let reason = if artifact.kind().is_component() {
            "exports of components cannot be renamed"
        } else if !exports.contains(&rename.from) {
            "no function of that name is exported"
        } else if earlier.iter().any(|other| other.from == rename.from || other.to == rename.to) {
            "another rename has the same name"
        } else {
            continue;
        };
        objections.push(Objection::Rename { rename: rename.clone(), reason });
    }
    objections
}

fn import_objections(artifact: &Artifact) -> Vec<Objection> {
    if !artifact.kind().is_component() {
        return match link::check(artifact) {
            Ok(()) => Vec::new(),
            Err(error) => error.errors.into_iter().map(Objection::Import).collect(),
        };
    }
    // Interfaces of WASI which we do not provide here (wasi:http) may be imported, for init will hardly use them.
    let unknown = artifact.imports().iter().filter(|import| import.family != Family::WasiInterface);
    unknown.map(|import| Objection::ComponentImport { import: import.to_string() }).collect()
}
