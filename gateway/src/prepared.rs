//! An app, ready to answer requests: compiled, linked, and decided how it is served.

use std::{
    any::Any,
    net::SocketAddr,
    sync::{Arc, OnceLock},
};

use prewasm_artifact::{Artifact, HttpVersion, Kind, Sha256};
use prewasm_ext_http::{DirectoryError, Frozen, FrozenError, HostState, Outbound};

use crate::{
    admission::Places,
    app::{App, Grants, Injected, Limits, Mode, Reuse},
    cache::{Code, LoadError, Loaded, PrecompiledPolicy},
    engines::{Allocation, Concurrency, Engines, Metering, on_demand},
    guest::{
        component::{p2, p3},
        core::CoreGuest,
        resident::ResidentGuest,
    },
    memory::{Choice, Reset, ResetError},
    shared_code::SharedCode,
    ticker::Pulse,
};

/// Bytes of a page of linear memory.
const PAGE: u64 = 64 * 1024;

/// Why an app cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// It cannot be turned into code.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A directory cannot be opened.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// It is frozen, and its host state cannot be used.
    #[error("cannot resume `{origin}`, which is frozen")]
    Frozen {
        /// The artifact.
        origin: String,
        /// What is wrong.
        #[source]
        source: FrozenError,
    },
    /// It was frozen with a socket of its own, and is none of the kind that gets connections.
    #[error("`{origin}` is a {kind} and was frozen listening on {address}: only socket servers get connections")]
    FrozenListener {
        /// The artifact.
        origin: String,
        /// What it is.
        kind: Kind,
        /// Where it listens.
        address: SocketAddr,
    },
    /// It was frozen with the variables in it which a request is told by.
    #[error(
        "`{origin}` is a CGI command and was frozen after it had read its environment: it would not see the request's\n  hint: freeze it earlier, with `--until import:wasi_snapshot_preview1.environ_sizes_get`"
    )]
    FrozenEnvironment {
        /// The artifact.
        origin: String,
    },
    /// It is not of a kind that can be served.
    #[error("`{origin}` is a {kind}, which cannot be served\n  hint: {hint}")]
    Kind {
        /// The artifact.
        origin: String,
        /// What it is.
        kind: Kind,
        /// What can be served instead.
        hint: &'static str,
    },
    /// Only socket servers have an instance which outlives a request.
    #[error(
        "`{origin}` is a {kind}: only socket servers can be resident\n  hint: leave out the mode, which is `--mode` or `mode` of the app"
    )]
    NotResident {
        /// The artifact.
        origin: String,
        /// What it is.
        kind: Kind,
    },
    /// Its memory is larger than the limit from the start.
    #[error(
        "`{origin}` starts with {needed} bytes of memory, and the limit is {limit}\n  hint: raise the limit, which is `--max-memory` or `limits.memory` of the app"
    )]
    Memory {
        /// The artifact.
        origin: String,
        /// Bytes of its memories.
        needed: u64,
        /// The limit.
        limit: u64,
    },
    /// It cannot be instantiated, or the system cannot hold the pool.
    #[error(
        "cannot prepare `{origin}`\n  hint: with fewer `--instances` or a smaller `--max-memory` the pool takes less address space"
    )]
    Engine {
        /// The artifact.
        origin: String,
        /// Why.
        #[source]
        source: wasmtime::Error,
    },
    /// The environment asks for a way to make instances as new which there is not.
    #[error(transparent)]
    Reset(#[from] ResetError),
    /// The system gives us no thread.
    #[error("cannot start a thread")]
    Thread(#[from] std::io::Error),
}

/// What all apps of a process share.
pub(crate) struct Process {
    pub(crate) engines: Engines,
    /// How instances are made as new.
    pub(crate) reset: Choice,
    pub(crate) places: Places,
    /// Threads that serve.
    pub(crate) workers: usize,
    /// Our own addresses: a guest's call must not come back to us as a request, from an address that we trust perhaps.
    pub(crate) listeners: Vec<SocketAddr>,
}

impl Process {
    /// A process that may have `instances` instances at the same time.
    ///
    /// # Errors
    /// [`ResetError`], if the environment asks for a way to make them as new which there is not.
    pub(crate) fn new(instances: u32, workers: usize, listeners: Vec<SocketAddr>) -> Result<Self, ResetError> {
        let engines = Engines::new(instances, workers);
        Ok(Self { engines, reset: Reset::detect()?, places: Places::new(instances), workers, listeners })
    }
}

/// An app, ready to answer requests.
pub(crate) struct Prepared {
    identity: Identity,
    grants: Arc<Grants>,
    pub(crate) guest: Guest,
    pub(crate) injected: Injected,
    /// A door to the outside for each worker: connections stay on the thread that made them.
    doors: Box<[OnceLock<Arc<Outbound>>]>,
    /// What goes with the app, and not before.
    _held: Vec<Arc<dyn Any + Send + Sync>>,
}

/// How the app's requests are served: decided once.
pub(crate) enum Guest {
    Isolated(CoreGuest),
    Resident(ResidentGuest),
    Command(CoreGuest),
    Component(p2::ComponentGuest),
    AsyncComponent(p3::ComponentGuest),
}

impl Prepared {
    /// Compiles and links the app.
    ///
    /// # Errors
    /// [`PrepareError`], before anything is served.
    pub(crate) fn new(app: &App, process: &Process, code: &SharedCode<'_>) -> Result<Self, PrepareError> {
        for directory in &app.environment.dirs {
            directory.check()?;
        }
        let artifact = &*app.artifact;
        let kind = kind(app, code)?;
        if let Some(objection) = objections(artifact, kind, app.mode, &app.limits).into_iter().next() {
            return Err(objection);
        }
        let origin = artifact.origin();
        let prepare_error = |source| PrepareError::Engine { origin: origin.to_owned(), source };
        let metering = if app.limits.fuel.is_some() { Metering::Fuel } else { Metering::Off };
        let allocation = match app.mode {
            Mode::Resident => Allocation::OnDemand,
            // Its instances live on between requests, so their number is not that of requests.
            _ if app.reuse.requests > 1 && kind == Kind::HttpComponent(HttpVersion::V03) => Allocation::OnDemand,
            Mode::Auto | Mode::Isolated => {
                let reset = match artifact.kind() {
                    // Its data segments are in it, and it was compiled to find its memory where Wasmtime makes it.
                    Kind::Precompiled => process.reset.reset.max(Reset::Copy),
                    _ => process.reset.reset,
                };
                Allocation::of_isolated(reset, initial_memory(artifact), app.limits.memory)
            }
        };
        let home = process.engines.get(metering, Concurrency::of(kind), allocation).map_err(prepare_error)?;
        let code = code.load(&home, artifact, app.precompiled)?;
        let mut grants = Grants::of(app);
        Arc::make_mut(&mut grants.outbound).listeners.extend(&process.listeners);
        let grants = Arc::new(grants);
        let guest = link(&code, kind, app, (&grants, process.workers), home.pulse)?;
        Ok(Self {
            identity: Identity::of(app),
            injected: app.injected,
            guest,
            grants,
            doors: (0..process.workers).map(|_| OnceLock::new()).collect(),
            _held: app.held.clone(),
        })
    }

    /// What its instances may see, call and use up.
    pub(crate) fn grants(&self) -> &Grants {
        &self.grants
    }

    /// The door to the outside on a worker.
    pub(crate) fn door(&self, worker: usize) -> Arc<Outbound> {
        let make = || Arc::new(Outbound::new(Arc::clone(&self.grants.outbound)));
        Arc::clone(self.doors[worker].get_or_init(make))
    }

    /// Whether it is this app, unchanged.
    pub(crate) fn is_of(&self, app: &App) -> bool {
        self.identity == Identity::of(app)
    }
}

/// What makes two apps the same, the program by its hash: its bytes are not kept once it is compiled.
#[derive(PartialEq)]
struct Identity {
    program: (String, Sha256),
    mode: Mode,
    reuse: Reuse,
    injected: Injected,
    precompiled: PrecompiledPolicy,
    grants: Grants,
}

impl Identity {
    fn of(app: &App) -> Self {
        Self {
            program: (app.artifact.origin().to_owned(), app.artifact.sha256()),
            mode: app.mode,
            reuse: app.reuse,
            injected: app.injected,
            precompiled: app.precompiled,
            grants: Grants::of(app),
        }
    }
}

/// Everything that keeps an artifact of this kind from being served so: what `serve` refuses, and `inspect` foretells.
pub fn objections(artifact: &Artifact, kind: Kind, mode: Mode, limits: &Limits) -> Vec<PrepareError> {
    let checks = [
        check_kind(artifact, kind, mode).err(),
        check_frozen(artifact, kind).err(),
        check_memory(artifact, limits.memory).err(),
    ];
    checks.into_iter().flatten().collect()
}

/// The artifact's kind; that of precompiled code is found by looking into it.
fn kind(app: &App, code: &SharedCode<'_>) -> Result<Kind, PrepareError> {
    if app.artifact.kind() != Kind::Precompiled {
        return Ok(app.artifact.kind());
    }
    let of = |concurrency| {
        let prepare_error = |source| PrepareError::Engine { origin: app.artifact.origin().to_owned(), source };
        let engine = on_demand(Metering::Off, concurrency).map_err(prepare_error)?;
        Ok(code.precompiled(&engine, &app.artifact, app.precompiled)?.kind())
    };
    // Code tells its kind to the engine that it is for only.
    of(Concurrency::Off).or_else(|error| of(Concurrency::On).map_err(|_: PrepareError| error))
}

fn check_kind(artifact: &Artifact, kind: Kind, mode: Mode) -> Result<(), PrepareError> {
    let origin = || artifact.origin().to_owned();
    let hint = match kind {
        Kind::SocketServer => return Ok(()),
        Kind::Command | Kind::HttpComponent(_) if mode == Mode::Resident => {
            return Err(PrepareError::NotResident { origin: origin(), kind });
        }
        Kind::Command | Kind::HttpComponent(_) => return Ok(()),
        Kind::CommandComponent => "run it with `prewasm run`",
        Kind::Reactor | Kind::Component | Kind::Precompiled => {
            "a module must export `_start`, a component a wasi:http handler"
        }
    };
    Err(PrepareError::Kind { origin: origin(), kind, hint })
}

/// The host state of a frozen program, which each of its instances starts with.
fn frozen(artifact: &Artifact) -> Result<Option<HostState>, PrepareError> {
    let parsed = artifact.frozen().map(Frozen::parse).transpose();
    let frozen = parsed.map_err(|source| PrepareError::Frozen { origin: artifact.origin().to_owned(), source })?;
    Ok(frozen.map(|frozen| frozen.host))
}

fn check_frozen(artifact: &Artifact, kind: Kind) -> Result<(), PrepareError> {
    let origin = || artifact.origin().to_owned();
    let Some(section) = artifact.frozen() else { return Ok(()) };
    let frozen = Frozen::parse(section).map_err(|source| PrepareError::Frozen { origin: origin(), source })?;
    match frozen.host.addresses().next() {
        Some(address) if kind != Kind::SocketServer => {
            Err(PrepareError::FrozenListener { origin: origin(), kind, address })
        }
        _ if kind == Kind::Command && frozen.environment_read => {
            Err(PrepareError::FrozenEnvironment { origin: origin() })
        }
        _ => Ok(()),
    }
}

/// The memory which a module starts with, in bytes, if it is a module.
fn initial_memory(artifact: &Artifact) -> Option<u64> {
    let memories = artifact.memories();
    let sizes = memories.iter().map(|memory| memory.minimum.saturating_mul(PAGE));
    (!memories.is_empty()).then(|| sizes.fold(0u64, u64::saturating_add))
}

fn check_memory(artifact: &Artifact, limit: u64) -> Result<(), PrepareError> {
    match initial_memory(artifact) {
        Some(needed) if needed > limit => {
            Err(PrepareError::Memory { origin: artifact.origin().to_owned(), needed, limit })
        }
        _ => Ok(()),
    }
}

fn link(
    code: &Loaded,
    kind: Kind,
    app: &App,
    (grants, workers): (&Arc<Grants>, usize),
    pulse: Pulse,
) -> Result<Guest, PrepareError> {
    let prepare_error = |source| PrepareError::Engine { origin: app.artifact.origin().to_owned(), source };
    let (grants, memories) = (Arc::clone(grants), code.memories.clone());
    Ok(match &code.code {
        Code::Component(component) if kind == Kind::HttpComponent(HttpVersion::V03) => {
            let guest = p3::ComponentGuest::new(component, memories, grants, (app.reuse, workers), pulse);
            Guest::AsyncComponent(guest.map_err(prepare_error)?)
        }
        Code::Component(component) => {
            Guest::Component(p2::ComponentGuest::new(component, memories, grants, pulse).map_err(prepare_error)?)
        }
        Code::Module(module) => {
            let frozen = frozen(&app.artifact)?;
            let guest = CoreGuest::new(module, memories, grants, frozen, pulse).map_err(prepare_error)?;
            match (kind, app.mode) {
                (Kind::SocketServer, Mode::Resident) => Guest::Resident(ResidentGuest::start(guest)?),
                (Kind::SocketServer, _) => Guest::Isolated(guest),
                _ => Guest::Command(guest),
            }
        }
    })
}
