//! What porting a program takes, decided before anything is done: every objection at once.

use std::borrow::Cow;

use prewasm_artifact::{Artifact, Family, Import, Kind};
use serde::Serialize;
use wasmparser::{MemoryType, Operator, TypeRef, ValType};

use super::{PortOptions, module::Module, setup::Setup};
use crate::{
    frozen::{Frozen, FrozenError},
    imports::{Call, CodecCall, FileCall, ImportError, SocketCall, WasiCall, resolve, trampoline},
};

/// The core function that a component's handler is lifted from.
pub(super) const HANDLER: &str = "wasi:http/incoming-handler@0.2.12#handle";

/// What a ported program imports and exports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum World {
    /// `wasi:http/proxy`: a handler of requests, which sees no arguments, variables or files.
    Proxy,
    /// A handler of requests in `wasi:cli/imports`, too: it sees what its host lets it see.
    ProxyCli,
    /// `wasi:cli/command`: a program that is run.
    Command,
}

impl World {
    /// As the command line spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Proxy => "proxy",
            Self::ProxyCli => "proxy-cli",
            Self::Command => "command",
        }
    }

    /// Whether it answers requests.
    pub fn is_handler(self) -> bool {
        self != Self::Command
    }
}

/// Which shim stands between a ported program and `wasi:http`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shim {
    /// Connections are HTTP.
    Http,
    /// Connections which are not go through `wasi:sockets`.
    HttpAndSockets,
}

/// What porting a program will do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What the component imports and exports.
    pub world: World,
    /// `None` if the program needs no network.
    pub shim: Option<Shim>,
    /// What the program will not find as it was, a sentence each.
    pub notes: Vec<&'static str>,
    /// For each imported function, what stands in for it; `None` if the adapter does.
    pub(super) trampolines: Vec<Option<Cow<'static, str>>>,
    pub(super) setup: Setup,
}

