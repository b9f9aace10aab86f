//! Runs modules on a host whose answers depend on the number of a call only.

mod host;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
};

use prewasm_artifact::{Artifact, ArtifactError};
use wasmtime::{Config, Engine, Instance, Module, OptLevel, RegallocAlgorithm, Store, Trap, Val};

use self::host::{Log, host_function};
use crate::random::Random;
use crate::{
    freeze::{
        Unfreezable,
        capture::{Capture, HostCall, Phase, state},
        probes::Probed,
        site, writer,
    },
    program::{Program, Shape},
    state::State,
};

/// Enough for any program which is meant to end.
const FUEL: u64 = 2_000_000;
/// More calls than this tell nothing new.
const MAX_CALLS: usize = 2_000;
/// Half of what a thread of tests has.
const STACK: usize = 1024 * 1024;

/// What was checked of modules.
#[derive(Debug, Default)]
pub(super) struct Checked {
    /// Host calls at which a program was frozen and resumed.
    pub(super) points: usize,
    /// How often it was refused to freeze, and why.
    pub(super) refused: BTreeMap<String, usize>,
    /// Runs which were not compared, and why.
    pub(super) skipped: BTreeMap<&'static str, usize>,
    /// Host calls of all programs.
    pub(super) calls: usize,
    /// Frames at all points, and the constructs and operands in them.
    pub(super) frames: usize,
    pub(super) operands: usize,
    pub(super) constructs: BTreeMap<String, usize>,
}

/// Host calls at which to freeze.
pub(super) enum Points<'a> {
    All,
    Some { count: usize, random: &'a mut Random },
}

/// A difference between the two runs.
#[derive(Debug, thiserror::Error)]
pub(super) enum Counterexample {
    #[error("frozen at call {at}: {what} differ\nthrough: {through}\nresumed: {resumed}")]
    Differs { at: usize, what: &'static str, through: String, resumed: String },
    #[error("frozen at call {at}: the module is invalid: {error:#?}")]
    Invalid { at: usize, error: ArtifactError },
    #[error("frozen at call {at}: it was not reached, but {end}")]
    NotReached { at: usize, end: String },
    #[error("frozen at call {at}, it can be stopped at its first host call no more: {reason}")]
    RefusedAtStart { at: usize, reason: Unfreezable },
}

/// Compares runs.
pub(super) struct Harness {
    /// As programs are frozen.
    watching: Engine,
    /// As they are run afterwards.
    optimizing: Engine,
}

impl Harness {
    pub(super) fn new() -> Self {
        Self { watching: engine(true), optimizing: engine(false) }
    }

    /// Freezes `wasm` at some of its host calls and compares what follows; adds to `checked`.
    pub(super) fn check(
        &self,
        wasm: &[u8],
        entry: &str,
        points: Points<'_>,
        checked: &mut Checked,
    ) -> Result<(), Counterexample> {
        let subject = match Subject::new(&self.watching, wasm, entry) {
            Ok(subject) => subject,
            Err(_) => return checked.skipped("not compiled"),
        };
        let through = subject.run(Start { number: 0, stop_at: None });
        if let Some(reason) = through.undetermined {
            return checked.skipped(reason);
        }
        checked.calls += through.calls.len();
        let rotates = matches!(points, Points::Some { .. });
        let freezer = Freezer::new(&self.watching, &subject);
        for at in points.of(through.calls.len()) {
            let frozen = match &freezer {
                Ok(freezer) => freezer.freeze(Start { number: 0, stop_at: Some(at) }, at)?,
                Err(reason) => Err(kind(reason)),
            };
            match frozen {
                Err(reason) => *checked.refused.entry(reason).or_default() += 1,
                Ok((frozen, before)) => {
                    checked.describe(wasm, &before);
                    let comparison = if rotates { Comparison::of_place(checked.points) } else { Comparison::Full };
                    checked.points += 1;
                    let place = Place { entry, at, through: &through };
                    self.compare(&place, (&frozen, &before), comparison, checked)?;
                }
            }
        }
        Ok(())
    }

