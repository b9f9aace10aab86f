//! Where programs run at build time: declared surroundings, limits which hold, and failures in our words.

mod component_files;
mod component_linker;
mod guard;
mod guest_output;
mod surroundings;

use std::time::Duration;

use tokio::runtime::Runtime;
use wasmtime::{Config, Engine, OptLevel, Store};
use wasmtime_wasi::I32Exit;

use crate::{
    options::{Limits, Options},
    progress::Progress,
};

pub(crate) use component_linker::component_linker;
pub(crate) use guard::{Guard, Guarded, Paused};
pub(crate) use surroundings::{ComponentState, ModuleState, environment, host_options};

pub(crate) use guard::Expired;
use guard::Ticker;

/// Why a program did not do what it was run for.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The program trapped.
    #[error("`{function}` trapped")]
    Trapped {
        /// What was called.
        function: String,
        /// The trap, with the wasm backtrace.
        #[source]
        source: wasmtime::Error,
    },
    /// The program ended itself.
    #[error("`{function}` ended the program with exit code {code}\n  hint: {hint}")]
    Exited {
        /// What was called.
        function: String,
        /// The exit code.
        code: i32,
        /// What it should have done instead.
        hint: &'static str,
    },
    /// It took too long.
    #[error(
        "`{function}` took longer than {timeout:?}{location}\n  hint: raise the limit with `--timeout`, if it is not an endless loop"
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
    /// The compiler refuses the program.
    #[error("the program does not compile")]
    Compile(#[source] wasmtime::Error),
    /// A declared directory cannot be opened.
    #[error(transparent)]
    Directory(#[from] prewasm_ext_http::DirectoryError),
    /// The system did not give us what a run needs.
    #[error("cannot set up the run")]
    System(#[source] std::io::Error),
    /// The engine did not accept its own settings.
    #[error("cannot set up the engine")]
    Engine(#[source] wasmtime::Error),
}

/// A call which failed, and what was called.
pub(crate) struct Failed {
    pub(crate) function: String,
    pub(crate) error: wasmtime::Error,
}

/// Names what was called when it failed.
pub(crate) fn during(function: &str) -> impl Fn(wasmtime::Error) -> Failed {
    move |error| Failed { function: function.to_owned(), error }
}

/// How a failure of instantiation names what ran: the start function has no name of its own.
pub(crate) const START_FUNCTION: &str = "(start)";

/// Whether frames of running code can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Frames {
    /// No: full speed.
    Hidden,
    /// Yes, at a fraction of the speed.
    Readable,
}

/// An engine, a runtime and limits for one build.
pub(crate) struct Sandbox<'a> {
    pub(crate) engine: Engine,
    pub(crate) options: &'a Options,
    pub(crate) progress: &'a Progress,
    runtime: Runtime,
    _ticker: Ticker,
}

impl<'a> Sandbox<'a> {
    pub(crate) fn new(options: &'a Options, progress: &'a Progress, frames: Frames) -> Result<Self, RunError> {
        for directory in &options.inputs.dirs {
            directory.check()?;
        }
        let engine = engine(&options.limits, frames).map_err(RunError::Engine)?;
        let ticker = Ticker::start(&engine).map_err(RunError::System)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(RunError::System)?;
        Ok(Self { engine, options, progress, runtime, _ticker: ticker })
    }

    pub(crate) fn block_on<R>(&self, run: impl Future<Output = R>) -> R {
        self.runtime.block_on(run)
    }

    /// A lookup of a name may still sit on a thread of the runtime; nobody waits for its answer.
    pub(crate) fn close(self) {
        self.runtime.shutdown_background();
    }

    pub(crate) fn guard(&self) -> Guard {
        self.guard_for(self.options.limits.timeout)
    }

    /// Watches over a run of at most this long.
    pub(crate) fn guard_for(&self, time: Duration) -> Guard {
        Guard::new(self.options.limits.memory, time)
    }

    pub(crate) fn store<T: Guarded>(&self, state: T) -> Result<Store<T>, RunError> {
        let mut store = Store::new(&self.engine, state);
        store.limiter(|state| state.guard());
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|mut context| context.data_mut().guard().tick());
        if let Some(fuel) = self.options.limits.fuel {
            store.set_fuel(fuel).map_err(RunError::Engine)?;
        }
        Ok(store)
    }

    /// Gives up on a program which waits for the host; one that computes is stopped by its guard a little earlier,
    /// which can tell where.
    pub(crate) async fn within_limits<R>(&self, run: impl Future<Output = R>) -> Option<R> {
        self.within(self.options.limits.timeout, run).await
    }

    /// The same for a run of at most this long.
    pub(crate) async fn within<R>(&self, time: Duration, run: impl Future<Output = R>) -> Option<R> {
        const GRACE: Duration = Duration::from_millis(100);
        tokio::time::timeout(time.saturating_add(GRACE), run).await.ok()
    }

    /// Ends all limits, so that the state of a stopped program can be read out.
    pub(crate) fn lift_limits<T: Guarded>(&self, store: &mut Store<T>) -> Result<(), RunError> {
        store.data_mut().guard().lift();
        if self.options.limits.fuel.is_some() {
            store.set_fuel(u64::MAX).map_err(RunError::Engine)?;
        }
        Ok(())
    }

    /// `function` waited for the host all the time.
    pub(crate) fn timed_out(&self, function: &str) -> RunError {
        let timeout = self.options.limits.timeout;
        RunError::TimedOut { function: function.to_owned(), timeout, location: String::new() }
    }

    /// Puts a failure in our words. `hint` is for a program which ended itself.
    pub(crate) fn judge<T: Guarded>(&self, store: &mut Store<T>, failed: Failed, hint: &'static str) -> RunError {
        let Failed { function, error } = failed;
        let limits = &self.options.limits;
        if let Some(I32Exit(code)) = error.downcast_ref() {
            return RunError::Exited { function, code: *code, hint };
        }
        if error.is::<Expired>() {
            return RunError::TimedOut { function, timeout: limits.timeout, location: location(&error) };
        }
        if let (Some(wasmtime::Trap::OutOfFuel), Some(fuel)) = (error.downcast_ref(), limits.fuel) {
            return RunError::OutOfFuel { function, fuel };
        }
        match store.data_mut().guard().refused() {
            Some(asked) => RunError::OutOfMemory { function, asked, limit: limits.memory, source: error },
            None => RunError::Trapped { function, source: error },
        }
    }
}

/// The same program must give the same state on every machine: bits of NaNs and relaxed SIMD are pinned down.
fn engine(limits: &Limits, frames: Frames) -> wasmtime::Result<Engine> {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .consume_fuel(limits.fuel.is_some())
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        // A program runs once or twice here: what is saved in compiling it is more than what is lost in running it.
        .cranelift_opt_level(OptLevel::None)
        .guest_debug(frames == Frames::Readable);
    Engine::new(&config)
}

fn location(error: &wasmtime::Error) -> String {
    let Some(backtrace) = error.downcast_ref::<wasmtime::WasmBacktrace>() else { return String::new() };
    // Its first line is a heading for an error of its own.
    let frames: String = backtrace.to_string().trim_end().lines().skip(1).map(|frame| format!("\n{frame}")).collect();
    format!("; it was at{frames}")
}