/// Why a program cannot be ported.
#[derive(Debug, thiserror::Error)]
pub enum Objection {
    /// It is no program.
    #[error("it is a {kind}\n  hint: {hint}")]
    Kind {
        /// What it is.
        kind: Kind,
        /// What can be done instead.
        hint: &'static str,
    },
    /// An import which no component offers.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// An import which is no function.
    #[error("it imports `{module}` `{name}`, which is not a function")]
    NoFunction {
        /// The module part.
        module: String,
        /// The field part.
        name: String,
    },
    /// It can do nothing without what a component has not.
    #[error("{what}\n  hint: {hint}")]
    Impossible {
        /// What it needs.
        what: &'static str,
        /// What can be done instead.
        hint: &'static str,
    },
    /// It has an instruction which cannot be undone.
    #[error("function {function} has `{instruction}`, which cannot be undone when a host uses an instance again")]
    Instruction {
        /// The function's index.
        function: u32,
        /// The instruction.
        instruction: &'static str,
    },
    /// A function cannot be left.
    #[error("function {function} returns a reference that cannot be null, so it cannot be left early")]
    Result {
        /// The function's index.
        function: u32,
    },
    /// It is frozen, and its host state cannot be used.
    #[error("it is frozen, and cannot be resumed")]
    Frozen(#[from] FrozenError),
    /// The world does not fit the program.
    #[error("world `{world}` is not for a {kind}\n  hint: {hint}", world = world.name())]
    World {
        /// The world that was asked for.
        world: World,
        /// What the program is.
        kind: Kind,
        /// What fits.
        hint: &'static str,
    },
}

/// Plans how `artifact` is ported.
///
/// # Errors
/// Everything that stands in the way.
pub fn plan(artifact: &Artifact, options: &PortOptions) -> Result<Plan, Vec<Objection>> {
    kind_objection(artifact.kind()).map_or(Ok(()), |objection| Err(vec![objection]))?;
    // Only what is in a module can be told apart; this one was validated.
    let Ok(module) = Module::parse(artifact.bytes()) else {
        let (what, hint) = ("its sections cannot be read", "copy or download the file again");
        return Err(vec![Objection::Impossible { what, hint }]);
    };
    let mut objections = Vec::new();
    let frozen = artifact.frozen().map(Frozen::parse).transpose().unwrap_or_else(|error| {
        objections.push(error.into());
        None
    });
    let calls = calls(artifact, &mut objections);
    let (world, world_objection) = world(artifact.kind(), options);
    objections.extend(world_objection);
    objections.extend(memory_objection(&module, artifact.imports()));
    objections.extend(start_objection(&module));
    objections.extend(datagram_objection(artifact.kind(), &calls));
    if world.is_handler() {
        objections.extend(instruction_objections(&module));
        objections.extend(object_objection(&module));
    }
    if !objections.is_empty() {
        return Err(objections);
    }

    // WasmEdge's name of a poll is none of the adapter's.
    let has_epoll = artifact.imports().iter().any(|import| import.name == "epoll_oneoff");
    let has_sockets = calls.iter().any(|call| matches!(call, Call::Socket(_))) || has_epoll || frozen.is_some();
    let stands_in = |call: &Call| match call {
        Call::Socket(_) | Call::Plugin(_) | Call::Codec(_) | Call::Marker => true,
        Call::Descriptor(_) | Call::Wasi(WasiCall::PollOneoff) => has_sockets,
        Call::Wasi(WasiCall::ProcExit) => world.is_handler(),
        Call::Wasi(WasiCall::ClockTimeGet) => frozen.is_some(),
        Call::Wasi(_) | Call::File(_) => false,
    };
    let asks_shim = |call: &Call| match call {
        Call::Plugin(_) => true,
        // Of which there is one, as every trampoline knows.
        Call::Codec(call) => *call != CodecCall::DefaultConfig,
        _ => false,
    };
    let needs_shim = world.is_handler() || has_sockets || calls.iter().any(asks_shim);
    let shim = if options.with_sockets { Shim::HttpAndSockets } else { Shim::Http };
    Ok(Plan {
        world,
        shim: needs_shim.then_some(shim),
        notes: notes(&calls, world, options),
        trampolines: calls.iter().map(|call| stands_in(call).then(|| trampoline(*call))).collect(),
        setup: match needs_shim {
            true => Setup::new(options.authority, frozen.as_ref().map(|frozen| &frozen.host)),
            // Nobody is there to be told.
            false => Setup::default(),
        },
    })
}

fn kind_objection(kind: Kind) -> Option<Objection> {
    let hint = match kind {
        Kind::SocketServer | Kind::Command => return None,
        Kind::Reactor => "only programs with `_start` can be ported",
        Kind::HttpComponent(_) => "it runs on hosts of wasi:http as it is",
        Kind::CommandComponent | Kind::Component => "it is for hosts of components as it is",
        Kind::Precompiled => "port the wasm file that it was compiled from",
    };
    Some(Objection::Kind { kind, hint })
}

/// What the program calls, by import.
fn calls(artifact: &Artifact, objections: &mut Vec<Objection>) -> Vec<Call> {
    let mut calls = Vec::new();
    for import in artifact.imports() {
        match resolve(import) {
            _ if import.signature.is_none() => {
                let (module, name) = (import.module.clone(), import.name.clone());
                objections.push(Objection::NoFunction { module, name });
            }
            Ok(entry) => calls.push(entry.call),
            Err(_) if is_thread(import) => objections.push(THREADS),
            Err(error) => objections.push(error.into()),
        }
    }
    calls
}

const THREADS: Objection =
    Objection::Impossible { what: "it starts threads, which components have not", hint: "build it without threads" };

fn is_thread(import: &Import) -> bool {
    import.family == Family::Unknown && import.module == "wasi" && import.name == "thread-spawn"
}

fn world(kind: Kind, options: &PortOptions) -> (World, Option<Objection>) {
    let objection = |world, hint| (world, Some(Objection::World { world, kind, hint }));
    match (kind, options.world) {
        (Kind::SocketServer, None) => (World::Proxy, None),
        (Kind::SocketServer, Some(World::Command)) => {
            objection(World::Command, "a server is ported to `proxy`, or to `proxy-cli`; only HTTP can be served")
        }
        (_, None | Some(World::Command)) => (World::Command, None),
        (Kind::SocketServer, Some(world)) => (world, None),
        (_, Some(world)) => objection(world, "a program which does not listen is ported to `command`"),
    }
}

/// Addresses, and who else may write there.
fn memory_objection(module: &Module<'_>, imports: &[Import]) -> Option<Objection> {
    let imported = module.imports.iter().filter_map(|import| match import.ty {
        TypeRef::Memory(memory) => Some(memory),
        _ => None,
    });
    let memories: Vec<MemoryType> = imported.chain(module.memories.iter().copied()).collect();
    if memories.iter().any(|memory| memory.shared) {
        // Told already, if it is by the import.
        return (!imports.iter().any(is_thread)).then_some(THREADS);
    }
    let (what, hint) = match memories.as_slice() {
        [memory] if memory.memory64 => ("its memory has 64-bit addresses", "build it for `wasm32-wasip1`"),
        [memory] if memory.page_size_log2.is_some() => ("its memory has pages of its own size", "use pages of 64 KiB"),
        [_] if module.memories.is_empty() => ("it imports its memory", "link it with a memory of its own"),
        [_] => return None,
        [] => ("it has no memory", "a program exchanges everything with its host through a memory"),
        _ => ("it has several memories", "a component's functions can use one only"),
    };
    Some(Objection::Impossible { what, hint })
}

/// Nobody gives it arguments, or asks for results.
fn start_objection(module: &Module<'_>) -> Option<Objection> {
    let ty = module.function_type(module.exported_function("_start")?)?;
    let fits = ty.params().is_empty() && ty.results().is_empty();
    (!fits).then_some(Objection::Impossible {
        what: "its `_start` takes arguments, or has a result",
        hint: "no host runs it; build it for `wasm32-wasip1`",
    })
}

/// What an object holds stays when an instance is used again.
fn object_objection(module: &Module<'_>) -> Option<Objection> {
    // A mutable global gets a new object each time.
    let constants = module.constants(|global| !global.ty.mutable).into_iter().flatten();
    let makes_object = |operator: Operator<'_>| {
        matches!(
            operator,
            Operator::StructNew { .. }
                | Operator::StructNewDefault { .. }
                | Operator::ArrayNew { .. }
                | Operator::ArrayNewDefault { .. }
                | Operator::ArrayNewFixed { .. }
        )
    };
    let found = constants.flat_map(|value| value.get_operators_reader().into_iter().flatten()).any(makes_object);
    found.then_some(Objection::Impossible {
        what: "a constant of it makes an object, which cannot be made anew when a host uses an instance again",
        hint: "make objects where the program starts",
    })
}

