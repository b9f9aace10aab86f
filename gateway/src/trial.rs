//! Asks an app without serving it: each request goes through the pipeline, on the thread that asks.

use std::{net::SocketAddr, rc::Rc, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header, uri::Scheme};
use http_body_util::{BodyExt as _, Full};
use tokio::{
    runtime::Runtime,
    sync::mpsc,
    task::{LocalSet, spawn_local},
};

use crate::{
    app::App,
    body::{RequestBody, ResponseBody, whole},
    cache::CodeCache,
    failure::Failure,
    guest::{core::Rehearsal, socket},
    peer::Peer,
    pipeline::{self, Desk, Visit},
    prepared::{Guest, PrepareError, Prepared, Process},
    record::Record,
    shared_code::SharedCode,
    site::Site,
    turns::Turns,
};

/// Whom the app is told that it talks to, and under which address: the loopback interface's, and no port.
const NOBODY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// An app which can be asked.
pub struct Trial {
    site: Arc<Site>,
    app: Arc<Prepared>,
    runtime: Runtime,
    /// Its engine is driven as long as this lives.
    _process: Process,
}

/// What it is asked.
#[derive(Clone, Debug)]
pub struct Question {
    /// The method.
    pub method: Method,
    /// Path and query.
    pub target: Uri,
    /// The whole body.
    pub body: Bytes,
}

/// A whole answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The fields.
    pub headers: HeaderMap,
    /// The body, as far as it came.
    pub body: Bytes,
    /// Whether the body ended where it should.
    pub is_complete: bool,
    /// If the gateway has answered for the app: why.
    pub failure: Option<Reason>,
}

/// Why an app has not answered itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// What it wrote is not HTTP, or no answer.
    NotHttp(String),
    /// Anything else.
    Other(String),
}

impl Trial {
    /// Prepares the app.
    ///
    /// # Errors
    /// [`PrepareError`], as for serving.
    pub fn prepare(app: &App, cache: &CodeCache) -> Result<Self, PrepareError> {
        let process = Process::new(app.limits.instances, 1, Vec::new())?;
        let app = Arc::new(Prepared::new(app, &process, &SharedCode::new(cache))?);
        let site = Arc::new(Site::of(Arc::clone(&app), &process));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { site, app, runtime, _process: process })
    }

    /// Asks, and waits for the whole answer.
    ///
    /// # Errors
    /// If the request cannot be made.
    pub fn ask(&self, question: Question) -> Result<Answer, http::Error> {
        // A guest may have work left after its answer; it ends with the set.
        LocalSet::new().block_on(&self.runtime, self.exchange(question))
    }

    /// Makes `rounds` instances of an isolated socket server one after the other, without a request, and returns how long
    /// each took; for any other app, and if an instance fails, none.
    pub fn rehearse(&self, rounds: usize) -> Vec<Rehearsal> {
        let Guest::Isolated(guest) = &self.app.guest else { return Vec::new() };
        self.runtime.block_on(async {
            let mut times = Vec::with_capacity(rounds);
            for _ in 0..rounds {
                times.extend(socket::rehearse(guest, self.app.door(0)).await.ok());
            }
            times
        })
    }

    async fn exchange(&self, question: Question) -> Result<Answer, http::Error> {
        let request = Request::builder().method(question.method).uri(question.target);
        let mut request = request.body(RequestBody::new(Full::new(question.body)))?;
        request.headers_mut().insert(header::HOST, HeaderValue::from_static("localhost"));
        let record = Record::new(request.method(), request.uri(), NOBODY.ip());
        let peer = Peer { client: NOBODY, local: NOBODY, scheme: Scheme::HTTP };
        let turns = Rc::<Turns>::default();
        let filled = Rc::clone(&turns);
        spawn_local(async move { filled.run().await });
        // There is no other app to call.
        let desk = Desk { worker: 0, chain: mpsc::unbounded_channel().0, turns };
        let visit = Visit { site: &self.site, peer: &peer, desk: &desk, record: &record, hops: 0 };
        let is_head = request.method() == Method::HEAD;
        Ok(match pipeline::serve(request, &visit).await {
            // Nothing follows the head of an answer to HEAD, whatever a guest has to say.
            Ok(response) if is_head => answer(response.map(|_| whole(Bytes::new())), None).await,
            Ok(response) => answer(response, None).await,
            Err(failure) => answer(failure.response(), Some(reason(&failure))).await,
        })
    }
}

fn reason(failure: &Failure) -> Reason {
    let text = failure.to_string();
    match failure {
        Failure::BadResponse { .. } => Reason::NotHttp(text),
        _ => Reason::Other(text),
    }
}

async fn answer(response: Response<ResponseBody>, failure: Option<Reason>) -> Answer {
    let (head, mut body) = response.into_parts();
    let mut bytes = Vec::new();
    let mut is_complete = true;
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => bytes.extend_from_slice(frame.data_ref().map_or(&[], |data| data)),
            Err(_) => {
                is_complete = false;
                break;
            }
        }
    }
    Answer { status: head.status, headers: head.headers, body: bytes.into(), is_complete, failure }
}
