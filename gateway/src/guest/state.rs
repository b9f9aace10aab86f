//! Store data of core modules, and how the end of one is classed.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use prewasm_ext_http::{
    Environment, Host, HostOptions, HostState, HostView,
    link::{self, ServedOut},
};
use wasmtime::{InstancePre, Module, Store, Trap, TypedFunc};
use wasmtime_wasi::I32Exit;

use super::limiter::MemoryLimiter;
use crate::{app::App, engine::Pulse, respond::Failure};

/// Store data of one instance of a core module.
pub(crate) struct State {
    host: Host,
    limiter: MemoryLimiter,
}

impl HostView for State {
    fn host(&mut self) -> &mut Host {
        &mut self.host
    }
}

/// A core module, linked and ready to instantiate.
#[derive(Clone)]
pub(crate) struct CoreGuest {
    template: InstancePre<State>,
    app: Arc<App>,
    environment: Arc<Environment>,
    /// Where instances go on, if the program was frozen.
    frozen: Option<Arc<HostState>>,
    pulse: Pulse,
}

/// How a guest ended without failing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// `_start` returned.
    Returned,
    /// It called `proc_exit`.
    Exited(i32),
    /// It waits for a connection, and all have been served.
    ServedOut,
}

/// How long an instance took which had no request to serve.
#[derive(Clone, Copy, Debug)]
pub struct Rehearsal {
    /// To make it: from nothing to before its first instruction.
    pub instantiate: Duration,
    /// To run it until it waits for a connection, or ends.
    pub run: Duration,
    /// To reset it: its slot is ready for the next.
    pub reset: Duration,
}

impl CoreGuest {
    pub(crate) fn new(
        module: &Module,
        app: Arc<App>,
        frozen: Option<HostState>,
        pulse: Pulse,
    ) -> wasmtime::Result<Self> {
        let template = link::linker::<State>(module.engine())?.instantiate_pre(module)?;
        let environment = Arc::clone(&app.environment);
        Ok(Self { template, app, environment, frozen: frozen.map(Arc::new), pulse })
    }

    pub(crate) fn app(&self) -> &App {
        &self.app
    }

    /// The same guest with further program arguments, for one request.
    pub(crate) fn with_arguments(&self, words: Vec<String>) -> Self {
        let mut guest = self.clone();
        if !words.is_empty() {
            let mut environment = Environment::clone(&self.environment);
            environment.args.extend(words);
            guest.environment = Arc::new(environment);
        }
        guest
    }

    /// Instantiates and runs `_start` to its end.
    pub(crate) async fn run(self, options: HostOptions) -> Result<End, Failure> {
        let mut store = self.store(options).map_err(Failure::Instantiate)?;
        let guest = async {
            let start = self.instantiate(&mut store).await?;
            start.call_async(&mut store, ()).await
        };
        let result = self.pulse.drive(guest).await;
        result.map(|()| End::Returned).or_else(|error| classify(error, &store.data().limiter))
    }

    /// The same, with the times of its parts. The runtime must be the caller's own: nothing else runs meanwhile.
    pub(crate) async fn rehearse(&self, options: HostOptions) -> Result<Rehearsal, Failure> {
        let begin = Instant::now();
        let mut store = self.store(options).map_err(Failure::Instantiate)?;
        let start = self.instantiate(&mut store).await.map_err(Failure::Instantiate)?;
        let instantiated = Instant::now();
        let result = self.pulse.drive(start.call_async(&mut store, ())).await;
        let ended = Instant::now();
        result.map(|()| End::Returned).or_else(|error| classify(error, &store.data().limiter))?;
        drop(store);
        Ok(Rehearsal { instantiate: instantiated - begin, run: ended - instantiated, reset: ended.elapsed() })
    }

    async fn instantiate(&self, store: &mut Store<State>) -> wasmtime::Result<TypedFunc<(), ()>> {
        let instance = self.template.instantiate_async(&mut *store).await?;
        link::start_function(store, &instance)
    }

    fn store(&self, options: HostOptions) -> wasmtime::Result<Store<State>> {
        let limits = &self.app.limits;
        let environment = Arc::clone(&self.environment);
        let host = match &self.frozen {
            None => Host::new(environment, options),
            Some(state) => Host::resume(environment, options, state)?,
        };
        let state = State { host, limiter: MemoryLimiter::new(limits.memory) };
        let mut store = Store::new(self.template.module().engine(), state);
        store.limiter(|state| &mut state.limiter);
        store.epoch_deadline_async_yield_and_update(1);
        link::end_without_backtrace(&mut store);
        if let Some(fuel) = limits.fuel {
            store.set_fuel(fuel)?;
        }
        Ok(store)
    }
}

/// Tells ends from failures.
pub(crate) fn classify(error: wasmtime::Error, limiter: &MemoryLimiter) -> Result<End, Failure> {
    if let Some(exit) = error.downcast_ref::<I32Exit>() {
        return Ok(End::Exited(exit.0));
    }
    if error.is::<ServedOut>() {
        return Ok(End::ServedOut);
    }
    if let Some((asked, limit)) = limiter.refused() {
        return Err(Failure::OutOfMemory { asked, limit });
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => Err(Failure::OutOfFuel),
        _ => Err(Failure::Trap(error)),
    }
}
