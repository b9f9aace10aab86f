//! Runs the init function and records what came of it. The only file which knows Wizer.

mod access;
mod guard;
mod guest_output;
mod surroundings;

use std::time::{Duration, Instant};

use prewasm_artifact::Artifact;
use prewasm_ext_http::link;
use wasmtime::{
    Config, Engine, Instance, Module, Store,
    component::{self, Component, wit_parser::ItemName},
};
use wasmtime_wasi::I32Exit;
use wasmtime_wizer::{WasmtimeWizer, Wizer};

use crate::{
    options::{InitExport, Limits, Options},
    preflight::Plan,
    progress::{Event, Progress},
};

use access::Access;
use guard::{Expired, Guard, Guarded, Ticker};
use surroundings::{ComponentState, ModuleState};

/// A program after its init function.
#[derive(Debug)]
pub(crate) struct Initialized<'a> {
    pub(crate) plan: Plan<'a>,
    pub(crate) wasm: Vec<u8>,
    /// How long instantiation and the init function took, without compilation.
    pub(crate) init_time: Duration,
}

/// Why a program could not be initialized.
#[derive(Debug, thiserror::Error)]
pub enum InitializeError {
    /// The init function trapped, or the start function or `_initialize` before it did.
    #[error("`{function}` trapped")]
    Trapped {
        /// What was called.
        function: String,
        /// The trap, with the wasm backtrace.
        #[source]
        source: wasmtime::Error,
    },
    /// The program ended itself.
    #[error("`{function}` ended the program with exit code {code}\n  hint: an init function must return")]
    Exited {
        /// What was called.
        function: String,
        /// The exit code.
        code: i32,
    },
    /// It took too long.
    #[error(
        "`{function}` did not return within {timeout:?}{location}\n  hint: raise the limit with `--timeout`, if it is not an endless loop"
    )]
    TimedOut {
        /// What was called.
        function: String,
        /// The limit.
        timeout: Duration,
        /// The wasm backtrace at that moment, on lines of its own; empty while the program waited for the host.
        location: String,
    },
    /// It ran too many instructions.
    #[error("`{function}` ran out of fuel ({fuel} units)\n  hint: raise the limit with `--fuel`")]
    OutOfFuel {
        /// What was called.
        function: String,
        /// The limit.
        fuel: u64,
    },
    /// It wanted too much memory, and failed when it did not get it.
    #[error(
        "`{function}` ran out of memory: it asked for {asked} bytes, the limit is {limit} bytes\n  hint: raise the limit with `--max-memory`"
    )]
    OutOfMemory {
        /// What was called.
        function: String,
        /// How much linear memory it would have had.
        asked: u64,
        /// The limit.
        limit: u64,
        /// How it failed.
        #[source]
        source: wasmtime::Error,
    },
    /// There is no init function of that name.
    #[error("it exports no function `{function}` without parameters and results")]
    NoInit {
        /// The name asked for.
        function: String,
    },
    /// The compiler refuses the program.
    #[error("the program does not compile")]
    Compile(#[source] wasmtime::Error),
    /// A declared directory cannot be opened.
    #[error(transparent)]
    Directory(#[from] prewasm_ext_http::DirectoryError),
    /// Wizer cannot handle the program, although nothing spoke against it.
    #[error("the program's state cannot be recorded")]
    Record(#[source] wasmtime::Error),
    /// The system did not give us what a run needs.
    #[error("cannot set up the run")]
    System(#[source] std::io::Error),
    /// The engine did not accept its own settings.
    #[error("cannot set up the engine")]
    Engine(#[source] wasmtime::Error),
}

/// Runs the init function within the limits of the plan.
pub(crate) fn initialize<'a>(plan: Plan<'a>, progress: &Progress) -> Result<Initialized<'a>, InitializeError> {
    for directory in &plan.options.inputs.dirs {
        directory.check()?;
    }
    let engine = engine(&plan.options.limits).map_err(InitializeError::Engine)?;
    let _ticker = Ticker::start(&engine).map_err(InitializeError::System)?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(InitializeError::System)?;
    let run = Run { artifact: plan.artifact, options: plan.options, wizer: wizer(&plan), progress };
    let (wasm, init_time) = if plan.artifact.kind().is_component() {
        runtime.block_on(run.component(&engine))?
    } else {
        runtime.block_on(run.module(&engine))?
    };
    // A lookup of a name may still sit on a thread of the runtime; nobody waits for its answer.
    runtime.shutdown_background();
    Ok(Initialized { plan, wasm, init_time })
}

/// The same program must give the same state on every machine: bits of NaNs and relaxed SIMD are pinned down.
fn engine(limits: &Limits) -> wasmtime::Result<Engine> {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .consume_fuel(limits.fuel.is_some())
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true);
    Engine::new(&config)
}

fn wizer(plan: &Plan<'_>) -> Wizer {
    let mut wizer = Wizer::new();
    wizer.init_func(&plan.init).keep_init_func(plan.options.init_export == InitExport::Keep);
    for rename in &plan.renames {
        wizer.func_rename(&rename.to, &rename.from);
    }
    wizer
}

struct Run<'a> {
    artifact: &'a Artifact,
    options: &'a Options,
    wizer: Wizer,
    progress: &'a Progress,
}

