//! Freezing: a running program, stopped inside of a host call, becomes a module which goes on from there.
//!
//! Nothing of the program is instrumented. Wasmtime's debugging interface tells every frame (`capture`); for each of
//! them, a function is added which holds the rest of its work (`continuation`); the entry leads to the outermost.
//! The host call in which the program was stopped is made again, so it must not have had an effect.

mod capture;
mod check;
mod compare;
mod continuation;
mod probes;
mod relabel;
mod site;
#[cfg(test)]
mod theorem;
mod watched;
mod writer;

use std::{
    cell::Cell,
    future::poll_fn,
    pin::pin,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use prewasm_artifact::Artifact;
use prewasm_ext_http::{Draw, Frozen, link};
use wasmtime::{Instance, Linker, Module, Store};

use crate::{
    cleared::Cleared,
    entropy::{self, Dependence, Entropy, Observed, Variation},
    host_calls::Asked,
    names::Names,
    options::{Stop, Verification},
    preflight::Plan,
    program::Program,
    progress::{Event, Progress, silent},
    provenance,
    sandbox::{Failed, Frames, Paused, RunError, START_FUNCTION, Sandbox, during},
    shadow_stack,
    warm_up::{self, Answer, WarmUpFailure},
};

use probes::{Dropped, Probed};
use watched::{Stopped, Watched};

pub(crate) use compare::Compared;
pub(crate) use writer::keeps_export;

use capture::{Capture, Frame};
use compare::Left;

/// A program frozen while it ran.
#[derive(Debug)]
pub(crate) struct FrozenProgram {
    pub(crate) wasm: Vec<u8>,
    /// How long the program ran, without compilation.
    pub(crate) time: Duration,
    pub(crate) asked: Asked,
    pub(crate) cleared: Cleared,
    pub(crate) entropy: Entropy,
    /// What the host must know to go on.
    pub(crate) frozen: Frozen,
    pub(crate) facts: Facts,
}

/// What happened, for the report.
#[derive(Debug)]
pub(crate) struct Facts {
    /// The import in whose call it was stopped.
    pub(crate) stopped_in: String,
    pub(crate) frames: usize,
    /// Names of the innermost functions which wait.
    pub(crate) stack: Vec<String>,
    pub(crate) continuation_bytes: usize,
    /// How far the frozen program and the original were run side by side, if they were.
    pub(crate) compared: Option<Compared>,
    pub(crate) listeners: Vec<String>,
    pub(crate) answers: Vec<Answer>,
}

/// Why a program was not frozen.
#[derive(Debug, thiserror::Error)]
pub enum FreezeError {
    /// It did not come as far as its stop point.
    #[error(transparent)]
    Run(#[from] RunError),
    /// It came to its end first.
    #[error("`_start` returned before it reached `{stop}`\n  hint: {hint}")]
    Ended {
        /// The stop point.
        stop: Stop,
        /// What to do.
        hint: &'static str,
    },
    /// It waits for a connection, which is not where it was to stop.
    #[error("it waits for a connection, and has not reached `{stop}`\n  hint: use `--until accept`")]
    Waits {
        /// The stop point.
        stop: Stop,
    },
    /// A request before the freeze went wrong.
    #[error(transparent)]
    WarmUp(#[from] WarmUpFailure),
    /// It failed over a request before the freeze.
    #[error("`{request}` was not answered")]
    FailedAt {
        /// The request.
        request: String,
        /// What happened instead.
        #[source]
        source: RunError,
    },
    /// Its state cannot be written down.
    #[error("it cannot be frozen in `{stopped_in}`")]
    State {
        /// The import in whose call it was stopped.
        stopped_in: String,
        /// What stands against it.
        #[source]
        source: Unfreezable,
    },
    /// The host holds something for it which cannot be had again.
    #[error("it cannot be frozen in `{stopped_in}`:{}", list(objections))]
    Host {
        /// The import in whose call it was stopped.
        stopped_in: String,
        /// What the host holds.
        objections: Vec<prewasm_ext_http::Unfreezable>,
    },
    /// The section of a program which is frozen already is damaged.
    #[error("its host state is damaged")]
    Damaged(#[from] prewasm_ext_http::FrozenError),
    /// The state of a program which is frozen already cannot be had again.
    #[error("its host state cannot be restored")]
    Resume(#[from] prewasm_ext_http::ResumeError),
    /// The frozen program is not what was stopped: a fault of ours.
    #[error("the frozen program differs from what was stopped, in its {what}; this is a bug")]
    Differs {
        /// What differs.
        what: &'static str,
    },
}

fn list(objections: &[prewasm_ext_http::Unfreezable]) -> String {
    objections.iter().map(|objection| format!("\n  {objection}")).collect()
}

/// The function which a program starts with.
pub(crate) const ENTRY: &str = "_start";

/// Runs the program to its stop point, and writes what goes on from there.
pub(crate) fn freeze(plan: &Plan<'_>, stop: &Stop, progress: &Progress) -> Result<FrozenProgram, FreezeError> {
    let sandbox = Sandbox::new(plan.options, progress, Frames::Readable)?;
    let frozen = sandbox.block_on(Freezer { artifact: plan.artifact, stop, sandbox: &sandbox }.freeze());
    sandbox.close();
    frozen
}

/// Whether a program which is frozen already had read its environment before.
fn was_environment_read(artifact: &Artifact) -> Result<bool, FreezeError> {
    Ok(artifact.frozen().map(Frozen::parse).transpose()?.is_some_and(|frozen| frozen.environment_read))
}

struct Freezer<'a> {
    artifact: &'a Artifact,
    stop: &'a Stop,
    sandbox: &'a Sandbox<'a>,
}

/// A program which has been stopped.
struct Run {
    stopped: Stopped,
    dropped: Dropped,
    asked: Asked,
    draws: Vec<Draw>,
    answers: Vec<Answer>,
    time: Duration,
}

/// A program compiled for being watched.
struct Subject<'a> {
    program: &'a Program<'a>,
    probed: Probed,
    module: Module,
    linker: Linker<Watched>,
}

impl Freezer<'_> {
    async fn freeze(&self) -> Result<FrozenProgram, FreezeError> {
        let program = Program::parse(self.artifact.bytes());
        let program = program.map_err(|error| self.unfreezable(Unfreezable::Invalid(error)))?;
        let subject = self.compile(&program)?;
        let run = self.run(&subject, Variation::NONE).await?;
        let entropy = self.analyse(&subject, &run).await?;
        let Run { stopped, dropped, asked, answers, time, .. } = run;
        let Stopped { capture, cleared, host, random_position, stopped_in } = stopped;
        let state_error = |source| FreezeError::State { stopped_in: stopped_in.clone(), source };
        let written = writer::write(&program, &capture, &dropped, ENTRY).map_err(state_error)?;
        (self.sandbox.progress)(Event::Checking);
        let invalid = |error| self.unfreezable(Unfreezable::Invalid(error));
        let frozen_program = Program::parse(&written.wasm).map_err(invalid)?;
        let frozen_subject = self.compile(&frozen_program)?;
        check::check(self.sandbox, self.artifact, &frozen_subject, &capture).await?;
        let compared = if self.sandbox.options.verification == Verification::Compare && self.is_comparable(&asked) {
            let left = Left { host: &host, random_position, time };
            self.compare(&subject, &frozen_subject, left).await?
        } else {
            None
        };
        let facts = Facts {
            frames: capture.frames.len(),
            stack: stack(&program, &capture),
            continuation_bytes: written.continuation_bytes,
            compared,
            listeners: host.listeners().map(|address| address.to_string()).collect(),
            answers,
            stopped_in,
        };
        let mut frozen = Frozen::new(self.stop.to_string(), host);
        frozen.environment_read = was_environment_read(self.artifact)? || asked.has_read_environment();
        Ok(FrozenProgram { wasm: written.wasm, time, asked, cleared, entropy, frozen, facts })
    }

    async fn analyse(&self, subject: &Subject<'_>, run: &Run) -> Result<Entropy, FreezeError> {
        let known = provenance::reseeded(self.artifact);
        let frozen = self.artifact.frozen().map(Frozen::parse).transpose()?;
        let observed = Observed {
            state: subject.program.exports_first_memory().then_some(&run.stopped.capture.state),
            draws: &run.draws,
            backtraces: &run.asked.backtraces,
            resumed: frozen.map_or(0, |frozen| frozen.host.reseed().len() as u64),
            known: &known,
            has_read_realtime: run.asked.has_read_realtime,
        };
        let failure = Cell::new(None);
        let rerun = async |variation| {
            (self.sandbox.progress)(Event::Repeating);
            match self.run(subject, variation).await {
                Ok(other) => run.stopped.capture.differences(&other.stopped.capture),
                Err(error) => {
                    failure.set(Some(error));
                    Dependence::Unknown
                }
            }
        };
        let is_repeatable = self.sandbox.options.inputs.is_repeatable();
        let entropy = entropy::analyse(observed, is_repeatable.then_some(rerun)).await;
        match failure.into_inner() {
            // Slowness tells nothing of what depends on what.
            Some(error @ FreezeError::Run(RunError::TimedOut { .. })) => Err(error),
            _ => Ok(entropy),
        }
    }

    fn unfreezable(&self, source: Unfreezable) -> FreezeError {
        FreezeError::State { stopped_in: self.stop.to_string(), source }
    }

    fn compile<'p>(&self, program: &'p Program<'p>) -> Result<Subject<'p>, FreezeError> {
        let engine = &self.sandbox.engine;
        let probed = Probed::new(program).map_err(|source| self.unfreezable(source))?;
        (self.sandbox.progress)(Event::Compiling);
        let module = Module::new(engine, &probed.wasm).map_err(RunError::Compile)?;
        let linker = link::linker::<Watched>(engine).map_err(RunError::Engine)?;
        Ok(Subject { program, probed, module, linker })
    }

    async fn run(&self, subject: &Subject<'_>, variation: Variation) -> Result<Run, FreezeError> {
        let Subject { program, probed, module, linker } = subject;
        let options = self.sandbox.options;
        // What a program prints is told once.
        let progress = if variation == Variation::NONE { Arc::clone(self.sandbox.progress) } else { silent() };
        let stack = shadow_stack::in_front(program);
        let (state, connector) =
            Watched::new(self.artifact, self.stop.clone(), program.shape(), self.sandbox, variation, stack, &progress)?;
        let paused = state.paused();
        let mut store = self.sandbox.store(state)?;
        let externs = link::externs(linker, &mut store, module).map_err(RunError::Engine)?;

        let start = Instant::now();
        if variation == Variation::NONE {
            (self.sandbox.progress)(Event::Calling { function: ENTRY });
        }
        let guest = async {
            let instance = Instance::new_async(&mut store, module, &externs).await.map_err(during(START_FUNCTION))?;
            let entry = link::start_function(&mut store, &instance).map_err(during(ENTRY))?;
            store.data_mut().enter();
            entry.call_async(&mut store, ()).await.map_err(during(ENTRY))
        };
        let under_way = Cell::new(None);
        let both = alongside(guest, &paused, warm_up::drive(&connector, &options.warm_ups, &under_way));
        let result = self.sandbox.within_limits(both).await;
        let time = start.elapsed();
        let answers = self.judge(&mut store, result).map_err(|error| match (error, under_way.get()) {
            (FreezeError::Run(source), Some(index)) => {
                FreezeError::FailedAt { request: options.warm_ups[index].to_string(), source }
            }
            (error, _) => error,
        })?;

        self.sandbox.lift_limits(&mut store)?;
        let asked = store.data().asked();
        let draws = store.data().draws().to_vec();
        let stopped = store.data_mut().take_stopped();
        let mut stopped = stopped.ok_or(FreezeError::Waits { stop: self.stop.clone() })??;
        let dropped = probed.ask(&mut store, stopped.capture.instance).await.map_err(RunError::Engine)?;
        probed.translate(&mut stopped.capture, program.shape().imported_functions);
        Ok(Run { stopped, dropped, asked, draws, answers, time })
    }

    /// Tells a program which was stopped from one which failed.
    fn judge(&self, store: &mut Store<Watched>, result: Option<Both>) -> Result<Vec<Answer>, FreezeError> {
        let Some(Both { guest, answers }) = result else { return Err(self.sandbox.timed_out(ENTRY).into()) };
        let answers = answers.transpose()?;
        if store.data().is_stopped() {
            return Ok(answers.unwrap_or_default());
        }
        match guest {
            Some(Err(failed)) if failed.error.is::<link::ServedOut>() => {
                Err(FreezeError::Waits { stop: self.stop.clone() })
            }
            Some(Err(failed)) => Err(self.sandbox.judge(store, failed, self.hint()).into()),
            Some(Ok(())) | None => Err(FreezeError::Ended { stop: self.stop.clone(), hint: self.hint() }),
        }
    }

    fn hint(&self) -> &'static str {
        match self.stop {
            Stop::Accept => "a server must listen and wait for connections; look at what it printed",
            Stop::Pure => "it has no effect before which it could be stopped: there is nothing to snapshot",
            Stop::Marker | Stop::Import { .. } => "that function must be called on its way; look at what it printed",
        }
    }
}

/// What the functions are called which wait, the innermost first.
fn stack(program: &Program<'_>, capture: &Capture) -> Vec<String> {
    const MAX_NAMED: usize = 64;
    let names = Names::of(program);
    let name = |frame: &Frame| names.function(frame.function).unwrap_or_else(|| format!("function {}", frame.function));
    capture.frames.iter().take(MAX_NAMED).map(name).collect()
}

/// How the guest and its client ended.
struct Both {
    /// `None` if the client failed first.
    guest: Option<Result<(), Failed>>,
    /// `None` if the guest ended first.
    answers: Option<Result<Vec<Answer>, WarmUpFailure>>,
}

/// Runs the guest to its end, and the client beside it. If the client fails, the guest is given up.
///
/// The client gets its turn only when the guest waits, not when the clock has interrupted it: what a guest has read and
/// written by a certain instruction must not depend on the machine's speed.
async fn alongside(
    guest: impl Future<Output = Result<(), Failed>>,
    paused: &Paused,
    client: impl Future<Output = Result<Vec<Answer>, WarmUpFailure>>,
) -> Both {
    let (mut guest, mut client) = (pin!(guest), pin!(client));
    let mut answers = None;
    poll_fn(|cx| {
        if let Poll::Ready(guest) = guest.as_mut().poll(cx) {
            return Poll::Ready(Both { guest: Some(guest), answers: answers.take() });
        }
        if answers.is_none()
            && !paused.take()
            && let Poll::Ready(result) = client.as_mut().poll(cx)
        {
            let has_failed = result.is_err();
            answers = Some(result);
            if has_failed {
                return Poll::Ready(Both { guest: None, answers: answers.take() });
            }
        }
        Poll::Pending
    })
    .await
}

/// Why a stopped program cannot be frozen.
#[derive(Debug, thiserror::Error)]
pub enum Unfreezable {
    /// The host was called, but not by code of the program.
    #[error("the host function is exported: no code of the program is running")]
    NoFrame,
    /// The host has called the program again from inside of a host call.
    #[error("the host has called into the program while a host call was under way")]
    Reentered,
    /// It has asked how much there is, and not yet read it.
    #[error(
        "it has made room for what it is about to read, and another host may have more\n  hint: stop it before it asks for the size, or afterwards"
    )]
    HalfRead,
    /// Code of more than one instance waits.
    #[error("code of several instances is running")]
    SeveralInstances,
    /// A start function has no frame which can be continued.
    #[error("it is in its start section, which cannot be continued\n  hint: do the work in `_start`")]
    NotAFunction,
    /// A reference to something outside of the module, or to an object of the garbage collector.
    #[error("{place} holds a reference to an object of the host or of the garbage collector")]
    Reference {
        /// Where it is.
        place: String,
    },
    /// A function reference which leads out of the module.
    #[error("{place} refers to a function which is not of the module")]
    ForeignFunction {
        /// Where it is.
        place: String,
    },
    /// A null reference of a type which cannot be spelled.
    #[error("a null reference of a concrete type waits on the operand stack")]
    NullOfUnknownType,
    /// A local which cannot be declared before it has a value.
    #[error("function {function} has a local of a non-nullable reference type")]
    NonNullableLocal {
        /// The function's index.
        function: u32,
    },
    /// A table whose entries start with something else than null, and whose content has changed.
    #[error("table {table} has an initial value, and code changes tables")]
    TableInitializer {
        /// The table's index.
        table: usize,
    },
    /// A frame's place in its function was not found: a fault of ours or of the engine's.
    #[error("the place of a frame was not found: function {function}, offset {pc:#x}; this is a bug")]
    UnknownPlace {
        /// The function's index.
        function: u32,
        /// Offset in the module.
        pc: usize,
    },
    /// Something in the module has no other spelling: a fault of ours.
    #[error("a construct of the module cannot be written down again; this is a bug")]
    Reencode,
    /// The module does not parse, although it was validated.
    #[error("the module does not parse")]
    Invalid(#[source] wasmparser::BinaryReaderError),
    /// The engine does not tell what was asked.
    #[error("the engine cannot tell the program's state")]
    Debugger(#[source] wasmtime::Error),
}
