//! Store data of a program which runs towards its stop point: each host call is looked at before it is made.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use prewasm_artifact::{Artifact, MARKER};
use prewasm_ext_http::{
    Connector, Draw, Frozen, Host, HostState, HostView, Inbound, Upcoming, link::ServedOut, virtual_inbound,
};
use wasmtime::{Caller, Val};

use super::{
    FreezeError, Unfreezable,
    capture::{self, Capture, Phase, capture},
};
use crate::{
    cleared::Cleared,
    entropy::Variation,
    host_calls::{Asked, HostCalls},
    options::Stop,
    program::Shape,
    progress::{Progress, silent},
    sandbox::{Guard, Guarded, Paused, Sandbox, environment, host_options},
    stack::Stack,
    state::State,
};

/// A program in the host call in which it was stopped.
pub(super) struct Stopped {
    pub(super) capture: Capture,
    pub(super) cleared: Cleared,
    pub(super) host: HostState,
    /// How far the stream of random bytes has been used.
    pub(super) random_position: u64,
    /// The import, as it is printed.
    pub(super) stopped_in: String,
}

/// Calls in which a guest waits until a certain time.
const POLLS: [&str; 2] = ["poll_oneoff", "epoll_oneoff"];

/// Calls for what a guest has made room for before: another host's may be larger.
const HALF_READ: [&str; 2] = ["args_get", "environ_get"];

/// The guest is where it was to be.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the guest is stopped")]
pub(super) struct StopHere;

/// When the guest is stopped.
#[derive(Clone, Debug)]
pub(super) enum Rule {
    /// At the user's stop point.
    Until(Stop),
    /// Before its first host call.
    FirstCall,
    /// When it has gone on from the stop point for a while; calls are noted from there on.
    Beyond(Stop),
    /// When it has gone on for a while; all calls are noted.
    Later,
}

/// A host call that was noted: the import, and the arguments.
pub(super) type Noted = (u32, Vec<i64>);

/// What a program has done from its stop point on.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) calls: Vec<Noted>,
    /// What it holds in the host call in which it was ended.
    pub(super) state: Option<State>,
}

/// A program is watched for so many calls beyond its stop point.
const MAX_NOTED: usize = 1_000;

pub(super) struct Watched {
    host: Host,
    guard: Guard,
    rule: Rule,
    shape: Shape,
    calls: HostCalls,
    /// The host call which is under way.
    pending: Option<(u32, Vec<Val>)>,
    stopped: Option<Result<Stopped, FreezeError>>,
    /// What the realtime clock tells, in nanoseconds since the Unix epoch.
    realtime: u64,
    phase: Phase,
    record: Record,
    /// Whether it has passed its stop point.
    has_begun: Arc<AtomicBool>,
    /// Lets connections come again, when it is to go beyond a stop point at which none come.
    connector: Option<Connector>,
    /// Where the stack is, if that is known: what is dead of it is cleared at the stop point.
    stack: Option<Stack>,
}

impl Watched {
    /// The state for a run, and who connects to it. A program which is frozen already goes on with its host state.
    pub(super) fn new(
        artifact: &Artifact,
        stop: Stop,
        shape: Shape,
        sandbox: &Sandbox<'_>,
        variation: Variation,
        stack: Option<Stack>,
        progress: &Progress,
    ) -> Result<(Self, Connector), FreezeError> {
        let (inbound, connector) = virtual_inbound();
        let environment = Arc::new(environment(artifact, &sandbox.options.inputs, variation));
        let options = host_options(&sandbox.options.inputs, progress, Inbound::Virtual(inbound));
        let host = match artifact.frozen() {
            Some(section) => Host::resume(environment, options, &Frozen::parse(section)?.host)?,
            None => Host::new(environment, options),
        };
        let mut state = Self::with(host, artifact, Rule::Until(stop), shape, sandbox);
        state.stack = stack;
        Ok((state, connector))
    }

    /// The state for a run which ends before its first host call.
    pub(super) fn until_first_call(artifact: &Artifact, shape: Shape, sandbox: &Sandbox<'_>) -> Self {
        let inputs = &sandbox.options.inputs;
        let options = host_options(inputs, sandbox.progress, Inbound::Denied);
        let host = Host::new(Arc::new(environment(artifact, inputs, Variation::NONE)), options);
        Self::with(host, artifact, Rule::FirstCall, shape, sandbox)
    }

