//! Requests which a server answers before it is frozen: as a line of text, and as it is sent.

use std::{
    cell::Cell,
    fmt,
    future::poll_fn,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    pin::pin,
    str::FromStr,
};

use bytes::Bytes;
use http::{Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use prewasm_ext_http::{Connector, VirtualStream};

/// One request, and what its answer must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WarmUp {
    /// The method.
    pub method: Method,
    /// Path and query, in origin form.
    pub target: Uri,
    /// Content of the request.
    pub body: Body,
    /// The status expected; `None` takes any below 400.
    pub status: Option<StatusCode>,
}

/// Content of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// None.
    Empty,
    /// A file's content, read when the request is sent.
    File(PathBuf),
}

/// Not a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a request: {reason}\n  hint: write `METHOD PATH [@BODYFILE] [=> STATUS]`, for example `POST /echo @body.txt => 200`"
)]
pub struct WarmUpError {
    /// What was written.
    pub text: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl FromStr for WarmUp {
    type Err = WarmUpError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = |reason| WarmUpError { text: text.to_owned(), reason };
        let (request, status) = match text.split_once("=>") {
            Some((request, status)) => {
                (request, Some(status.trim().parse().map_err(|_| wrong("what follows `=>` is no status"))?))
            }
            None => (text, None),
        };
        let request = request.trim();
        let (method, rest) = request.split_once(char::is_whitespace).ok_or_else(|| wrong("there is no path"))?;
        let method = method.parse().map_err(|_| wrong("it does not start with a method"))?;
        let (path, body) = match rest.trim().split_once(char::is_whitespace) {
            None => (rest.trim(), Body::Empty),
            Some((path, body)) => {
                let file = body.trim().strip_prefix('@').ok_or_else(|| wrong("the body is not `@FILE`"))?;
                (path, Body::File(file.into()))
            }
        };
        if !path.starts_with('/') {
            return Err(wrong("the path does not start with `/`"));
        }
        let target = path.parse().map_err(|_| wrong("the path is no request target"))?;
        Ok(Self { method, target, body, status })
    }
}

impl fmt::Display for WarmUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.target)
    }
}

/// Why a request was not answered as it should.
#[derive(Debug, thiserror::Error)]
pub enum WarmUpFailure {
    /// The file with the body cannot be read.
    #[error("cannot read the body of `{request}` from `{path}`", path = path.display())]
    File {
        /// The request.
        request: String,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// There was no answer, or no whole one.
    #[error("`{request}` was not answered")]
    NoAnswer {
        /// The request.
        request: String,
        /// What came instead.
        #[source]
        source: hyper::Error,
    },
    /// The answer is not the expected one.
    #[error("`{request}` was answered with {status}, expected was {expected}\n  hint: if that is right, write `{request} => {code}`", code = status.as_u16())]
    Status {
        /// The request.
        request: String,
        /// The answer's status.
        status: StatusCode,
        /// What was expected.
        expected: String,
    },
}

/// An answer, for the report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) request: String,
    pub(crate) status: StatusCode,
    /// Size of its content.
    pub(crate) bytes: u64,
}

/// Whom requests come from: nobody who could be asked.
pub(crate) const PEER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 49151);

/// Sends the requests one after the other, each on a connection of its own, and declares that no more will come.
/// `under_way` tells which one waits for its answer.
pub(crate) async fn drive(
    connector: &Connector,
    warm_ups: &[WarmUp],
    under_way: &Cell<Option<usize>>,
) -> Result<Vec<Answer>, WarmUpFailure> {
    let mut answers = Vec::new();
    for (index, warm_up) in warm_ups.iter().enumerate() {
        under_way.set(Some(index));
        answers.push(warm_up.send(connector.connect(PEER)).await?);
    }
    under_way.set(None);
    connector.close();
    Ok(answers)
}

impl WarmUp {
    /// What every server can be asked.
    pub(crate) fn root() -> Self {
        Self { method: Method::GET, target: Uri::from_static("/"), body: Body::Empty, status: None }
    }

    pub(crate) async fn send(&self, stream: VirtualStream) -> Result<Answer, WarmUpFailure> {
        let request = self.to_string();
        let no_answer = |source| WarmUpFailure::NoAnswer { request: request.clone(), source };
        let body = self.body(&request)?;
        let (mut sender, connection) =
            http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream)).await.map_err(no_answer)?;
        let exchange = async {
            let response = sender.send_request(self.request(body)).await?;
            let status = response.status();
            let body = response.into_body().collect().await?;
            Ok((status, body.to_bytes().len() as u64))
        };
        let (mut exchange, mut connection) = (pin!(exchange), pin!(connection));
        let mut is_open = true;
        let answer = poll_fn(|cx| {
            // Its errors are also the answer's.
            is_open = is_open && connection.as_mut().poll(cx).is_pending();
            exchange.as_mut().poll(cx)
        });
        let (status, bytes) = answer.await.map_err(no_answer)?;
        self.check(status)?;
        Ok(Answer { request, status, bytes })
    }

    fn body(&self, request: &str) -> Result<Bytes, WarmUpFailure> {
        match &self.body {
            Body::Empty => Ok(Bytes::new()),
            Body::File(path) => std::fs::read(path).map(Bytes::from).map_err(|source| WarmUpFailure::File {
                request: request.to_owned(),
                path: path.clone(),
                source,
            }),
        }
    }

    fn request(&self, body: Bytes) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.target.clone();
        request.headers_mut().insert(header::HOST, header::HeaderValue::from_static("localhost"));
        request
    }

    fn check(&self, status: StatusCode) -> Result<(), WarmUpFailure> {
        let (is_right, expected) = match self.status {
            Some(expected) => (status == expected, expected.to_string()),
            None => (status.as_u16() < 400, "a success".to_owned()),
        };
        if is_right {
            return Ok(());
        }
        Err(WarmUpFailure::Status { request: self.to_string(), status, expected })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_request() {
        let warm_up: WarmUp = "POST /echo?x=1 @a file.txt => 201".parse().expect("valid");
        assert_eq!(warm_up.body, Body::File("a file.txt".into()));
        assert_eq!(warm_up.status, Some(StatusCode::CREATED));
        assert_eq!(warm_up.to_string(), "POST /echo?x=1");
        let warm_up: WarmUp = "  GET   / ".parse().expect("valid");
        assert_eq!((warm_up.body, warm_up.status), (Body::Empty, None));
        for text in ["", "GET", "GET x", "GET / body", "GET / => 1000", "G\u{e4}T /", "GET /\u{7f}"] {
            assert!(text.parse::<WarmUp>().is_err(), "{text}");
        }
    }
}
