//! Runs the init function and records what came of it. The only file which knows Wizer.

mod access;
mod agreement;
mod dead;

use std::{
    cell::Cell,
    sync::Arc,
    time::{Duration, Instant},
};

use prewasm_artifact::Artifact;
use prewasm_ext_http::{Draw, Varied, link};
use wasmtime::{
    Instance, Linker, Module, Store,
    component::{Component, wit_parser::ItemName},
};
use wasmtime_wizer::{ComponentContext, ModuleContext, WasmtimeWizer, Wizer};

use crate::{
    cleared::Cleared,
    constructors,
    entropy::{self, Dependence, Drawn, Entropy, Fate, Observed, Origin, Variation},
    host_calls::Asked,
    options::{InitExport, Verification},
    preflight::{InitPlan, Plan},
    program::Program,
    progress::{Event, Progress, silent},
    provenance,
    sandbox::{
        ComponentState, Failed, Frames, Guarded, ModuleState, RunError, START_FUNCTION, Sandbox, component_linker,
        during,
    },
    state::initial_states,
};

use access::Access;

/// A program after its init function.
#[derive(Debug)]
pub(crate) struct Initialized {
    pub(crate) wasm: Vec<u8>,
    /// How long instantiation and the init function took, without compilation.
    pub(crate) time: Duration,
    pub(crate) asked: Asked,
    pub(crate) cleared: Cleared,
    pub(crate) entropy: Entropy,
    /// Constructors would have run again at each call, and do no more.
    pub(crate) constructors_silenced: bool,
}

/// Why a program could not be initialized.
#[derive(Debug, thiserror::Error)]
pub enum InitializeError {
    /// It was run, and did not come to the end of its init function.
    #[error(transparent)]
    Run(#[from] RunError),
    /// There is no init function of that name.
    #[error("it exports no function `{function}` without parameters and results")]
    NoInit {
        /// The name asked for.
        function: String,
    },
    /// The snapshot does not start with what the program held: a fault of ours.
    #[error("the snapshot differs from the program after its init function, in its {what}; this is a bug")]
    Differs {
        /// What differs.
        what: &'static str,
    },
    /// Wizer cannot handle the program, although nothing spoke against it.
    #[error("the program's state cannot be recorded")]
    Record(#[source] wasmtime::Error),
}

/// Runs the init function within the limits of the plan.
pub(crate) fn initialize(
    plan: &Plan<'_>,
    init: &InitPlan,
    progress: &Progress,
) -> Result<Initialized, InitializeError> {
    let sandbox = Sandbox::new(plan.options, progress, Frames::Hidden)?;
    let run = Run { artifact: plan.artifact, sandbox: &sandbox, wizer: wizer(plan, init) };
    let initialized = if plan.artifact.kind().is_component() {
        sandbox.block_on(run.component())
    } else {
        sandbox.block_on(run.module())
    };
    sandbox.close();
    initialized
}

fn wizer(plan: &Plan<'_>, init: &InitPlan) -> Wizer {
    let mut wizer = Wizer::new();
    wizer.init_func(&init.function).keep_init_func(plan.options.init_export == InitExport::Keep);
    for rename in &init.renames {
        wizer.func_rename(&rename.to, &rename.from);
    }
    wizer
}

struct Run<'a> {
    artifact: &'a Artifact,
    sandbox: &'a Sandbox<'a>,
    wizer: Wizer,
}

const REACTOR_INIT: &str = "_initialize";
/// What a program which ended itself hears.
const MUST_RETURN: &str = "an init function must return";

/// A module compiled for being initialized.
#[derive(Clone, Copy)]
struct Subject<'a> {
    program: &'a Program<'a>,
    context: &'a ModuleContext<'a>,
    module: &'a Module,
    linker: &'a Linker<ModuleState>,
}

/// A program which nobody can take apart.
fn invalid(error: wasmparser::BinaryReaderError) -> InitializeError {
    InitializeError::Record(wasmtime::Error::new(error))
}

/// What one run of the init function has given.
struct Outcome {
    wasm: Vec<u8>,
    time: Duration,
    asked: Asked,
    cleared: Cleared,
    draws: Vec<Draw>,
    constructors_silenced: bool,
}