    fn with(host: Host, artifact: &Artifact, rule: Rule, shape: Shape, sandbox: &Sandbox<'_>) -> Self {
        let realtime = sandbox.options.inputs.realtime.saturating_mul(1_000_000_000);
        Self {
            host,
            guard: sandbox.guard(),
            rule,
            shape,
            calls: HostCalls::new(artifact),
            pending: None,
            stopped: None,
            realtime,
            phase: Phase::Starting,
            record: Record::default(),
            has_begun: Arc::default(),
            connector: None,
            stack: None,
        }
    }

    /// The state for a run of the unaltered program beyond its stop point.
    pub(super) fn beyond(
        artifact: &Artifact,
        stop: Stop,
        shape: Shape,
        sandbox: &Sandbox<'_>,
        stack: Option<Stack>,
    ) -> Result<(Self, Connector), FreezeError> {
        let (mut state, connector) =
            Self::new(artifact, stop.clone(), shape, sandbox, Variation::NONE, stack, &silent())?;
        state.rule = Rule::Beyond(stop);
        state.connector = Some(connector.clone());
        Ok((state, connector))
    }

    /// The state for a run of the frozen program, on a host like the one which was left.
    pub(super) fn resumed(
        artifact: &Artifact,
        host: &HostState,
        random_start: u64,
        shape: Shape,
        sandbox: &Sandbox<'_>,
    ) -> Result<(Self, Connector), FreezeError> {
        let (inbound, connector) = virtual_inbound();
        let inputs = &sandbox.options.inputs;
        let environment = environment(artifact, inputs, Variation { random_start, ..Variation::NONE });
        let options = host_options(inputs, &silent(), Inbound::Virtual(inbound));
        let host = Host::resume(Arc::new(environment), options, host)?;
        let state = Self::with(host, artifact, Rule::Later, shape, sandbox);
        state.has_begun.store(true, Ordering::Relaxed);
        Ok((state, connector))
    }

    /// What it has done from its stop point on.
    pub(super) fn take_record(&mut self) -> Record {
        std::mem::take(&mut self.record)
    }

    /// Whether it has passed its stop point, now and later.
    pub(super) fn has_begun(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.has_begun)
    }

    fn is_beyond(&self) -> bool {
        self.has_begun.load(Ordering::Relaxed)
    }

    /// Gives it so much time, from now on.
    pub(super) fn limit(&mut self, sandbox: &Sandbox<'_>, time: Duration) {
        self.guard = sandbox.guard_for(time);
    }

    pub(super) fn paused(&self) -> Paused {
        self.guard.paused()
    }

    /// Its entry is about to be called.
    pub(super) fn enter(&mut self) {
        self.phase = Phase::Entered;
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.is_some()
    }

    pub(super) fn take_stopped(&mut self) -> Option<Result<Stopped, FreezeError>> {
        self.stopped.take()
    }

    /// What the guest has asked for.
    pub(super) fn asked(&self) -> Asked {
        self.calls.asked()
    }

    /// The random bytes which it got.
    pub(super) fn draws(&self) -> &[Draw] {
        self.host.draws()
    }

    fn stops_before(&self, call: &Upcoming<'_>) -> bool {
        match &self.rule {
            Rule::FirstCall => true,
            Rule::Later => false,
            Rule::Until(stop) | Rule::Beyond(stop) => match stop {
                Stop::Pure => call.has_effect(),
                Stop::Marker => call.module() == MARKER,
                Stop::Import { module, name } => call.module() == module && call.name() == name,
                Stop::Accept => false,
            },
        }
    }
}

impl HostView for Watched {
    const WATCHES: bool = true;

    fn host(&mut self) -> &mut Host {
        &mut self.host
    }

    fn before(caller: &mut Caller<'_, Self>, call: &Upcoming<'_>) -> wasmtime::Result<()> {
        let state = caller.data_mut();
        let index = state.calls.index(call)?;
        state.pending = Some((index, call.arguments().to_vec()));
        match state.rule {
            Rule::FirstCall | Rule::Until(_) if state.stops_before(call) => return Err(stop(caller)),
            Rule::Beyond(_) if !state.is_beyond() && state.stops_before(call) => begin(caller)?,
            _ => {}
        }
        if caller.data().is_beyond() {
            note(caller, index, call.arguments())?;
        }
        let backtrace = caller.data().calls.backtrace(call, &*caller);
        caller.data_mut().calls.note(index, call, backtrace);
        Ok(())
    }

