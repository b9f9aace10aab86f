//! Runs one program to its end, on real sockets and with our standard streams.

use std::{
    future, io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use prewasm_artifact::{Artifact, HttpVersion, Kind};
use prewasm_ext_http::{
    DirectoryError, Environment, Frozen, FrozenError, Host, HostOptions, HostState, Inbound, InboundRule, Input,
    Network, Outbound, OutboundPolicy, Output, ResumeError, link,
};
use tokio::io::AsyncWrite;
use wasmtime::{
    Module,
    component::{self, Component},
};
use wasmtime_wasi::{I32Exit, p2::bindings::CommandPre};

use crate::{
    cache::{Code, CodeCache, LoadError, PrecompiledPolicy},
    door::Door,
    engines::{Concurrency, Metering, on_demand},
    store::{
        MemoryLimiter,
        component::ComponentState,
        core::CoreState,
        end::{End, Fault, judge},
        store,
    },
    ticker::{Pulse, Ticker},
};

/// How to run a program.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// Arguments, environment variables and directories.
    pub environment: Environment,
    /// Where it may listen.
    pub inbound: Vec<InboundRule>,
    /// Whom it may call.
    pub outbound: OutboundPolicy,
    /// Fuel (about one unit per wasm instruction); `None` does not count.
    pub fuel: Option<u64>,
    /// Wall-clock time; `None` does not limit it.
    pub timeout: Option<Duration>,
    /// The largest linear memory, in bytes.
    pub memory: u64,
    /// Whether precompiled code is loaded.
    pub precompiled: PrecompiledPolicy,
}

/// A program which has come to its end, one way or another.
#[derive(Debug)]
pub struct Finished {
    /// How.
    pub outcome: Outcome,
    /// Whether it looked for files although it was given no directory.
    pub missed_directory: bool,
}

/// How a program ended.
#[derive(Debug)]
pub enum Outcome {
    /// It returned, or ended itself with an exit code.
    Exited(i32),
    /// It trapped, or a host function did.
    Trapped(wasmtime::Error),
    /// It ran out of fuel.
    OutOfFuel {
        /// The limit.
        fuel: u64,
        /// Where it was, as a wasm backtrace.
        error: wasmtime::Error,
    },
    /// It trapped after more memory had been refused.
    OutOfMemory {
        /// What it asked for, in bytes.
        asked: u64,
        /// The limit.
        limit: u64,
        /// The trap.
        error: wasmtime::Error,
    },
    /// It did not end in time.
    TimedOut(Duration),
}

