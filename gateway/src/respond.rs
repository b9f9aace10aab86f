//! From failure to HTTP status: the only place where one is chosen.

use std::time::Duration;

use http::{HeaderValue, Response, StatusCode, header};

use crate::body::ResponseBody;

/// Why a request got no answer from its guest.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The client's: its body is larger than permitted.
    #[error("the request body is larger than {limit} bytes")]
    BodyTooLarge { limit: u64 },
    /// The client's: its body did not arrive.
    #[error("the request body could not be read")]
    BodyRead(#[source] hyper::Error),
    /// The client's: its body did not arrive in time.
    #[error("the request body did not arrive within {limit:?}")]
    BodyTimeout { limit: Duration },
    /// The guest's: it trapped.
    #[error("the guest trapped")]
    Trap(#[source] wasmtime::Error),
    /// The guest's: it asked for more memory than permitted.
    #[error("the guest ran out of memory (it asked for {asked} bytes, the limit is {limit})")]
    OutOfMemory { asked: u64, limit: u64 },
    /// The guest's: it used up its fuel.
    #[error("the guest ran out of fuel")]
    OutOfFuel,
    /// The guest's: it ended, or closed the connection, without an answer.
    #[error("the guest {how} before it answered")]
    NoResponse { how: String },
    /// The guest's: what it wrote is no answer.
    #[error("the guest's answer is not valid: {what}")]
    BadResponse { what: String },
    /// The guest's: it took too long.
    #[error("the guest did not answer within {limit:?}")]
    Deadline { limit: Duration },
    /// Ours: more requests wait than permitted.
    #[error("too many requests wait for an instance")]
    QueueFull,
    /// Ours: no instance could be made.
    #[error("no instance could be made")]
    Instantiate(#[source] wasmtime::Error),
}

/// Seconds after which a client may try again when the queue is full: by then a whole queue has been served.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

impl Failure {
    fn status(&self) -> StatusCode {
        match self {
            Self::BodyTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyRead(_) => StatusCode::BAD_REQUEST,
            Self::BodyTimeout { .. } => StatusCode::REQUEST_TIMEOUT,
            Self::Trap(_) | Self::OutOfMemory { .. } | Self::NoResponse { .. } | Self::BadResponse { .. } => {
                StatusCode::BAD_GATEWAY
            }
            Self::Deadline { .. } => StatusCode::GATEWAY_TIMEOUT,
            Self::OutOfFuel | Self::QueueFull => StatusCode::SERVICE_UNAVAILABLE,
            Self::Instantiate(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The answer to the client: the reason, without anything from inside of the guest.
    pub(crate) fn response(&self) -> Response<ResponseBody> {
        let mut response = Response::new(ResponseBody::text(format!("{self}\n")));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        if matches!(self, Self::QueueFull) {
            headers.insert(header::RETRY_AFTER, RETRY_AFTER);
        }
        if matches!(self, Self::BodyTooLarge { .. } | Self::BodyRead(_) | Self::BodyTimeout { .. }) {
            // The rest of the body would be taken for the next request.
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    /// Tells the operator, with the causes.
    pub(crate) fn log(&self) {
        let status = self.status().as_u16();
        match std::error::Error::source(self) {
            Some(source) => {
                let cause = format!("{:#}", DisplayChain(source));
                tracing::warn!(status, cause, "{self}");
            }
            None => tracing::warn!(status, "{self}"),
        }
    }
}

/// An error with its causes on one line.
struct DisplayChain<'a>(&'a (dyn std::error::Error + 'static));

impl std::fmt::Display for DisplayChain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}