    fn compare(
        &self,
        place: &Place<'_>,
        (frozen, before): (&[u8], &Capture),
        comparison: Comparison,
        checked: &mut Checked,
    ) -> Result<(), Counterexample> {
        if matches!(comparison, Comparison::Full | Comparison::Optimized) {
            let optimized = Subject::new(&self.optimizing, frozen, place.entry).expect("as good as the original");
            compare_resumed(&optimized, place, checked)?;
        }
        if comparison == Comparison::Optimized {
            return Ok(());
        }
        let watched = Subject::new(&self.watching, frozen, place.entry).expect("as good as the original");
        compare_resumed(&watched, place, checked)?;
        compare_start(&watched, place.at, before, checked)?;
        if comparison == Comparison::Watched {
            return Ok(());
        }
        self.freeze_again(&watched, place, checked)
    }

    /// A frozen module, frozen again one call later, still goes on as the original.
    fn freeze_again(
        &self,
        frozen: &Subject<'_>,
        place: &Place<'_>,
        checked: &mut Checked,
    ) -> Result<(), Counterexample> {
        let next = Place { at: place.at + 1, ..*place };
        if next.at >= place.through.calls.len() {
            return Ok(());
        }
        let Ok(freezer) = Freezer::new(&self.watching, frozen) else { return Ok(()) };
        match freezer.freeze(Start { number: place.at, stop_at: Some(next.at) }, next.at)? {
            Ok((again, _)) => {
                let again = Subject::new(&self.watching, &again, place.entry).expect("as good as the original");
                compare_resumed(&again, &next, checked)
            }
            Err(_) => Ok(()),
        }
    }
}

/// A host call of a run, at which the program is frozen.
struct Place<'a> {
    entry: &'a str,
    /// Its number.
    at: usize,
    /// The whole run, without freezing.
    through: &'a Run,
}

/// What is done with a frozen module. Compiling takes nearly all of the time, so most see a part.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Full,
    /// On the engine which tells the state.
    Watched,
    /// On the engine of users.
    Optimized,
    /// As `Watched`, and frozen once more.
    Again,
}

impl Comparison {
    fn of_place(number: usize) -> Self {
        [Self::Again, Self::Watched, Self::Optimized, Self::Watched][number % 4]
    }
}

/// A module to be frozen at several places.
struct Freezer<'a> {
    subject: &'a Subject<'a>,
    probed: Probed,
    /// With probes, where there are any.
    module: Option<Module>,
}

impl<'a> Freezer<'a> {
    fn new(engine: &Engine, subject: &'a Subject<'a>) -> Result<Self, Unfreezable> {
        let probed = Probed::new(&subject.program)?;
        let has_probes = probed.wasm != subject.program.wasm;
        let module = has_probes.then(|| Module::new(engine, &probed.wasm).expect("probes are valid"));
        Ok(Self { subject, probed, module })
    }

    fn freeze(&self, start: Start, at: usize) -> Result<Frozen, Counterexample> {
        let Self { subject, probed, module } = self;
        // The shape is the program's: probes do not count.
        let module = module.as_ref().unwrap_or(&subject.module);
        let mut run = run(module, subject.program.shape(), subject.entry, start);
        let mut capture = match run.captured.take() {
            Some(Ok(capture)) => capture,
            Some(Err(reason)) => return Ok(Err(kind(&reason))),
            None => return Err(Counterexample::NotReached { at, end: run.end }),
        };
        let (mut store, instance) = run.instance.take().expect("a captured program was instantiated");
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let dropped = runtime.block_on(probed.ask(&mut store, instance)).expect("probes are there");
        probed.translate(&mut capture, subject.program.shape().imported_functions);
        let written = match writer::write(&subject.program, &capture, &dropped, subject.entry) {
            Ok(written) => written,
            Err(reason) => return Ok(Err(kind(&reason))),
        };
        match Artifact::from_bytes("frozen", written.wasm) {
            Ok(artifact) => Ok(Ok((artifact.into_bytes(), Box::new(capture)))),
            Err(error) => Err(Counterexample::Invalid { at, error }),
        }
    }
}