/// Why a program was not started.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// It cannot be turned into code.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A directory cannot be opened.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// It is not a program.
    #[error("`{origin}` is a {kind}, which cannot be run\n  hint: {hint}")]
    Kind {
        /// The artifact.
        origin: String,
        /// What it is.
        kind: Kind,
        /// What can be done with it instead.
        hint: &'static str,
    },
    /// A component cannot listen.
    #[error(
        "`{origin}` is a component: `run` lets components call out, not listen\n  hint: leave out `--allow-inbound`; a handler of requests is for `prewasm serve`"
    )]
    ComponentInbound {
        /// The artifact.
        origin: String,
    },
    /// It is frozen, and its host state cannot be used.
    #[error("cannot resume `{origin}`, which is frozen")]
    Frozen {
        /// The artifact.
        origin: String,
        /// What is wrong.
        #[source]
        source: FrozenError,
    },
    /// It is frozen, and cannot go on with what it may use here.
    #[error("cannot resume `{origin}`")]
    Resume {
        /// The artifact.
        origin: String,
        /// What is wrong.
        #[source]
        source: ResumeError,
    },
    /// Something it imports is not provided, or what is run is not exported.
    #[error("cannot link `{origin}`")]
    Link {
        /// The artifact.
        origin: String,
        /// What is missing.
        #[source]
        source: wasmtime::Error,
    },
    /// The engine does not accept its own settings.
    #[error("cannot set up the engine")]
    Engine(#[source] wasmtime::Error),
    /// A thread or a runtime could not be started.
    #[error("cannot start the runtime")]
    System(#[source] io::Error),
}

/// Runs a program to its end. Blocks, on a runtime of its own.
///
/// A read from standard input may still be pending when this returns: end the process with [`std::process::exit`].
///
/// # Errors
/// [`RunError`], if it was not started.
pub fn run(artifact: &Artifact, options: &RunOptions, cache: &CodeCache) -> Result<Finished, RunError> {
    if let Some(objection) = objections(artifact).into_iter().next() {
        return Err(objection);
    }
    for directory in &options.environment.dirs {
        directory.check()?;
    }
    let frozen = frozen(artifact)?;
    let metering = if options.fuel.is_some() { Metering::Fuel } else { Metering::Off };
    let engine = on_demand(metering, Concurrency::Off).map_err(RunError::Engine)?;
    let code = cache.load(&engine, artifact, options.precompiled)?;
    let ticker = Ticker::start(&engine).map_err(RunError::System)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(RunError::System)?;
    let link_error = |source| RunError::Link { origin: artifact.origin().to_owned(), source };
    let result = match code {
        Code::Module(module) => {
            if module.get_export("_start").is_none() {
                return Err(kind_error(artifact, Kind::Reactor, "a program exports `_start`"));
            }
            runtime.block_on(async {
                // Before anything of the program runs: what it may not use here is told at once.
                let host = host(artifact, options, frozen.as_ref())?;
                run_module(&module, host, options, &ticker.pulse()).await.map_err(link_error)
            })
        }
        Code::Component(component) => {
            if !options.inbound.is_empty() {
                return Err(RunError::ComponentInbound { origin: artifact.origin().to_owned() });
            }
            runtime.block_on(run_component(&component, options, &ticker.pulse())).map_err(link_error)
        }
    };
    // Whatever still waits, a read from a terminal say, must not delay the end.
    runtime.shutdown_background();
    result
}

/// The host state of a frozen program.
fn frozen(artifact: &Artifact) -> Result<Option<HostState>, RunError> {
    let parsed = artifact.frozen().map(Frozen::parse).transpose();
    let frozen = parsed.map_err(|source| RunError::Frozen { origin: artifact.origin().to_owned(), source })?;
    Ok(frozen.map(|frozen| frozen.host))
}

/// Everything that keeps an artifact from being run: what `run` refuses, and `inspect` foretells.
pub fn objections(artifact: &Artifact) -> Vec<RunError> {
    [check_kind(artifact).err(), frozen(artifact).err()].into_iter().flatten().collect()
}

fn check_kind(artifact: &Artifact) -> Result<(), RunError> {
    let hint = match artifact.kind() {
        Kind::SocketServer | Kind::Command | Kind::CommandComponent | Kind::Precompiled => return Ok(()),
        Kind::Reactor => "a program exports `_start`; build an executable instead of a library",
        Kind::HttpComponent(HttpVersion::V02 | HttpVersion::V03) => "use `prewasm serve`",
        Kind::Component => "a program exports `wasi:cli/run`",
    };
    Err(kind_error(artifact, artifact.kind(), hint))
}

fn kind_error(artifact: &Artifact, kind: Kind, hint: &'static str) -> RunError {
    RunError::Kind { origin: artifact.origin().to_owned(), kind, hint }
}

/// The host's side of a module: new, or as it was when the program was frozen.
fn host(artifact: &Artifact, options: &RunOptions, frozen: Option<&HostState>) -> Result<Host, RunError> {
    let inbound = if options.inbound.is_empty() { Inbound::Denied } else { Inbound::Real(options.inbound.clone()) };
    let outbound = Arc::new(Outbound::new(Arc::new(options.outbound.clone())));
    let streams = HostOptions {
        extra_env: Box::new(Vec::new),
        stdin: Input::Stream(Box::new(tokio::io::stdin())),
        stdout: Output::Stream(Box::new(Inherited(io::stdout()))),
        stderr: Output::Stream(Box::new(Inherited(io::stderr()))),
        network: Network { inbound, outbound },
    };
    let environment = Arc::new(options.environment.clone());
    match frozen {
        None => Ok(Host::new(environment, streams)),
        Some(state) => Host::resume(environment, streams, state)
            .map_err(|source| RunError::Resume { origin: artifact.origin().to_owned(), source }),
    }
}

async fn run_module(module: &Module, host: Host, options: &RunOptions, pulse: &Pulse) -> wasmtime::Result<Finished> {
    let template = link::linker::<CoreState>(module.engine())?.instantiate_pre(module)?;
    let state = CoreState { host, limiter: MemoryLimiter::new(options.memory) };
    let mut store = store(module.engine(), state, options.fuel)?;
    let result = within(
        options.timeout,
        pulse.drive(async {
            let instance = template.instantiate_async(&mut store).await?;
            link::start_function(&mut store, &instance)?.call_async(&mut store, ()).await
        }),
    )
    .await;
    let outcome = outcome(result, options, &store.data().limiter);
    Ok(Finished { outcome, missed_directory: store.data().host.looked_for_directory_in_vain() })
}

async fn run_component(component: &Component, options: &RunOptions, pulse: &Pulse) -> wasmtime::Result<Finished> {
    let mut linker = component::Linker::new(component.engine());
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    let template = CommandPre::new(linker.instantiate_pre(component)?)?;
    let outbound = Arc::new(Outbound::new(Arc::new(options.outbound.clone())));
    let limiter = MemoryLimiter::new(options.memory);
    let state = ComponentState::new(&options.environment, Door::new(outbound, None), limiter, |wasi| {
        wasi.inherit_stdio();
    })?;
    let mut store = store(component.engine(), state, options.fuel)?;
    let result = within(
        options.timeout,
        pulse.drive(async {
            let command = template.instantiate_async(&mut store).await?;
            // An error that `run` returns has no text; its exit code is 1.
            command.wasi_cli_run().call_run(&mut store).await?.map_err(|()| I32Exit(1).into())
        }),
    )
    .await;
    let outcome = outcome(result, options, &store.data().limiter);
    // Opening a file without a directory cannot even be tried in WASI 0.2.
    Ok(Finished { outcome, missed_directory: false })
}

/// Gives up at the deadline: then there is no result.
async fn within<R>(timeout: Option<Duration>, run: impl Future<Output = R>) -> Result<R, Duration> {
    let deadline = async {
        match timeout {
            Some(timeout) => {
                tokio::time::sleep(timeout).await;
                timeout
            }
            None => future::pending().await,
        }
    };
    tokio::select! {
        biased;
        result = run => Ok(result),
        timeout = deadline => Err(timeout),
    }
}

fn outcome(result: Result<wasmtime::Result<()>, Duration>, options: &RunOptions, limiter: &MemoryLimiter) -> Outcome {
    let result = match result {
        Ok(result) => result,
        Err(timeout) => return Outcome::TimedOut(timeout),
    };
    match judge(result, limiter) {
        Ok(End::Exited(code)) => Outcome::Exited(code),
        Ok(End::Returned | End::ServedOut) => Outcome::Exited(0),
        Err(Fault::OutOfFuel(error)) => Outcome::OutOfFuel { fuel: options.fuel.unwrap_or_default(), error },
        Err(Fault::OutOfMemory { asked, limit, error }) => Outcome::OutOfMemory { asked, limit, error },
        Err(Fault::Trap(error)) => Outcome::Trapped(error),
    }
}

/// A stream of ours which the guest writes to directly: nothing is left in a buffer when it ends. It may wait for a
/// slow reader, which is what a program on its own does too.
struct Inherited<S>(S);

impl<S: io::Write + Unpin> AsyncWrite for Inherited<S> {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = self.0.write(bytes).and_then(|length| self.0.flush().map(|()| length));
        Poll::Ready(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.0.flush())
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}