/// A program that waits for datagrams is no client, and nothing in `wasi:http` is like it.
fn datagram_objection(kind: Kind, calls: &[Call]) -> Option<Objection> {
    let makes =
        |wanted: &[SocketCall]| calls.iter().any(|call| matches!(call, Call::Socket(call) if wanted.contains(call)));
    let waits = makes(&[SocketCall::RecvFromV1, SocketCall::RecvFromV2]) && makes(&[SocketCall::Bind]);
    (kind != Kind::SocketServer && waits).then_some(Objection::Impossible {
        what: "it is a server of datagrams (UDP): it imports `sock_bind` and `sock_recv_from`, and never listens",
        hint: "`wasi:http` has no datagrams; run it with `prewasm run`",
    })
}

/// What cannot be taken back or left early.
fn instruction_objections(module: &Module<'_>) -> Vec<Objection> {
    let mut objections = Vec::new();
    for (function, body) in module.defined() {
        let operators = body.get_operators_reader().into_iter().flatten().flatten();
        let found = operators.map(|operator| instruction(&operator)).find(Option::is_some).flatten();
        objections.extend(found.map(|instruction| Objection::Instruction { function, instruction }));
        let results = module.function_type(function).map_or(&[][..], wasmparser::FuncType::results);
        // A function which is left returns zeros.
        if results.iter().any(|ty| matches!(ty, ValType::Ref(reference) if !reference.is_nullable())) {
            objections.push(Objection::Result { function });
        }
    }
    objections
}

fn instruction(operator: &Operator<'_>) -> Option<&'static str> {
    match operator {
        Operator::DataDrop { .. } => Some("data.drop"),
        Operator::ElemDrop { .. } => Some("elem.drop"),
        Operator::TableGrow { .. } => Some("table.grow"),
        _ => None,
    }
}

fn notes(calls: &[Call], world: World, options: &PortOptions) -> Vec<&'static str> {
    let has = |wanted: fn(&Call) -> bool| calls.iter().any(wanted);
    let opens_files = has(|call| matches!(call, Call::File(FileCall::PathOpen)));
    let takes_arguments = has(|call| matches!(call, Call::Wasi(WasiCall::ArgsGet)));
    let calls_out = has(|call| matches!(call, Call::Socket(SocketCall::Connect)));
    let datagrams =
        has(|call| matches!(call, Call::Socket(SocketCall::RecvFromV1 | SocketCall::RecvFromV2 | SocketCall::SendTo)));
    let lines = [
        (world.is_handler(), "each request starts the program anew: what it keeps in memory ends with its answer"),
        (
            world == World::Proxy && opens_files,
            "it opens files, and this world has none: `--world proxy-cli` gives it those of its host",
        ),
        (
            world == World::Proxy && takes_arguments,
            "it takes arguments, and this world has none: `--world proxy-cli` gives it those of its host",
        ),
        (
            calls_out && !options.with_sockets,
            "connections which it opens must be HTTP/1: others, encrypted ones included, need `--with-sockets`",
        ),
        (
            calls_out && options.with_sockets,
            "connections which are not HTTP/1 need a host with `wasi:sockets`, which lets it use them",
        ),
        (datagrams, "it may open no datagram sockets (UDP): it is told PROTONOSUPPORT"),
        (has(|call| matches!(call, Call::Plugin(_))), "the HTTP plugin's requests go out as https"),
        (has(|call| matches!(call, Call::Codec(_))), "what it encrypts with the TLS codec goes out as https"),
    ];
    lines.into_iter().filter(|(holds, _)| *holds).map(|(_, line)| line).collect()
}