/// A refusal without the places it names.
fn kind(reason: &Unfreezable) -> String {
    reason.to_string().split(' ').filter(|word| word.parse::<u32>().is_err()).collect::<Vec<_>>().join(" ")
}

/// The frozen module and what was captured, or why not.
type Frozen = Result<(Vec<u8>, Box<Capture>), String>;

impl Points<'_> {
    fn of(self, calls: usize) -> Vec<usize> {
        match self {
            Self::Some { count, random } if count < calls => {
                let places: BTreeSet<_> = (0..count).map(|_| random.below(calls)).collect();
                places.into_iter().collect()
            }
            _ => (0..calls).collect(),
        }
    }
}

impl Checked {
    pub(super) fn skip(&mut self, reason: &'static str) {
        *self.skipped.entry(reason).or_default() += 1;
    }

    fn skipped(&mut self, reason: &'static str) -> Result<(), Counterexample> {
        self.skip(reason);
        Ok(())
    }

    fn describe(&mut self, wasm: &[u8], capture: &Capture) {
        let program = Program::parse(wasm).expect("valid");
        let sites = site::find(&program, &capture.frames).expect("it was frozen");
        self.frames += capture.frames.len();
        for frame in &capture.frames {
            let site = &sites[&(frame.function, frame.pc)];
            self.operands += site.operands.len();
            for level in &site.levels[1..] {
                *self.constructs.entry(format!("{:?}", level.construct)).or_default() += 1;
            }
        }
    }
}

fn compare_resumed(frozen: &Subject<'_>, place: &Place<'_>, checked: &mut Checked) -> Result<(), Counterexample> {
    let Place { at, through, .. } = *place;
    let resumed = frozen.run(Start { number: at, stop_at: None });
    if let Some(reason) = resumed.undetermined {
        // Frames of continuations differ in size: the stack may overflow sooner.
        return checked.skipped(reason);
    }
    same(at, "host calls", &through.calls[at..], &resumed.calls[..])?;
    same(at, "ends", &through.end, &resumed.end)?;
    match (&through.state, &resumed.state) {
        (Some(through), Some(resumed)) => same(at, "states", through, resumed),
        _ => Ok(()),
    }
}

/// At its first host call, the frozen module is what was captured.
fn compare_start(
    frozen: &Subject<'_>,
    at: usize,
    before: &Capture,
    checked: &mut Checked,
) -> Result<(), Counterexample> {
    let run = frozen.run(Start { number: at, stop_at: Some(at) });
    let after = match run.captured {
        Some(Ok(after)) => after,
        Some(Err(reason)) => return Err(Counterexample::RefusedAtStart { at, reason }),
        None if run.undetermined.is_some() => return checked.skipped("overflow at the start"),
        None => return Err(Counterexample::NotReached { at, end: run.end }),
    };
    same(at, "host calls at the start", &before.call, &after.call)?;
    same(at, "states at the start", &before.state, &after.state)?;
    let locals = |capture: &Capture| capture.frames.iter().map(|frame| frame.locals.clone()).collect::<Vec<_>>();
    same(at, "frames", &locals(before), &locals(&after))
}

fn same<T: PartialEq + Debug + ?Sized>(
    at: usize,
    what: &'static str,
    through: &T,
    resumed: &T,
) -> Result<(), Counterexample> {
    if through == resumed {
        return Ok(());
    }
    let (through, resumed) = (format!("{through:?}"), format!("{resumed:?}"));
    Err(Counterexample::Differs { at, what, through, resumed })
}

/// Where a run starts and ends.
#[derive(Clone, Copy)]
struct Start {
    /// The number of the first host call.
    number: usize,
    /// The number of the call at which to stop.
    stop_at: Option<usize>,
}

