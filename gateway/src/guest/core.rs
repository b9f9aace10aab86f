//! Core modules, ready to instantiate.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use prewasm_ext_http::{Environment, Host, HostOptions, HostState, link};
use wasmtime::{InstancePre, Module, Store, TypedFunc};

use crate::{
    app::Grants,
    cgi::Arguments,
    failure::Failure,
    memory::{self, Memories},
    record::Record,
    store::{
        self, MemoryLimiter,
        core::CoreState,
        end::{End, judge},
    },
    ticker::Pulse,
};

/// A core module, linked and ready to instantiate.
#[derive(Clone)]
pub(crate) struct CoreGuest {
    template: InstancePre<CoreState>,
    memories: Option<Arc<Memories>>,
    app: Arc<Grants>,
    environment: Arc<Environment>,
    /// Where instances go on, if the program was frozen.
    frozen: Option<Arc<HostState>>,
    pulse: Pulse,
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
        memories: Option<Arc<Memories>>,
        app: Arc<Grants>,
        frozen: Option<HostState>,
        pulse: Pulse,
    ) -> wasmtime::Result<Self> {
        let template = link::linker::<CoreState>(module.engine())?.instantiate_pre(module)?;
        let environment = Arc::clone(&app.environment);
        Ok(Self { template, memories, app, environment, frozen: frozen.map(Arc::new), pulse })
    }

    pub(crate) fn app(&self) -> &Grants {
        &self.app
    }

    /// The same guest with the program arguments of one request.
    pub(crate) fn with_arguments(&self, arguments: Arguments) -> Self {
        let mut guest = self.clone();
        let mut environment = Environment::clone(&self.environment);
        match arguments {
            Arguments::Further(words) if words.is_empty() => return guest,
            Arguments::Further(words) => environment.args.extend(words),
            Arguments::All(words) => environment.args = words,
        }
        guest.environment = Arc::new(environment);
        guest
    }

    /// Instantiates and runs `_start` to its end.
    pub(crate) async fn run(self, options: HostOptions, record: Option<Arc<Record>>) -> Result<End, Failure> {
        let begin = Instant::now();
        let mut store = self.store(options).map_err(Failure::Instantiate)?;
        let mut started = begin;
        let guest = async {
            let start = self.instantiate(&mut store).await?;
            started = Instant::now();
            start.call_async(&mut store, ()).await
        };
        let result = self.pulse.drive(guest).await;
        let ended = Instant::now();
        let end = judge(result, &store.data().limiter).map_err(Failure::from);
        let left = store.get_fuel().ok();
        if let (Some(record), Err(failure)) = (&record, &end) {
            // Before its connections close: on another thread, that is seen before the end is.
            record.fail(failure);
        }
        // The instance goes first, and then what it has open.
        drop(store.into_data());
        if let Some(record) = record {
            record.instance([begin, started, ended], self.app.limits.used_fuel(left));
        }
        end
    }

    /// The same, with the times of its parts. The runtime must be the caller's own: nothing else runs meanwhile.
    pub(crate) async fn rehearse(&self, options: HostOptions) -> Result<Rehearsal, Failure> {
        let begin = Instant::now();
        let mut store = self.store(options).map_err(Failure::Instantiate)?;
        let start = self.instantiate(&mut store).await.map_err(Failure::Instantiate)?;
        let instantiated = Instant::now();
        let result = self.pulse.drive(start.call_async(&mut store, ())).await;
        let ended = Instant::now();
        judge(result, &store.data().limiter)?;
        drop(store);
        Ok(Rehearsal { instantiate: instantiated - begin, run: ended - instantiated, reset: ended.elapsed() })
    }

    async fn instantiate(&self, store: &mut Store<CoreState>) -> wasmtime::Result<TypedFunc<(), ()>> {
        let instance = memory::within(self.memories.as_ref(), self.template.instantiate_async(&mut *store)).await?;
        link::start_function(store, &instance)
    }

    fn store(&self, options: HostOptions) -> wasmtime::Result<Store<CoreState>> {
        let limits = &self.app.limits;
        let environment = Arc::clone(&self.environment);
        let host = match &self.frozen {
            None => Host::new(environment, options),
            Some(state) => Host::resume(environment, options, state)?,
        };
        let state = CoreState { host, limiter: MemoryLimiter::new(limits.memory) };
        let mut store = store::store(self.template.module().engine(), state, limits.fuel)?;
        link::end_without_backtrace(&mut store);
        Ok(store)
    }
}
