//! Store data of a program which runs towards its stop point: each host call is looked at before it is made.

use std::sync::Arc;

use prewasm_artifact::{Artifact, MARKER};
use prewasm_ext_http::{
    Connector, Draw, Frozen, Host, HostState, HostView, Inbound, Upcoming, link::ServedOut, virtual_inbound,
};
use wasmtime::{Caller, Val};

use super::{
    FreezeError, Unfreezable,
    capture::{Capture, Phase, capture},
};
use crate::{
    entropy::Variation,
    host_calls::{Asked, HostCalls},
    options::Stop,
    program::Shape,
    progress::silent,
    sandbox::{Guard, Guarded, Paused, Sandbox, environment, host_options},
};

/// A program in the host call in which it was stopped.
pub(super) struct Stopped {
    pub(super) capture: Capture,
    pub(super) host: HostState,
    /// The import, as it is printed.
    pub(super) stopped_in: String,
}

/// Calls in which a guest waits until a certain time.
const POLLS: [&str; 2] = ["poll_oneoff", "epoll_oneoff"];

/// The guest is where it was to be.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the guest is stopped")]
struct StopHere;

/// When the guest is stopped.
#[derive(Clone, Debug)]
pub(super) enum Rule {
    /// At the user's stop point.
    Until(Stop),
    /// Before its first host call.
    FirstCall,
}

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
}

impl Watched {
    /// The state for a run, and who connects to it. A program which is frozen already goes on with its host state.
    pub(super) fn new(
        artifact: &Artifact,
        stop: Stop,
        shape: Shape,
        sandbox: &Sandbox<'_>,
        variation: Variation,
    ) -> Result<(Self, Connector), FreezeError> {
        let (inbound, connector) = virtual_inbound();
        let environment = Arc::new(environment(artifact, &sandbox.options.inputs, variation));
        // What a program prints is told once.
        let progress = if variation == Variation::NONE { Arc::clone(sandbox.progress) } else { silent() };
        let options = host_options(&sandbox.options.inputs, &progress, Inbound::Virtual(inbound));
        let host = match artifact.frozen() {
            Some(section) => Host::resume(environment, options, &Frozen::parse(section)?.host)?,
            None => Host::new(environment, options),
        };
        Ok((Self::with(host, artifact, Rule::Until(stop), shape, sandbox), connector))
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
        }
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
            Rule::Until(Stop::Pure) => call.has_effect(),
            Rule::Until(Stop::Marker) => call.module() == MARKER,
            Rule::Until(Stop::Import { module, name }) => call.module() == module && call.name() == name,
            Rule::Until(Stop::Accept) => false,
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
        if state.stops_before(call) {
            return Err(stop(caller));
        }
        let backtrace = caller.data().calls.backtrace(call, &*caller);
        caller.data_mut().calls.note(index, call, backtrace);
        Ok(())
    }

    fn served_out(caller: &mut Caller<'_, Self>) -> wasmtime::Error {
        match caller.data().rule {
            Rule::Until(Stop::Accept) => {
                // The call has only waited. It will be made again, and is counted then.
                if let Some((index, _)) = caller.data().pending {
                    caller.data_mut().calls.take_back(index);
                }
                stop(caller)
            }
            _ => ServedOut.into(),
        }
    }
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
    let is_polling = POLLS.contains(&called.name.as_str());
    let capture = capture(caller, shape, phase, import, &arguments).map_err(state)?;
    let realtime = caller.data().realtime;
    let host = caller.data_mut().host.freeze();
    let host = host.map_err(|objections| FreezeError::Host { stopped_in: stopped_in.clone(), objections })?;
    let host = if is_polling { host.while_polling(realtime) } else { host };
    Ok(Stopped { capture, host, stopped_in })
}

impl Guarded for Watched {
    fn guard(&mut self) -> &mut Guard {
        &mut self.guard
    }
}