struct Run {
    calls: Vec<HostCall>,
    end: String,
    /// Where the engine tells it, and it can be compared.
    state: Option<State>,
    captured: Option<Result<Capture, Unfreezable>>,
    /// Why it need not go the same way again.
    undetermined: Option<&'static str>,
    instance: Option<(Store<Log>, Instance)>,
}

fn engine(watches: bool) -> Engine {
    let mut config = Config::new();
    config
        .guest_debug(watches)
        .consume_fuel(true)
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        // Modules are small, and tests run side by side.
        .parallel_compilation(false)
        .max_wasm_stack(STACK)
        // Nearly all of the time goes into compiling.
        .cranelift_regalloc_algorithm(RegallocAlgorithm::SinglePass);
    if watches {
        config.cranelift_opt_level(OptLevel::None);
    }
    Engine::new(&config).expect("valid settings")
}

/// A module which is run several times.
struct Subject<'a> {
    entry: &'a str,
    program: Program<'a>,
    module: Module,
}

impl<'a> Subject<'a> {
    fn new(engine: &Engine, wasm: &'a [u8], entry: &'a str) -> wasmtime::Result<Self> {
        let module = Module::new(engine, wasm)?;
        let program = Program::parse(wasm).expect("it compiles, so it is valid");
        Ok(Self { entry, program, module })
    }

    fn run(&self, start: Start) -> Run {
        run(&self.module, self.program.shape(), self.entry, start)
    }
}

fn run(module: &Module, shape: Shape, entry: &str, start: Start) -> Run {
    let mut store = Store::new(module.engine(), Log::new(shape, start));
    store.set_fuel(FUEL).expect("fuel is on");
    let imports: Vec<_> = (0..)
        .zip(module.imports())
        .map(|(index, import)| {
            let ty = import.ty().func().expect("only functions are imported").clone();
            host_function(&mut store, index, import.name(), ty).into()
        })
        .collect();
    match Instance::new(&mut store, module, &imports) {
        Ok(instance) => {
            store.data_mut().phase = Phase::Entered;
            enter(store, instance, shape, entry)
        }
        Err(error) => {
            let log = store.data_mut();
            Run {
                calls: std::mem::take(&mut log.calls),
                end: format!("instantiation failed: {error:?}"),
                state: None,
                captured: log.captured.take(),
                undetermined: Some("not instantiated"),
                instance: None,
            }
        }
    }
}

fn enter(mut store: Store<Log>, instance: Instance, shape: Shape, entry: &str) -> Run {
    let function = instance.get_func(&mut store, entry).expect("the entry is exported");
    let mut results = vec![Val::I32(0); function.ty(&store).results().len()];
    let outcome = function.call(&mut store, &[], &mut results);
    store.set_fuel(u64::MAX).expect("fuel is on");
    let trap = outcome.as_ref().err().and_then(|error| error.downcast_ref::<Trap>());
    let undetermined = match trap {
        Some(Trap::OutOfFuel) => Some("out of fuel"),
        Some(Trap::StackOverflow) => Some("stack overflow"),
        _ if store.data().is_endless => Some("too many host calls"),
        _ => None,
    };
    let end = match (&outcome, trap) {
        (Ok(()), _) => format!("{:?}", results.iter().map(host::value).collect::<Vec<_>>()),
        (Err(_), Some(trap)) => format!("{trap:?}"),
        (Err(_), None) => "an exception or the host".to_owned(),
    };
    let state = module_state(&mut store, instance, shape);
    let log = store.data_mut();
    let (calls, captured) = (std::mem::take(&mut log.calls), log.captured.take());
    Run { calls, end, state, captured, undetermined, instance: Some((store, instance)) }
}

/// What the engine tells: nothing, if it optimizes.
fn module_state(store: &mut Store<Log>, instance: Instance, shape: Shape) -> Option<State> {
    if store.engine().get_guest_debug() { state(store, instance, shape).ok() } else { None }
}