impl Run<'_> {
    async fn module(&self) -> Result<Initialized, InitializeError> {
        let Sandbox { engine, options, progress, .. } = self.sandbox;
        let (context, instrumented) = self.wizer.instrument(self.artifact.bytes()).map_err(InitializeError::Record)?;
        (progress)(Event::Compiling);
        let module = Module::new(engine, &instrumented).map_err(RunError::Compile)?;
        let linker = link::linker::<ModuleState>(engine).map_err(RunError::Engine)?;
        let program = Program::parse(self.artifact.bytes()).map_err(invalid)?;
        let subject = Subject { program: &program, context: &context, module: &module, linker: &linker };
        let first = self.run_module(subject, Variation::NONE).await?;
        // Most programs neither draw nor read the time.
        let may_depend = !first.draws.is_empty() || first.asked.has_read_realtime;
        let states = if may_depend { initial_states(&first.wasm) } else { None };
        let failure = Cell::new(None);
        let rerun = async |variation| {
            (progress)(Event::Repeating);
            match self.run_module(subject, variation).await {
                Ok(other) => Dependence::between(states.as_deref(), initial_states(&other.wasm).as_deref()),
                Err(error) => {
                    failure.set(Some(error));
                    Dependence::Unknown
                }
            }
        };
        let observed = Observed {
            state: states.as_ref().and_then(|states| states.first()).filter(|_| program.exports_first_memory()),
            draws: &first.draws,
            backtraces: &first.asked.backtraces,
            resumed: 0,
            known: &provenance::reseeded(self.artifact),
            has_read_realtime: first.asked.has_read_realtime,
        };
        let entropy = entropy::analyse(observed, options.inputs.is_repeatable().then_some(rerun)).await;
        if let Some(error @ InitializeError::Run(RunError::TimedOut { .. })) = failure.into_inner() {
            // Slowness tells nothing of what depends on what.
            return Err(error);
        }
        let Outcome { wasm, time, asked, cleared, constructors_silenced, .. } = first;
        Ok(Initialized { wasm, time, asked, cleared, entropy, constructors_silenced })
    }

    async fn run_module(
        &self,
        Subject { program, context, module, linker }: Subject<'_>,
        variation: Variation,
    ) -> Result<Outcome, InitializeError> {
        let progress = self.progress(variation);
        let guard = self.sandbox.guard();
        let state = ModuleState::new(self.artifact, &self.sandbox.options.inputs, guard, &progress, variation);
        let mut store = self.sandbox.store(state)?;
        let externs = link::externs(linker, &mut store, module).map_err(RunError::Engine)?;

        let start = Instant::now();
        let init = async {
            let instance = Instance::new_async(&mut store, module, &externs).await.map_err(during(START_FUNCTION))?;
            if self.wizer.get_init_func() != REACTOR_INIT && instance.get_func(&mut store, REACTOR_INIT).is_some() {
                call(&mut store, &instance, REACTOR_INIT).await?;
            }
            call(&mut store, &instance, self.wizer.get_init_func()).await?;
            Ok(instance)
        };
        let result = self.sandbox.within_limits(init).await;
        let time = start.elapsed();
        let instance = self.judge(&mut store, result)?;
        let (asked, draws) = (store.data().asked(), store.data().draws().to_vec());
        let cleared = dead::clear(&mut store, &instance, program);
        let mut state = WasmtimeWizer { store: &mut store, instance };
        let mut wasm = self.wizer.snapshot(context, &mut state).await.map_err(InitializeError::Record)?;
        let constructors_silenced = constructors::silence(&mut wasm);
        if (variation, self.sandbox.options.verification) == (Variation::NONE, Verification::Compare) {
            let snapshot = Program::parse(&wasm).map_err(invalid)?;
            let what = agreement::difference(&mut store, &instance, program, &snapshot, constructors_silenced);
            if let Some(what) = what {
                return Err(InitializeError::Differs { what });
            }
        }
        Ok(Outcome { wasm, time, asked, cleared, draws, constructors_silenced })
    }

    /// What a program prints is told once.
    fn progress(&self, variation: Variation) -> Progress {
        if variation == Variation::NONE { Arc::clone(self.sandbox.progress) } else { silent() }
    }

    async fn component(&self) -> Result<Initialized, InitializeError> {
        let Sandbox { engine, options, progress, .. } = self.sandbox;
        let (context, instrumented) =
            self.wizer.instrument_component(self.artifact.bytes()).map_err(InitializeError::Record)?;
        (progress)(Event::Compiling);
        let component = Component::new(engine, &instrumented).map_err(RunError::Compile)?;
        let first = self.run_component(&context, &component, Variation::NONE).await?;
        let (may_draw, may_read_time) = (self.imports("wasi:random/"), self.imports("wasi:clocks/wall-clock"));
        let states = if may_draw || may_read_time { initial_states(&first.wasm) } else { None };
        let mut entropy = Entropy::default();
        let repeat = async |variation| {
            if !options.inputs.is_repeatable() {
                return Dependence::Unknown;
            }
            (progress)(Event::Repeating);
            match self.run_component(&context, &component, variation).await {
                Ok(other) => Dependence::between(states.as_deref(), initial_states(&other.wasm).as_deref()),
                Err(_) => Dependence::Unknown,
            }
        };
        // Nobody counts what a component asks for; it may have what it imports.
        if may_draw {
            let dependence = repeat(Variation::draws(Varied::From { first: 0, except: None })).await;
            let fate = if dependence.is_none() { Fate::Gone } else { Fate::Kept(dependence) };
            entropy.drawn.push(Drawn { from: Origin::Interfaces, fate });
        }
        if may_read_time {
            entropy.time = Some(repeat(Variation::time()).await);
        }
        let Outcome { wasm, time, asked, cleared, constructors_silenced, .. } = first;
        Ok(Initialized { wasm, time, asked, cleared, entropy, constructors_silenced })
    }

    fn imports(&self, interface: &str) -> bool {
        self.artifact.imports().iter().any(|import| import.module.starts_with(interface))
    }

    async fn run_component(
        &self,
        context: &ComponentContext<'_>,
        component: &Component,
        variation: Variation,
    ) -> Result<Outcome, InitializeError> {
        let name = self.wizer.get_init_func();
        let no_init = || InitializeError::NoInit { function: name.to_owned() };
        let item: ItemName = name.parse().map_err(|_| no_init())?;
        let (_, index) = component.get_export(None, item).ok_or_else(no_init)?;

        let linker = component_linker(&self.sandbox.engine, component).map_err(RunError::Engine)?;
        let progress = self.progress(variation);
        let inputs = &self.sandbox.options.inputs;
        let state = ComponentState::new(self.artifact, inputs, self.sandbox.guard(), &progress, variation)
            .map_err(RunError::from)?;
        let mut store = self.sandbox.store(state)?;

        let start = Instant::now();
        let init = async {
            let instance = linker.instantiate_async(&mut store, component).await.map_err(during(START_FUNCTION))?;
            let Some(Ok(init)) = instance.get_func(&mut store, index).map(|init| init.typed::<(), ()>(&store)) else {
                return Ok(None);
            };
            (progress)(Event::Calling { function: name });
            init.call_async(&mut store, ()).await.map_err(during(name))?;
            Ok(Some(instance))
        };
        let result = self.sandbox.within_limits(init).await;
        let time = start.elapsed();
        let instance = self.judge(&mut store, result)?.ok_or_else(no_init)?;
        let mut access = Access::new(&mut store, instance);
        let wasm = self.wizer.snapshot_component(context, &mut access).await.map_err(InitializeError::Record)?;
        let cleared = access.finish().map_err(InitializeError::Record)?;
        let (asked, draws) = (Asked::default(), Vec::new());
        Ok(Outcome { wasm, time, asked, cleared, draws, constructors_silenced: false })
    }

    /// Tells why the run failed; after one that did not, the store is ready for reading out its state.
    fn judge<T: Guarded, R>(
        &self,
        store: &mut Store<T>,
        result: Option<Result<R, Failed>>,
    ) -> Result<R, InitializeError> {
        match result {
            Some(Ok(value)) => {
                self.sandbox.lift_limits(store)?;
                Ok(value)
            }
            Some(Err(failed)) => Err(self.sandbox.judge(store, failed, MUST_RETURN).into()),
            None => Err(self.sandbox.timed_out(self.wizer.get_init_func()).into()),
        }
    }
}

/// Calls an exported function which takes and gives nothing.
async fn call(store: &mut Store<ModuleState>, instance: &Instance, name: &str) -> Result<(), Failed> {
    let function = instance.get_typed_func::<(), ()>(&mut *store, name).map_err(during(name))?;
    store.data().tell(Event::Calling { function: name });
    function.call_async(store, ()).await.map_err(during(name))
}
