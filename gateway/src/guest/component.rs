//! wasi:http 0.2 components.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body as _, Frame, SizeHint};
use prewasm_ext_http::{Access, Outbound};
use tokio::sync::oneshot;
use wasmtime::{
    Store,
    component::{Component, Linker, ResourceTable},
};
use wasmtime_wasi::{
    FsPerms, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView,
    cli::{IsTerminal, StdoutStream},
};
use wasmtime_wasi_http::{
    Error as WasiHttpError, WasiHttpCtx, WasiHttpCtxView, WasiHttpView,
    p2::{
        bindings::{
            ProxyPre,
            http::types::{ErrorCode, Scheme},
        },
        body::HyperOutgoingBody,
    },
};

use super::{
    leash::Leash,
    limiter::MemoryLimiter,
    socket::remove_hop_by_hop,
    state::{End, classify},
    task::GuestTask,
};
use crate::{
    admission::Permit,
    app::App,
    body::{BrokenOff, RequestBody, RequestBodyError, ResponseBody},
    door::{Door, allow_sockets},
    engine::Pulse,
    guest_log::{GuestLog, Stream},
    respond::Failure,
};

/// Store data of one instance of a component.
struct State {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    table: ResourceTable,
    door: Door,
    limiter: MemoryLimiter,
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.door }
    }
}

/// A component, linked and ready to instantiate.
#[derive(Clone)]
pub(crate) struct ComponentGuest {
    template: ProxyPre<State>,
    app: Arc<App>,
    pulse: Pulse,
}

impl ComponentGuest {
    pub(crate) fn new(component: &Component, app: Arc<App>, pulse: Pulse) -> wasmtime::Result<Self> {
        let mut linker = Linker::new(component.engine());
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
        Ok(Self { template: ProxyPre::new(linker.instantiate_pre(component)?)?, app, pulse })
    }

    /// Serves one request on a fresh instance.
    pub(crate) async fn serve(
        self,
        outbound: Arc<Outbound>,
        request: Request<RequestBody>,
        permit: Permit,
    ) -> Result<Response<ResponseBody>, Failure> {
        let timeout = self.app.limits.timeout;
        let (sender, mut receiver) = oneshot::channel();
        let mut task = GuestTask::new(self.run(outbound, request, sender), timeout, permit);
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
        let deadline = task.deadline();
        let body = ComponentBody { task: Leash::new(task, deadline), is_complete: false, body };
        Ok(Response::from_parts(head, ResponseBody::Component(Box::new(body))))
    }

    async fn run(
        self,
        outbound: Arc<Outbound>,
        request: Request<RequestBody>,
        sender: oneshot::Sender<Result<Response<HyperOutgoingBody>, ErrorCode>>,
    ) -> Result<End, Failure> {
        let mut store = self.store(outbound).map_err(Failure::Instantiate)?;
        let guest = async {
            let request = store.data_mut().http().new_incoming_request(Scheme::Http, request)?;
            let answer = store.data_mut().http().new_response_outparam(sender)?;
            let proxy = self.template.instantiate_async(&mut store).await?;
            proxy.wasi_http_incoming_handler().call_handle(&mut store, request, answer).await
        };
        let result = self.pulse.drive(guest).await;
        result.map(|()| End::Returned).or_else(|error| classify(error, &store.data().limiter))
    }

    fn store(&self, outbound: Arc<Outbound>) -> wasmtime::Result<Store<State>> {
        let limits = &self.app.limits;
        let state = State {
            wasi: self.wasi(&outbound)?,
            http: WasiHttpCtx::new(),
            table: ResourceTable::new(),
            door: Door::new(outbound),
            limiter: MemoryLimiter::new(limits.memory),
        };
        let mut store = Store::new(self.template.engine(), state);
        store.limiter(|state| &mut state.limiter);
        store.epoch_deadline_async_yield_and_update(1);
        if let Some(fuel) = limits.fuel {
            store.set_fuel(fuel)?;
        }
        Ok(store)
    }

    fn wasi(&self, outbound: &Arc<Outbound>) -> wasmtime::Result<WasiCtx> {
        let environment = &self.app.environment;
        let mut wasi = WasiCtxBuilder::new();
        allow_sockets(&mut wasi, Arc::clone(outbound));
        wasi.args(&environment.args).envs(&environment.env);
        wasi.stdout(LogStream { stream: Stream::Stdout, limit: self.app.limits.log });
        wasi.stderr(LogStream { stream: Stream::Stderr, limit: self.app.limits.log });
        for directory in &environment.dirs {
            let perms = match directory.access {
                Access::ReadOnly => FsPerms::ReadOnly,
                Access::ReadWrite => FsPerms::ReadWrite,
            };
            wasi.preopened_dir(&directory.host, &directory.guest, perms)?;
        }
        Ok(wasi.build())
    }
}

/// One output stream of a component, for the log.
struct LogStream {
    stream: Stream,
    limit: usize,
}

impl IsTerminal for LogStream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for LogStream {
    fn async_stream(&self) -> Box<dyn tokio::io::AsyncWrite + Send + Sync> {
        Box::new(GuestLog::new(self.stream, self.limit))
    }
}

impl From<RequestBodyError> for WasiHttpError {
    fn from(error: RequestBodyError) -> Self {
        match error {
            RequestBodyError::TooLarge => Self::HttpRequestBodySize(None),
            RequestBodyError::Read(error) => Self::Hyper(error),
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

impl ComponentBody {
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
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
            Some(Err(_)) | None => Poll::Ready(Some(Err(self.break_off()))),
        }
    }

    fn break_off(&mut self) -> BrokenOff {
        match self.task.take().and_then(|mut task| task.take_failure()) {
            Some(failure) => failure.log(),
            None => tracing::warn!("the guest broke off its answer"),
        }
        BrokenOff
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.is_complete
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
