//! Service chaining: a component calls another app of its site by name, without a connection.
//!
//! A guest may run on another thread than its worker's, and answers cannot leave their worker. So calls go to the worker
//! as messages, and answers come back piece by piece.

use std::{
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::BodyExt as _;
use tokio::{
    sync::{mpsc, oneshot},
    task::spawn_local,
};

use crate::{
    body::{BrokenOff, RequestBody, ResponseBody},
    peer::Peer,
    pipeline::{self, Desk},
    site::Site,
    turns::Turns,
};

/// What the host of such a call ends with, behind the app's name.
const DOMAIN: &str = ".spin.internal";
/// Apps that a request may go through. A chain of apps is rarely longer than three, and a loop has no end.
const MAX_HOPS: u8 = 8;

/// The way from an instance to the other apps of its site.
#[derive(Clone)]
pub(crate) struct Chain {
    site: Arc<Site>,
    peer: Peer,
    /// Calls on the way to this instance.
    hops: u8,
    worker: Sender,
}

/// Where a worker takes calls.
pub(crate) type Sender = mpsc::UnboundedSender<Hop>;

/// One call.
pub(crate) struct Hop {
    chain: Chain,
    app: String,
    request: Request<RequestBody>,
    answer: oneshot::Sender<Response<Relayed>>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChainError {
    #[error("app `{app}` is not there")]
    NoApp { app: String },
    #[error("the request has gone through {MAX_HOPS} apps already")]
    Loop,
    #[error("the worker has ended")]
    Ended,
}

impl Chain {
    pub(crate) fn new(site: Arc<Site>, peer: Peer, hops: u8, worker: Sender) -> Self {
        Self { site, peer, hops, worker }
    }

    /// The way for an instance that serves several requests: it cannot tell on whose behalf it calls, so no call may
    /// follow from its own.
    pub(crate) fn for_last_hop(self) -> Self {
        Self { hops: MAX_HOPS - 1, ..self }
    }

    /// The app that a host names, if it is one of this kind.
    pub(crate) fn app(host: &str) -> Option<&str> {
        host.strip_suffix(DOMAIN).filter(|app| !app.is_empty())
    }

    /// Calls an app.
    pub(crate) async fn call(self, app: &str, request: Request<RequestBody>) -> Result<Response<Relayed>, ChainError> {
        if self.site.member(app).is_none() {
            return Err(ChainError::NoApp { app: app.to_owned() });
        }
        if self.hops >= MAX_HOPS {
            return Err(ChainError::Loop);
        }
        let (answer, answered) = oneshot::channel();
        let sender = self.worker.clone();
        let chain = Self { hops: self.hops + 1, ..self };
        let hop = Hop { chain, app: app.to_owned(), request, answer };
        sender.send(hop).map_err(|_| ChainError::Ended)?;
        answered.await.map_err(|_| ChainError::Ended)
    }
}

/// Takes the calls of a worker's guests, as long as the worker lives.
pub(crate) async fn serve(mut calls: mpsc::UnboundedReceiver<Hop>, worker: usize, turns: Rc<Turns>) {
    while let Some(hop) = calls.recv().await {
        spawn_local(answer(hop, worker, Rc::clone(&turns)));
    }
}

async fn answer(hop: Hop, worker: usize, turns: Rc<Turns>) {
    let Hop { chain, app, request, mut answer } = hop;
    let desk = Desk { worker, chain: chain.worker.clone(), turns };
    let response = tokio::select! {
        response = pipeline::call_app(&chain.site, &app, request, &chain.peer, &desk, chain.hops) => response,
        // The caller has ended: nobody waits.
        () = answer.closed() => return,
    };
    let (sender, pieces) = mpsc::channel(1);
    let (head, body) = response.into_parts();
    if answer.send(Response::from_parts(head, Relayed(pieces))).is_ok() {
        tokio::select! {
            () = relay(body, &sender) => {}
            () = sender.closed() => {}
        }
    }
}

async fn relay(mut body: ResponseBody, pieces: &mpsc::Sender<Result<Frame<Bytes>, BrokenOff>>) {
    while let Some(frame) = body.frame().await {
        if pieces.send(frame).await.is_err() {
            return;
        }
    }
}

/// The body of an answer, as it comes from its worker.
pub(crate) struct Relayed(mpsc::Receiver<Result<Frame<Bytes>, BrokenOff>>);

impl Body for Relayed {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        self.0.poll_recv(cx)
    }
}
