//! wasi:http 0.2 components.

use std::{future::poll_fn, pin::Pin, sync::Arc, task::Poll, time::Instant};

use futures_util::FutureExt as _;
use http::{Request, Response};
use tokio::sync::oneshot;
use wasmtime::{
    Store,
    component::{Component, Linker},
};
use wasmtime_wasi_http::{
    WasiHttpView as _,
    p2::{
        bindings::{
            ProxyPre,
            http::types::{ErrorCode, Scheme},
        },
        body::HyperOutgoingBody,
    },
};

use super::{answer::ComponentBody, log::to_log, variables};
use crate::{
    app::Grants,
    body::{RequestBody, ResponseBody},
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
        let (sender, receiver) = oneshot::channel();
        // The sender may be gone a moment before the guest's end is seen, if that is on another thread.
        let mut receiver = receiver.fuse();
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
        let body = ComponentBody::new(Leash::new(task, record), body, AfterAnswer::Finish, None);
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

    fn store(&self, door: Door, record: &Arc<Record>) -> wasmtime::Result<Store<ComponentState>> {
        let limits = &self.app.limits;
        let limiter = MemoryLimiter::new(limits.memory);
        let state = ComponentState::new(&self.app.environment, door, limiter, |wasi| {
            to_log(wasi, limits.log, &Origin::Request(Arc::clone(record)));
        })?;
        store::store(self.template.engine(), state, limits.fuel)
    }
}
