//! From failure to HTTP status: the only place where one is chosen.

use http::{HeaderValue, Response, StatusCode, header};

use crate::{
    body::{ResponseBody, whole},
    failure::Failure,
};

/// Seconds after which a client may try again when the queue is full: by then a whole queue has been served.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

impl Failure {
    fn status(&self) -> StatusCode {
        match self {
            Self::BadTarget { .. } => StatusCode::BAD_REQUEST,
            Self::NoRoute => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::BodyTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyRead(_) => StatusCode::BAD_REQUEST,
            Self::BodyTimeout { .. } => StatusCode::REQUEST_TIMEOUT,
            Self::Trap(_)
            | Self::OutOfMemory { .. }
            | Self::NoResponse { .. }
            | Self::BadResponse { .. }
            | Self::BrokeOff => StatusCode::BAD_GATEWAY,
            Self::Deadline { .. } | Self::DeadlineWhileSending => StatusCode::GATEWAY_TIMEOUT,
            Self::OutOfFuel | Self::QueueFull => StatusCode::SERVICE_UNAVAILABLE,
            Self::File(_) | Self::Instantiate(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The answer to the client: the reason, without anything from inside of the guest.
    pub(crate) fn response(&self) -> Response<ResponseBody> {
        let mut response = Response::new(whole(format!("{self}\n")));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        if let Self::MethodNotAllowed { allow } = self
            && let Ok(allow) = HeaderValue::from_str(allow)
        {
            // Required even if it is empty (RFC 9110, 15.5.6).
            headers.insert(header::ALLOW, allow);
        }
        if matches!(self, Self::QueueFull) {
            headers.insert(header::RETRY_AFTER, RETRY_AFTER);
        }
        if matches!(self, Self::BodyTooLarge { .. } | Self::BodyRead(_) | Self::BodyTimeout { .. }) {
            // The rest of the body would be taken for the next request.
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}
