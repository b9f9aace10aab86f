//! wasi:http 0.2 components.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use tokio::sync::oneshot;
use wasmtime::{
    Store,
    component::{Component, Linker},
};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi_http::{
    Error as WasiHttpError, WasiHttpView as _,
    p2::{
        bindings::{
            ProxyPre,
            http::types::{ErrorCode, Scheme},
        },
        body::HyperOutgoingBody,
    },
};

use crate::{
    app::Grants,
    body::{BrokenOff, RequestBody, RequestBodyError, ResponseBody},
    door::Door,
    failure::Failure,
    fields::remove_hop_by_hop,
    guest::{Call, component::variables, leash::Leash, task::GuestTask},
    guest_log::{GuestLog, Origin, Stream},
    memory::{self, Memories},
    peer::Peer,
    record::{Record, Stage},
    store::{
        self, MemoryLimiter,
        component::ComponentState,
        end::{End, judge},
    },
    ticker::Pulse,
};

/// A component, linked and ready to instantiate.
#[derive(Clone)]
pub(crate) struct ComponentGuest {
    template: ProxyPre<ComponentState>,
    memories: Option<Arc<Memories>>,
    app: Arc<Grants>,
    pulse: Pulse,
}

impl ComponentGuest {
    pub(crate) fn new(
        component: &Component,
        memories: Option<Arc<Memories>>,
        app: Arc<Grants>,
        pulse: Pulse,
    ) -> wasmtime::Result<Self> {
        let mut linker = Linker::new(component.engine());
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
        variables::add_to_linker(&mut linker, &app.variables)?;
        Ok(Self { template: ProxyPre::new(linker.instantiate_pre(component)?)?, memories, app, pulse })
    }

    /// Serves one request on a fresh instance.
    pub(crate) async fn serve(
        self,
        request: Request<RequestBody>,
        call: Call,
    ) -> Result<Response<ResponseBody>, Failure> {
        let Call { permit, outbound, chain, peer, record } = call;
        let timeout = self.app.limits.timeout;
        let (sender, mut receiver) = oneshot::channel();
        let door = Door::new(outbound, chain);
        let run = self.run(request, peer, door, Arc::clone(&record), sender);
        let mut task = GuestTask::new(run, timeout, permit, Arc::clone(&record));
        let answer = poll_fn(|cx| {
            let ended = task.poll(cx).is_ready();
            match Pin::new(&mut receiver).poll(cx) {
                Poll::Ready(Ok(Ok(response))) => Poll::Ready(Ok(response)),
                Poll::Ready(Ok(Err(code))) => {
                    Poll::Ready(Err(Failure::BadResponse { what: format!("it reports {code}") }))
                }
                Poll::Ready(Err(_)) | Poll::Pending if ended => Poll::Ready(Err(task
                    .take_failure()
                    .unwrap_or_else(|| Failure::NoResponse { how: "ended".to_owned() }))),
                Poll::Ready(Err(_)) | Poll::Pending => Poll::Pending,
            }
        })
        .await?;
        let (mut head, body) = answer.into_parts();
        remove_hop_by_hop(&mut head.headers);
        let body = ComponentBody { task: Leash::new(task, record), is_complete: false, body };
        Ok(Response::from_parts(head, Box::pin(body)))
    }

    async fn run(
        self,
        request: Request<RequestBody>,
        peer: Peer,
        door: Door,
        record: Arc<Record>,
        sender: oneshot::Sender<Result<Response<HyperOutgoingBody>, ErrorCode>>,
    ) -> Result<End, Failure> {
        let begin = Instant::now();
        let mut store = self.store(door, &record).map_err(Failure::Instantiate)?;
        let mut started = begin;
        let scheme = if peer.scheme == http::uri::Scheme::HTTPS { Scheme::Https } else { Scheme::Http };
        let guest = async {
            let request = store.data_mut().http().new_incoming_request(scheme, request)?;
            let answer = store.data_mut().http().new_response_outparam(sender)?;
            let proxy = memory::within(self.memories.as_ref(), self.template.instantiate_async(&mut store)).await?;
            started = Instant::now();
            proxy.wasi_http_incoming_handler().call_handle(&mut store, request, answer).await
        };
        let result = self.pulse.drive(guest).await;
        let ended = Instant::now();
        let end = judge(result, &store.data().limiter);
        if let Some(limit) = self.app.limits.fuel {
            record.fuel(limit.saturating_sub(store.get_fuel().unwrap_or(0)));
        }
        drop(store);
        record.time(Stage::Instantiate, started - begin);
        record.time(Stage::Guest, ended - started);
        record.time(Stage::Reset, ended.elapsed());
        Ok(end?)
    }

    fn store(&self, door: Door, record: &Arc<Record>) -> wasmtime::Result<Store<ComponentState>> {
        let limits = &self.app.limits;
        let limiter = MemoryLimiter::new(limits.memory);
        let state = ComponentState::new(&self.app.environment, door, limiter, |wasi| {
            let log = |stream| LogStream { stream, limit: limits.log, origin: Origin::Request(Arc::clone(record)) };
            wasi.stdout(log(Stream::Stdout)).stderr(log(Stream::Stderr));
        })?;
        store::store(self.template.engine(), state, limits.fuel)
    }
}

/// One output stream of a component, for the log.
struct LogStream {
    stream: Stream,
    limit: usize,
    origin: Origin,
}

impl IsTerminal for LogStream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for LogStream {
    fn async_stream(&self) -> Box<dyn tokio::io::AsyncWrite + Send + Sync> {
        Box::new(GuestLog::new(self.stream, self.limit, self.origin.clone()))
    }
}

impl From<RequestBodyError> for WasiHttpError {
    fn from(error: RequestBodyError) -> Self {
        match error {
            RequestBodyError::TooLarge => Self::HttpRequestBodySize(None),
            RequestBodyError::Read(error) => match error.downcast::<hyper::Error>() {
                Ok(error) => Self::Hyper(*error),
                Err(error) => Self::InternalError(Some(error.to_string())),
            },
        }
    }
}

/// The body of an answer which the component is still writing.
pub(crate) struct ComponentBody {
    /// Gone once the answer is complete, or was broken off.
    task: Leash<GuestTask>,
    is_complete: bool,
    body: HyperOutgoingBody,
}

impl Body for ComponentBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let frame = match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(frame) => frame,
            Poll::Pending => {
                let _ = self.task.with(|task| task.poll(cx));
                std::task::ready!(Pin::new(&mut self.body).poll_frame(cx))
            }
        };
        match frame {
            Some(Ok(frame)) => Poll::Ready(Some(Ok(frame))),
            None if self.task.with(|task| task.has_failed()) == Some(false) => {
                self.is_complete = true;
                if let Some(task) = self.task.take() {
                    task.finish(cx);
                }
                Poll::Ready(None)
            }
            None if self.is_complete => Poll::Ready(None),
            Some(Err(_)) | None => Poll::Ready(Some(Err(self.task.break_off()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.is_complete
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
