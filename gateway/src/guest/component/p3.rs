//! wasi:http 0.3 components: an instance serves one request, or several if the app allows it.
//!
//! An instance is a task that takes requests from a channel while it lives. One for a single request is run by the task
//! of that request, like every other guest; one that is reused is a task of its own on its worker.

use std::{
    future::{pending, poll_fn},
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    task::Poll,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::{
    FutureExt as _,
    stream::{FuturesUnordered, StreamExt as _},
};
use http::{Request, Response, Uri};
use http_body_util::combinators::UnsyncBoxBody;
use tokio::{
    sync::{mpsc, oneshot},
    task::{AbortHandle, spawn_local},
    time::sleep,
};
use tokio_util::sync::CancellationToken;
use wasmtime::{
    Store,
    component::{Accessor, Component, Linker},
};
use wasmtime_wasi_http::{
    Error as WasiHttpError, WasiHttpView as _,
    p3::{
        self,
        bindings::{Service, ServicePre, http::types::ErrorCode},
    },
};

use super::{
    answer::{ComponentBody, Link, Linked},
    log::to_log,
    variables,
};
use crate::{
    app::{Grants, Reuse},
    background::Movable,
    body::{RequestBody, ResponseBody},
    chain::Chain,
    door::Door,
    failure::Failure,
    fields::remove_hop_by_hop,
    guest::{AfterAnswer, Call, leash::Leash, task::GuestTask},
    guest_log::Origin,
    memory::{self, Memories},
    peer::Peer,
    record::Record,
    store::{
        self, MemoryLimiter,
        component::ComponentState,
        end::{End, Fault, judge},
    },
    ticker::Pulse,
};

type Answer = Response<UnsyncBoxBody<Bytes, WasiHttpError>>;

/// A component, linked and ready to instantiate.
#[derive(Clone)]
pub(crate) struct ComponentGuest {
    template: ServicePre<ComponentState>,
    memories: Option<Arc<Memories>>,
    app: Arc<Grants>,
    reuse: Reuse,
    pulse: Pulse,
    /// The instances that may take further requests, of each worker.
    warm: Arc<[Mutex<Vec<Instance>>]>,
}

/// A request for an instance.
struct Job {
    request: Request<RequestBody>,
    answer: oneshot::Sender<Result<Answer, ErrorCode>>,
    link: Linked,
}

/// An instance that lives on its worker.
#[derive(Clone)]
struct Instance {
    jobs: mpsc::UnboundedSender<Job>,
    state: Arc<InstanceState>,
}

/// How an instance that is reused has failed: reported to each request that it had.
#[derive(Clone)]
enum Died {
    NotInstantiated(String),
    OutOfFuel,
    OutOfMemory { asked: u64, limit: u64 },
    Trapped(String),
}

/// What requests know of their instance.
#[derive(Default)]
struct InstanceState {
    /// Requests that it was given; the largest number if it is to get no more.
    taken: AtomicU32,
    /// Requests that it works on.
    running: AtomicU32,
    /// Why it has ended, if it failed.
    failure: Mutex<Option<Died>>,
    ended: CancellationToken,
    task: Mutex<Option<AbortHandle>>,
}

impl ComponentGuest {
    pub(crate) fn new(
        component: &Component,
        memories: Option<Arc<Memories>>,
        app: Arc<Grants>,
        (reuse, workers): (Reuse, usize),
        pulse: Pulse,
    ) -> wasmtime::Result<Self> {
        let mut linker = Linker::new(component.engine());
        // Components for 0.3 are built with adapters and libraries that still import 0.2.
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        wasmtime_wasi::p3::add_to_linker(&mut linker)?;
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
        p3::add_to_linker(&mut linker)?;
        variables::add_to_linker(&mut linker, &app.variables)?;
        let template = ServicePre::new(linker.instantiate_pre(component)?)?;
        Ok(Self { template, memories, app, reuse, pulse, warm: (0..workers).map(|_| Mutex::default()).collect() })
    }

    /// Serves one request, on an instance of its own or on one that has served others.
    pub(crate) async fn serve(
        self,
        request: Request<RequestBody>,
        call: Call,
        worker: usize,
    ) -> Result<Response<ResponseBody>, Failure> {
        let timeout = self.app.limits.timeout;
        let (answer, answered) = oneshot::channel();
        // The sender may be gone a moment before the guest's end is seen, if that is on another thread.
        let mut answered = answered.fuse();
        let (link, linked) = Link::new();
        let job = Job { request: with_target(request, &call.peer), answer, link: linked };
        let Call { permit, outbound, chain, record, .. } = call;
        let (mut task, instance) = if self.reuse.requests <= 1 {
            let run = self.run_once(job, Door::new(outbound, chain), Arc::clone(&record));
            (GuestTask::new(run, timeout, permit, Arc::clone(&record)), None)
        } else {
            let door = || Door::new(Arc::clone(&outbound), chain.clone().map(Chain::for_last_hop));
            let (instance, held) = self.hand_over(job, worker, door, &record)?;
            // The instance runs elsewhere; what is watched here is the time.
            let watch = async move {
                let _held = held;
                pending().await
            };
            (GuestTask::new(watch, timeout, permit, Arc::clone(&record)), Some(instance.state))
        };
        // That is how a reused instance fails.
        let mut instance_ended = std::pin::pin!(async {
            match &instance {
                Some(state) => state.ended.cancelled().await,
                None => pending().await,
            }
        });
        let response = poll_fn(|cx| {
            let ended = task.poll(cx).is_ready();
            match Pin::new(&mut answered).poll(cx) {
                Poll::Ready(Ok(Ok(response))) => Poll::Ready(Ok(response)),
                Poll::Ready(Ok(Err(code))) => {
                    Poll::Ready(Err(Failure::BadResponse { what: format!("it reports {code}") }))
                }
                Poll::Ready(Err(_)) | Poll::Pending if ended => Poll::Ready(Err(task
                    .take_failure()
                    .unwrap_or_else(|| Failure::NoResponse { how: "ended".to_owned() }))),
                Poll::Ready(Err(_)) | Poll::Pending if instance_ended.as_mut().poll(cx).is_ready() => {
                    Poll::Ready(Err(instance.as_ref().map_or(Failure::BrokeOff, |state| state.failure())))
                }
                Poll::Ready(Err(_)) | Poll::Pending => Poll::Pending,
            }
        })
        .await?;
        let (mut head, body) = response.into_parts();
        remove_hop_by_hop(&mut head.headers);
        let after = if instance.is_some() { AfterAnswer::Leave } else { AfterAnswer::Finish };
        let body = ComponentBody::new(Leash::new(task, record), body, after, Some(link));
        Ok(Response::from_parts(head, Box::pin(body)))
    }

    /// Instantiates, serves one request, and lets the guest finish what it has begun.
    async fn run_once(self, job: Job, door: Door, record: Arc<Record>) -> Result<End, Failure> {
        let (jobs, receiver) = mpsc::unbounded_channel();
        // The receiver is there.
        let _ = jobs.send(job);
        drop(jobs);
        let begin = Instant::now();
        let origin = Origin::Request(Arc::clone(&record));
        let mut store = self.store(door, &origin).map_err(Failure::Instantiate)?;
        let mut started = begin;
        let guest = async {
            let service = memory::within(self.memories.as_ref(), self.template.instantiate_async(&mut store)).await?;
            started = Instant::now();
            let reuse = Reuse { requests: 1, concurrent: 1, ..self.reuse };
            store.run_concurrent(async |accessor| take_requests(accessor, &service, receiver, reuse).await).await?
        };
        let result = self.pulse.drive(guest).await;
        let ended = Instant::now();
        let end = judge(result, &store.data().limiter).map_err(Failure::from);
        let left = store.get_fuel().ok();
        if let Err(failure) = &end {
            // Before its answer ends with it: on another thread, that is seen before the end of the guest is.
            record.fail(failure);
        }
        drop(store);
        record.instance([begin, started, ended], self.app.limits.used_fuel(left));
        end
    }

    /// Gives a request to an instance of this worker.
    fn hand_over(
        &self,
        mut job: Job,
        worker: usize,
        door: impl Fn() -> Door,
        record: &Arc<Record>,
    ) -> Result<(Instance, Held), Failure> {
        // One that has just decided to end takes no more; a new one does.
        for _ in 0..=self.reuse.concurrent {
            let instance = self.instance(worker, door());
            let held = Held::new(&instance, Arc::clone(record));
            match instance.jobs.send(job) {
                Ok(()) => return Ok((instance, held)),
                Err(mpsc::error::SendError(returned)) => job = returned,
            }
        }
        Err(Failure::NoResponse { how: "ended".to_owned() })
    }

    /// An instance of this worker that may take a request: one that is there, or a new one.
    fn instance(&self, worker: usize, door: Door) -> Instance {
        let mut warm = lock(&self.warm[worker]);
        warm.retain(|instance| !instance.jobs.is_closed() && instance.state.taken() < self.reuse.requests);
        let free = warm.iter().find(|instance| instance.state.running.load(Ordering::Relaxed) < self.reuse.concurrent);
        if let Some(instance) = free {
            return instance.clone();
        }
        let (jobs, receiver) = mpsc::unbounded_channel();
        let state = Arc::<InstanceState>::default();
        let run = self.clone().run_for_many(receiver, door);
        let noted = Arc::clone(&state);
        let task = spawn_local(async move {
            if let Err(failure) = Movable::new(run).await {
                *lock(&noted.failure) = Some(failure);
            }
            noted.ended.cancel();
        });
        *lock(&state.task) = Some(task.abort_handle());
        spawn_local(watch(Arc::clone(&state), self.reuse.idle + self.app.limits.timeout));
        let instance = Instance { jobs, state };
        warm.push(instance.clone());
        instance
    }

    /// Instantiates, and serves requests until there have been enough, or none for a while.
    async fn run_for_many(self, jobs: mpsc::UnboundedReceiver<Job>, door: Door) -> Result<(), Died> {
        let origin = Origin::App(Arc::clone(&self.app.name));
        let store = self.store(door, &origin);
        let mut store = store.map_err(|error| Died::NotInstantiated(format!("{error:#}")))?;
        let guest = async {
            let service = memory::within(self.memories.as_ref(), self.template.instantiate_async(&mut store)).await?;
            store.run_concurrent(async |accessor| take_requests(accessor, &service, jobs, self.reuse).await).await?
        };
        let result = self.pulse.drive(guest).await;
        match judge(result, &store.data().limiter) {
            Ok(_) => Ok(()),
            Err(Fault::OutOfFuel(_)) => Err(Died::OutOfFuel),
            Err(Fault::OutOfMemory { asked, limit, .. }) => Err(Died::OutOfMemory { asked, limit }),
            Err(Fault::Trap(error)) => Err(Died::Trapped(format!("{error:#}"))),
        }
    }

    fn store(&self, door: Door, origin: &Origin) -> wasmtime::Result<Store<ComponentState>> {
        let limits = &self.app.limits;
        let limiter = MemoryLimiter::new(limits.memory);
        let state = ComponentState::new(&self.app.environment, door, limiter, |wasi| to_log(wasi, limits.log, origin))?;
        // Fuel is for one request; an instance for several has that of all.
        let fuel = limits.fuel.map(|fuel| fuel.saturating_mul(u64::from(self.reuse.requests.max(1))));
        store::store(self.template.engine(), state, fuel)
    }
}

/// Takes requests until there have been enough, all senders are gone, or none has come for a while.
async fn take_requests(
    accessor: &Accessor<ComponentState>,
    service: &Service,
    mut jobs: mpsc::UnboundedReceiver<Job>,
    reuse: Reuse,
) -> wasmtime::Result<()> {
    let mut running = FuturesUnordered::new();
    let mut left = reuse.requests;
    loop {
        let has_room = running.len() < reuse.concurrent as usize;
        tokio::select! {
            biased;
            Some(result) = running.next(), if !running.is_empty() => result?,
            job = jobs.recv(), if left > 0 && has_room => match job {
                Some(job) => {
                    left -= 1;
                    running.push(serve(accessor, service, job));
                }
                None => left = 0,
            },
            () = sleep(reuse.idle), if running.is_empty() && left > 0 => {
                // What has been sent by now is served; what comes later goes to another instance.
                jobs.close();
                match jobs.try_recv() {
                    Ok(job) => running.push(serve(accessor, service, job)),
                    Err(_) => left = 0,
                }
            }
            else => break,
        }
    }
    // What the guest has begun besides; its deadline holds for that as well.
    poll_fn(|cx| accessor.poll_no_interesting_tasks(cx)).await;
    Ok(())
}

/// Ends an instance that goes on although it has had no request for longer than its idle time and a request's time.
async fn watch(state: Arc<InstanceState>, time: Duration) {
    loop {
        let taken = state.taken();
        if state.ended.run_until_cancelled(sleep(time)).await.is_none() {
            return;
        }
        let is_unused = state.running.load(Ordering::Relaxed) == 0 && state.taken() == taken;
        if is_unused && let Some(task) = &*lock(&state.task) {
            task.abort();
            return;
        }
    }
}

/// Serves one request: until its answer has been handed over, which the guest writes meanwhile.
async fn serve(accessor: &Accessor<ComponentState>, service: &Service, job: Job) -> wasmtime::Result<()> {
    let Job { request, mut answer, link } = job;
    let (request, received) = accessor.with(|mut store| {
        let (request, received) = p3::Request::from_http(store.data_mut().http().hooks, request);
        (request, Box::pin(received) as Pin<Box<dyn Future<Output = Result<(), WasiHttpError>> + Send>>)
    });
    let response = tokio::select! {
        response = service.handle(accessor, request) => response?,
        // The client has left.
        () = answer.closed() => return Ok(()),
    };
    let response = match response {
        Ok(response) => Ok(accessor.with(|store| response.into_http(store, received))?),
        Err(code) => Err(code),
    };
    if answer.send(response).is_ok() {
        link.unwanted().await;
    }
    Ok(())
}

/// The request with its whole target, as 0.3 gives it to guests in parts.
fn with_target(mut request: Request<RequestBody>, peer: &Peer) -> Request<RequestBody> {
    let authority = request.headers().get(http::header::HOST).and_then(|host| host.to_str().ok()).map(str::to_owned);
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    let path = parts.path_and_query.clone();
    parts.scheme = Some(peer.scheme.clone());
    parts.authority = authority.and_then(|authority| authority.parse().ok());
    if parts.authority.is_none() {
        parts.scheme = None;
    }
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_else(|_| path.map_or(Uri::from_static("/"), Uri::from));
    request
}

/// A request's hold on its instance. If the request ends before its answer is complete (its time is over, its client has
/// left), the instance may still be busy with it: it gets no more requests, and ends with the last that it has.
struct Held {
    instance: Instance,
    record: Arc<Record>,
}

impl Held {
    fn new(instance: &Instance, record: Arc<Record>) -> Self {
        instance.state.taken.fetch_add(1, Ordering::Relaxed);
        instance.state.running.fetch_add(1, Ordering::Relaxed);
        Self { instance: instance.clone(), record }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let state = &self.instance.state;
        if !self.record.is_complete() {
            state.taken.store(u32::MAX, Ordering::Relaxed);
        }
        let is_last = state.running.fetch_sub(1, Ordering::Relaxed) == 1;
        if is_last
            && state.taken() == u32::MAX
            && let Some(task) = &*lock(&state.task)
        {
            task.abort();
        }
    }
}

impl InstanceState {
    fn taken(&self) -> u32 {
        self.taken.load(Ordering::Relaxed)
    }

    /// Why the instance has not answered.
    fn failure(&self) -> Failure {
        match lock(&self.failure).clone() {
            None => Failure::NoResponse { how: "ended".to_owned() },
            Some(Died::NotInstantiated(error)) => Failure::Instantiate(wasmtime::Error::msg(error)),
            Some(Died::OutOfFuel) => Failure::OutOfFuel,
            Some(Died::OutOfMemory { asked, limit }) => Failure::OutOfMemory { asked, limit },
            Some(Died::Trapped(error)) => Failure::Trap(wasmtime::Error::msg(error)),
        }
    }
}

/// No code runs under these locks that can panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