    fn served_out(caller: &mut Caller<'_, Self>) -> wasmtime::Result<()> {
        match caller.data().rule {
            Rule::Beyond(Stop::Accept) if !caller.data().is_beyond() => {
                begin(caller)?;
                if let Some((index, arguments)) = caller.data().pending.clone() {
                    note(caller, index, &arguments)?;
                }
                if let Some(connector) = &caller.data().connector {
                    connector.reopen();
                }
                Ok(())
            }
            Rule::Beyond(_) | Rule::Later => {
                keep_state(caller);
                Err(ServedOut.into())
            }
            Rule::Until(Stop::Accept) => {
                // The call has only waited. It will be made again, and is counted then.
                if let Some((index, _)) = caller.data().pending {
                    caller.data_mut().calls.take_back(index);
                }
                Err(stop(caller))
            }
            Rule::Until(_) | Rule::FirstCall => Err(ServedOut.into()),
        }
    }
}

/// The guest passes its stop point: what is dead in its memory is cleared, as it is in the snapshot. What it gets from
/// its allocator later, and copies before it has filled it, is the same in both then.
fn begin(caller: &mut Caller<'_, Watched>) -> wasmtime::Result<()> {
    let stack = caller.data().stack;
    capture::clear(caller, stack)?;
    caller.data().has_begun.store(true, Ordering::Relaxed);
    Ok(())
}

/// Notes a call, and ends a guest which has made enough of them.
fn note(caller: &mut Caller<'_, Watched>, index: u32, arguments: &[Val]) -> wasmtime::Result<()> {
    let numbers = arguments.iter().map(|argument| match argument {
        Val::I32(number) => i64::from(*number),
        Val::I64(number) => *number,
        // No host function takes anything else.
        _ => 0,
    });
    let call = (index, numbers.collect());
    caller.data_mut().record.calls.push(call);
    if caller.data().record.calls.len() < MAX_NOTED {
        return Ok(());
    }
    keep_state(caller);
    Err(StopHere.into())
}

/// Keeps what the guest holds in the call which ends it.
fn keep_state(caller: &mut Caller<'_, Watched>) {
    let shape = caller.data().shape;
    caller.data_mut().record.state = capture::state_of(caller, shape).ok();
}

/// Reads the guest's state, and ends it.
fn stop(caller: &mut Caller<'_, Watched>) -> wasmtime::Error {
    let stopped = read(caller);
    caller.data_mut().stopped = Some(stopped);
    StopHere.into()
}

fn read(caller: &mut Caller<'_, Watched>) -> Result<Stopped, FreezeError> {
    let pending = caller.data_mut().pending.take();
    let (shape, phase) = (caller.data().shape, caller.data().phase);
    let (import, arguments) = pending.ok_or(FreezeError::Differs { what: "host call" })?;
    let called = caller.data().calls.import(import);
    let stopped_in = format!("{}.{}", called.module, called.name);
    let state = |source: Unfreezable| FreezeError::State { stopped_in: stopped_in.clone(), source };
    if HALF_READ.contains(&called.name.as_str()) {
        return Err(state(Unfreezable::HalfRead));
    }
    let is_polling = POLLS.contains(&called.name.as_str());
    // The frozen program must hold in its first call exactly what was captured: nothing is cleared in that.
    let cleared = match (&caller.data().rule, phase) {
        (Rule::Until(_), Phase::Entered) => {
            let stack = caller.data().stack;
            capture::clear(caller, stack).map_err(|error| state(Unfreezable::Debugger(error)))?
        }
        _ => Cleared::default(),
    };
    let capture = capture(caller, shape, phase, import, &arguments).map_err(state)?;
    let realtime = caller.data().realtime;
    let host = caller.data_mut().host.freeze();
    let host = host.map_err(|objections| FreezeError::Host { stopped_in: stopped_in.clone(), objections })?;
    let host = if is_polling { host.while_polling(realtime) } else { host };
    let random_position = caller.data_mut().host.random_position();
    Ok(Stopped { capture, cleared, host, random_position, stopped_in })
}

impl Guarded for Watched {
    fn guard(&mut self) -> &mut Guard {
        &mut self.guard
    }
}
