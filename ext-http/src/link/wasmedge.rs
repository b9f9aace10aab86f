//! A program on WasmEdge: its own WASI and sockets, beside our HTTP plugin and TLS codec.
//!
//! WasmEdge's WASI cannot be replaced in part, and asks nobody before it opens a socket. So a program which imports any
//! of the socket extension runs only where everything may be called; plugin and codec go through the outbound door here
//! as they do on Wasmtime.

mod codec;
mod ended;
mod memory;
mod modules;
mod plugin;
mod start_error;
mod wasi;

pub use ended::{Ended, Trap};
pub use start_error::StartError;

use std::collections::HashMap;

use prewasm_artifact::{Artifact, Family, Import, Kind, PREVIEW1};
use wasmedge_sdk::{
    AsInstance as _, ExternalInstanceType, FuncType, LogManager, Module, Store, Vm,
    config::{CommonConfigOptions, Config, ConfigBuilder, RuntimeConfigOptions},
    error::{CoreError, WasmEdgeError},
    vm::SyncInst,
    wasi::WasiModule,
};

use crate::{Directory, Frozen, OutboundPolicy, Pattern, link::check};

/// The size of a page of memory.
const PAGE: u64 = 65536;

/// A program, and what it may see and use.
#[derive(Clone, Debug)]
pub struct Program {
    /// The module.
    pub artifact: Artifact,
    /// Its arguments, the program's name first.
    pub args: Vec<String>,
    /// Its environment variables.
    pub env: Vec<(String, String)>,
    /// Directories opened before the start.
    pub dirs: Vec<Directory>,
    /// Whom it may call. Its own sockets are WasmEdge's, and need everything to be allowed.
    pub outbound: OutboundPolicy,
    /// The largest linear memory, in bytes.
    pub memory: u64,
}

/// Runs a program to its end, with the standard streams of the process. Blocks, and must not be called within a runtime.
///
/// # Errors
/// [`StartError`], if it was not started.
pub fn run(program: &Program) -> Result<Ended, StartError> {
    check_program(program)?;
    if let Some(ended) = exceeds_memory(program) {
        return Ok(ended);
    }
    // Its lines would go to standard output, which is the guest's.
    LogManager::log_off();
    let config = config(program.memory).map_err(StartError::Engine)?;
    let module =
        Module::from_bytes(Some(&config), program.artifact.bytes()).map_err(|error| rejected(program, error))?;
    check_start(program, &module)?;
    let mut wasi = wasi::module(program)?;
    check_imports(program, &wasi)?;
    let calls = modules::calls(&program.outbound)?;
    let mut ours = modules::build(&calls).map_err(StartError::Engine)?;

    let mut instances: HashMap<String, &mut dyn SyncInst> = HashMap::new();
    instances.insert(PREVIEW1.to_owned(), wasi.as_mut());
    for (name, module) in &mut ours {
        instances.insert((*name).to_owned(), module);
    }
    let result = start(&config, instances, module);
    let failure = calls.borrow_mut().failure.take();
    match result {
        Err(error) if is_link_error(&error) => Err(rejected(program, error)),
        result => Ok(Ended::new(result, wasi.exit_code(), failure)),
    }
}

/// The instance ends with this, before the modules that it uses.
fn start(
    config: &Config,
    instances: HashMap<String, &mut dyn SyncInst>,
    module: Module,
) -> Result<(), Box<WasmEdgeError>> {
    let mut vm = Vm::new(Store::new(Some(config), instances)?);
    vm.register_module(None, module)?.run_func(None, "_start", [])?;
    Ok(())
}

fn config(memory: u64) -> Result<Config, Box<WasmEdgeError>> {
    let pages = u32::try_from(memory / PAGE).unwrap_or(u32::MAX);
    ConfigBuilder::new(CommonConfigOptions::default())
        .with_runtime_config(RuntimeConfigOptions::default().max_memory_pages(pages))
        .build()
}

/// What can be said before the engine has seen the program.
fn check_program(program: &Program) -> Result<(), StartError> {
    let artifact = &program.artifact;
    let hint = match artifact.kind() {
        Kind::SocketServer | Kind::Command => None,
        Kind::Reactor => Some("a program exports `_start`; build an executable instead of a library"),
        Kind::HttpComponent(_) | Kind::CommandComponent | Kind::Component => {
            Some("WasmEdge runs core modules; leave out `--engine wasmedge`")
        }
        Kind::Precompiled => Some("this is machine code for Wasmtime; name the module which it was compiled from"),
    };
    if let Some(hint) = hint {
        return Err(StartError::Kind { origin: artifact.origin().to_owned(), kind: artifact.kind(), hint });
    }
    check(artifact)?;
    check_frozen(artifact)?;
    check_sockets(program)?;
    for directory in &program.dirs {
        directory.check()?;
    }
    Ok(())
}

/// A frozen program runs only if its host held nothing for it.
fn check_frozen(artifact: &Artifact) -> Result<(), StartError> {
    let Some(section) = artifact.frozen() else { return Ok(()) };
    let origin = || artifact.origin().to_owned();
    let frozen = Frozen::parse(section).map_err(|source| StartError::Damaged { origin: origin(), source })?;
    if frozen.host.is_portable() { Ok(()) } else { Err(StartError::Frozen { origin: origin() }) }
}

/// Nobody stands between the program and its sockets.
fn check_sockets(program: &Program) -> Result<(), StartError> {
    let imports = program.artifact.imports();
    let Some(import) = imports.iter().find(|import| import.family == Family::Sockets) else { return Ok(()) };
    let (origin, import) = (program.artifact.origin().to_owned(), import.to_string());
    if !program.outbound.allow.iter().any(Pattern::is_everything) {
        return Err(StartError::Sockets { origin, import });
    }
    if !program.outbound.resolve.is_empty() {
        return Err(StartError::Resolve { origin, import });
    }
    Ok(())
}

/// WasmEdge would make an instance without its memory.
fn exceeds_memory(program: &Program) -> Option<Ended> {
    let asked = program.artifact.memories().iter().map(|memory| memory.minimum.saturating_mul(PAGE)).max()?;
    (asked > program.memory).then_some(Ended::OutOfMemory { asked, limit: program.memory })
}

fn check_start(program: &Program, module: &Module) -> Result<(), StartError> {
    let wanted = FuncType::new(Vec::new(), Vec::new());
    match module.get_export("_start") {
        Some(ExternalInstanceType::Func(found)) if found == wanted => Ok(()),
        _ => Err(StartError::Start { origin: program.artifact.origin().to_owned() }),
    }
}

/// Some of what we provide on Wasmtime is from other hosts than WasmEdge itself.
fn check_imports(program: &Program, wasi: &WasiModule) -> Result<(), StartError> {
    let provided = wasi.as_ref().func_names().unwrap_or_default();
    let is_missing = |import: &&Import| import.module == PREVIEW1 && !provided.contains(&import.name);
    match program.artifact.imports().iter().find(is_missing) {
        None => Ok(()),
        Some(import) => {
            Err(StartError::Import { origin: program.artifact.origin().to_owned(), import: import.to_string() })
        }
    }
}

fn is_link_error(error: &WasmEdgeError) -> bool {
    !matches!(error, WasmEdgeError::Core(CoreError::Common(_) | CoreError::Execution(_)))
}

fn rejected(program: &Program, source: Box<WasmEdgeError>) -> StartError {
    StartError::Rejected { origin: program.artifact.origin().to_owned(), source }
}
