//! Asks an app without serving it: each request goes through a connection in memory, on the thread that asks.

use std::{cell::RefCell, net::SocketAddr, rc::Rc, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{client, server, service::service_fn};
use hyper_util::rt::TokioIo;
use prewasm_ext_http::Outbound;
use tokio::{runtime::Runtime, task::LocalSet};

use crate::{
    app::App,
    cache::CodeCache,
    gateway::{Connection, Gateway, PrepareError},
    respond::Failure,
};

/// Bytes which are on their way in memory.
const PIPE: usize = 64 * 1024;
/// Whom the app is told that it talks to, and under which address: the loopback interface's, and no port.
const NOBODY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// An app which can be asked.
pub struct Trial {
    gateway: Arc<Gateway>,
    runtime: Runtime,
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

/// Why there is no answer: a fault of ours, as a guest's failure is an answer.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    /// The request cannot be sent.
    #[error("the request is not valid")]
    Request(#[from] http::Error),
    /// The connection in memory broke.
    #[error("the connection in memory broke")]
    Connection(#[from] hyper::Error),
}

impl Trial {
    /// Prepares the app.
    ///
    /// # Errors
    /// [`PrepareError`], as for serving.
    pub fn prepare(app: App, cache: &CodeCache) -> Result<Self, PrepareError> {
        let gateway = Arc::new(Gateway::prepare(app, cache)?);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { gateway, runtime })
    }

    /// Asks, and waits for the whole answer.
    ///
    /// # Errors
    /// [`TrialError`], if there is none.
    pub fn ask(&self, question: Question) -> Result<Answer, TrialError> {
        LocalSet::new().block_on(&self.runtime, self.exchange(question))
    }

    async fn exchange(&self, question: Question) -> Result<Answer, TrialError> {
        let request = Request::builder().method(question.method).uri(question.target);
        let mut request = request.body(Full::new(question.body))?;
        request.headers_mut().insert(header::HOST, HeaderValue::from_static("localhost"));
        let (near, far) = tokio::io::duplex(PIPE);
        let gateway = Arc::clone(&self.gateway);
        let outbound = Arc::new(Outbound::new(Arc::clone(&gateway.app().outbound)));
        let connection = Connection { peer: NOBODY, local: NOBODY, outbound };
        let failure = Rc::new(RefCell::new(None));
        let noted = Rc::clone(&failure);
        let service = service_fn(move |request| {
            let (gateway, connection, noted) = (Arc::clone(&gateway), connection.clone(), Rc::clone(&noted));
            async move {
                let answer = gateway.serve(request, &connection).await.unwrap_or_else(|failure| {
                    *noted.borrow_mut() = Some(reason(&failure));
                    failure.response()
                });
                Ok::<_, std::convert::Infallible>(answer)
            }
        });
        let served =
            tokio::task::spawn_local(server::conn::http1::Builder::new().serve_connection(TokioIo::new(far), service));
        let (mut sender, connection) = client::conn::http1::handshake(TokioIo::new(near)).await?;
        let driven = tokio::task::spawn_local(connection);
        let mut answer = answer(&mut sender, request).await?;
        answer.failure = failure.take();
        drop(sender);
        // A guest may have work left after its answer; it ends with its connection.
        driven.abort();
        served.abort();
        Ok(answer)
    }
}

fn reason(failure: &Failure) -> Reason {
    let text = failure.to_string();
    match failure {
        Failure::BadResponse { .. } => Reason::NotHttp(text),
        _ => Reason::Other(text),
    }
}

async fn answer(
    sender: &mut client::conn::http1::SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> Result<Answer, TrialError> {
    let (head, mut body) = sender.send_request(request).await?.into_parts();
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
    Ok(Answer { status: head.status, headers: head.headers, body: bytes.into(), is_complete, failure: None })
}