/// A call which failed, and what was called.
struct Failed {
    function: String,
    error: wasmtime::Error,
}

fn during(function: &str) -> impl Fn(wasmtime::Error) -> Failed {
    move |error| Failed { function: function.to_owned(), error }
}

/// How a failure of instantiation names what ran: the start function has no name of its own.
const START_FUNCTION: &str = "(start)";
const REACTOR_INIT: &str = "_initialize";

impl Run<'_> {
    async fn module(&self, engine: &Engine) -> Result<(Vec<u8>, Duration), InitializeError> {
        let (context, instrumented) = self.wizer.instrument(self.artifact.bytes()).map_err(InitializeError::Record)?;
        let module = Module::new(engine, &instrumented).map_err(InitializeError::Compile)?;
        let linker = link::linker::<ModuleState>(engine).map_err(InitializeError::Engine)?;
        let mut store = self.store(engine, ModuleState::new(&self.options.inputs, self.guard(), self.progress))?;
        let externs = link::externs(&linker, &mut store, &module).map_err(InitializeError::Engine)?;

        let start = Instant::now();
        let init = async {
            let instance = Instance::new_async(&mut store, &module, &externs).await.map_err(during(START_FUNCTION))?;
            if self.wizer.get_init_func() != REACTOR_INIT && instance.get_func(&mut store, REACTOR_INIT).is_some() {
                call(&mut store, &instance, REACTOR_INIT).await?;
            }
            call(&mut store, &instance, self.wizer.get_init_func()).await?;
            Ok(instance)
        };
        let result = self.within_limits(init).await;
        let init_time = start.elapsed();
        let instance = self.judge(&mut store, result)?;
        let mut state = WasmtimeWizer { store: &mut store, instance };
        let wasm = self.wizer.snapshot(&context, &mut state).await.map_err(InitializeError::Record)?;
        Ok((wasm, init_time))
    }

    async fn component(&self, engine: &Engine) -> Result<(Vec<u8>, Duration), InitializeError> {
        let (context, instrumented) =
            self.wizer.instrument_component(self.artifact.bytes()).map_err(InitializeError::Record)?;
        let component = Component::new(engine, &instrumented).map_err(InitializeError::Compile)?;
        let name = self.wizer.get_init_func();
        let no_init = || InitializeError::NoInit { function: name.to_owned() };
        let item: ItemName = name.parse().map_err(|_| no_init())?;
        let (_, index) = component.get_export(None, item).ok_or_else(no_init)?;

        let mut linker = component::Linker::new(engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).map_err(InitializeError::Engine)?;
        linker.define_unknown_imports_as_traps(&component).map_err(InitializeError::Engine)?;
        let state = ComponentState::new(&self.options.inputs, self.guard(), self.progress)?;
        let mut store = self.store(engine, state)?;

        let start = Instant::now();
        let init = async {
            let instance = linker.instantiate_async(&mut store, &component).await.map_err(during(START_FUNCTION))?;
            let Some(Ok(init)) = instance.get_func(&mut store, index).map(|init| init.typed::<(), ()>(&store)) else {
                return Ok(None);
            };
            (self.progress)(Event::Initializing { function: name });
            init.call_async(&mut store, ()).await.map_err(during(name))?;
            Ok(Some(instance))
        };
        let result = self.within_limits(init).await;
        let init_time = start.elapsed();
        let instance = self.judge(&mut store, result)?.ok_or_else(no_init)?;
        let mut access = Access::new(&mut store, instance);
        let wasm = self.wizer.snapshot_component(&context, &mut access).await.map_err(InitializeError::Record)?;
        access.finish().map_err(InitializeError::Record)?;
        Ok((wasm, init_time))
    }

    fn guard(&self) -> Guard {
        Guard::new(self.options.limits.memory, self.options.limits.timeout)
    }

    fn store<T: Guarded>(&self, engine: &Engine, state: T) -> Result<Store<T>, InitializeError> {
        let mut store = Store::new(engine, state);
        store.limiter(|state| state.guard());
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|mut context| context.data_mut().guard().tick());
        if let Some(fuel) = self.options.limits.fuel {
            store.set_fuel(fuel).map_err(InitializeError::Engine)?;
        }
        Ok(store)
    }

    /// Gives up on a program which waits for the host; one that computes is stopped by its guard a little earlier,
    /// which can tell where.
    async fn within_limits<R>(&self, run: impl Future<Output = Result<R, Failed>>) -> Option<Result<R, Failed>> {
        const GRACE: Duration = Duration::from_millis(100);
        tokio::time::timeout(self.options.limits.timeout.saturating_add(GRACE), run).await.ok()
    }

    /// Puts a failure in our words; afterwards, the store is ready for reading out its state.
    fn judge<T: Guarded, R>(
        &self,
        store: &mut Store<T>,
        result: Option<Result<R, Failed>>,
    ) -> Result<R, InitializeError> {
        let limits = &self.options.limits;
        let Failed { function, error } = match result {
            Some(Ok(value)) => {
                store.data_mut().guard().lift();
                if limits.fuel.is_some() {
                    store.set_fuel(u64::MAX).map_err(InitializeError::Engine)?;
                }
                return Ok(value);
            }
            Some(Err(failed)) => failed,
            None => {
                return Err(InitializeError::TimedOut {
                    function: self.wizer.get_init_func().to_owned(),
                    timeout: limits.timeout,
                    location: String::new(),
                });
            }
        };
        if let Some(I32Exit(code)) = error.downcast_ref() {
            return Err(InitializeError::Exited { function, code: *code });
        }
        if error.is::<Expired>() {
            return Err(InitializeError::TimedOut { function, timeout: limits.timeout, location: location(&error) });
        }
        if let (Some(wasmtime::Trap::OutOfFuel), Some(fuel)) = (error.downcast_ref(), limits.fuel) {
            return Err(InitializeError::OutOfFuel { function, fuel });
        }
        Err(match store.data_mut().guard().refused() {
            Some(asked) => InitializeError::OutOfMemory { function, asked, limit: limits.memory, source: error },
            None => InitializeError::Trapped { function, source: error },
        })
    }
}

/// Calls an exported function which takes and gives nothing.
async fn call(store: &mut Store<ModuleState>, instance: &Instance, name: &str) -> Result<(), Failed> {
    let function = instance.get_typed_func::<(), ()>(&mut *store, name).map_err(during(name))?;
    store.data().tell(Event::Initializing { function: name });
    function.call_async(store, ()).await.map_err(during(name))
}

fn location(error: &wasmtime::Error) -> String {
    let Some(backtrace) = error.downcast_ref::<wasmtime::WasmBacktrace>() else { return String::new() };
    // Its first line is a heading for an error of its own.
    let frames: String = backtrace.to_string().trim_end().lines().skip(1).map(|frame| format!("\n{frame}")).collect();
    format!("; it was at{frames}")
}
