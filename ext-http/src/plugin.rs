//! What the HTTP plugin `wasmedge_httpsreq` means: one HTTPS request at a time, its answer kept for reading.
//!
//! The guest hands over a complete HTTP/1.x request, head and body, and gets back a complete answer. The original sent
//! the bytes over TLS as they were; here they become a request of the outbound door, and its answer is spelled out
//! again with an exact `Content-Length`, which every published guest understands. Certificates are verified, which the
//! original did not do.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response};
use prewasm_translation::{Authority, Fields, MessageError, Parsed, RequestHead, ResponseHead, Version, path_of};

use crate::{
    abi::plugin::MAX_HOST,
    frozen::Unfreezable,
    outbound::{Outbound, RequestError, Usage},
};

const HTTPS_PORT: u16 = 443;
/// The largest request taken from a guest, and the largest answer kept for one: both are held in our memory.
const MAX_MESSAGE: usize = 16 * 1024 * 1024;

/// Why a request failed. The plugin has no error codes: each of these traps, as in WasmEdge.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    /// The guest's pointers to its request lead nowhere.
    #[error("the guest's HTTPS request is out of bounds")]
    RequestOutOfBounds,
    /// The guest's pointer for the answer leads nowhere.
    #[error("the guest's buffer for the HTTPS answer is out of bounds")]
    AnswerOutOfBounds,
    /// The guest's host is no name.
    #[error("the host of the guest's HTTPS request is longer than {MAX_HOST} bytes")]
    HostTooLong,
    /// The guest's port is none.
    #[error("{port} is not a port for an HTTPS request")]
    Port {
        /// The guest's number.
        port: i32,
    },
    /// The guest's bytes are not a request.
    #[error("the guest's HTTPS request is malformed")]
    Malformed {
        /// What the parser found; nothing if the request only ends too early, or has a method which is none.
        #[source]
        source: Option<MessageError>,
    },
    /// The guest's bytes are more than are taken.
    #[error("the guest's HTTPS request is larger than {MAX_MESSAGE} bytes")]
    TooLarge,
    /// The guest's host or request target is not one.
    #[error("`{url}` is not a valid URL")]
    Url {
        /// The URL put together from the guest's arguments.
        url: String,
    },
    /// The request could not be sent, or its answer not be read.
    #[error("HTTPS request to `{host}` failed")]
    Request {
        /// The host.
        host: String,
        /// Why.
        #[source]
        source: RequestError,
    },
}

/// The last answer: it stays until the next request, however often it is read.
#[derive(Debug, Default)]
pub(crate) struct Plugin {
    answer: Vec<u8>,
    /// The guest has fetched it, as libraries do once.
    is_fetched: bool,
}

impl Plugin {
    pub(crate) fn length(&self) -> usize {
        self.answer.len()
    }

    /// The answer, for the guest to keep.
    pub(crate) fn fetch(&mut self) -> &[u8] {
        self.is_fetched = true;
        &self.answer
    }

    /// The answer is not kept for a frozen guest. One which has fetched it will hardly do so again.
    pub(crate) fn freeze(&self, objections: &mut Vec<Unfreezable>) {
        if !self.answer.is_empty() && !self.is_fetched {
            objections.push(Unfreezable::PluginAnswer { bytes: self.answer.len() });
        }
    }

    pub(crate) fn store(&mut self, answer: Vec<u8>) {
        self.answer = answer;
        self.is_fetched = false;
    }
}

/// Sends the request that `bytes` spell to `host`, and spells its answer.
pub(crate) async fn send(
    (outbound, usage): (&Outbound, &Usage),
    host: &str,
    port: u16,
    bytes: &[u8],
) -> Result<Vec<u8>, PluginError> {
    if bytes.len() > MAX_MESSAGE {
        return Err(PluginError::TooLarge);
    }
    let request = parse(host, port, bytes)?;
    let is_head = request.method() == Method::HEAD;
    let failed = |source| PluginError::Request { host: host.to_owned(), source };
    let (head, body) = outbound.send_whole(usage, request, MAX_MESSAGE).await.map_err(failed)?.into_parts();
    Ok(spell(&Response::from_parts(head, body), is_head))
}

/// Parses head and body; both CRLF and a bare LF end a line.
fn parse(host: &str, port: u16, bytes: &[u8]) -> Result<Request<Bytes>, PluginError> {
    let malformed = || PluginError::Malformed { source: None };
    let (head, length) = match RequestHead::parse(bytes) {
        Ok(Parsed::Complete { head, length }) => (head, length),
        Ok(Parsed::Partial) => return Err(malformed()),
        Err(source) => return Err(PluginError::Malformed { source: Some(source) }),
    };
    let method = Method::from_bytes(head.method.as_bytes()).map_err(|_| malformed())?;
    let url = url(host, port, &head.target);
    let mut request = Request::builder().method(method).uri(&url);
    // The guest's host stays as it is. The body goes out as it was given, with the length that it has.
    let named = head.fields.first("host").map(|value| ("host", value));
    let others = head.fields.end_to_end().filter(|(name, _)| *name != "content-length");
    for (name, value) in named.into_iter().chain(others) {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| malformed())?;
        request = request.header(name, HeaderValue::from_bytes(value).map_err(|_| malformed())?);
    }
    request.body(Bytes::copy_from_slice(&bytes[length..])).map_err(|_| PluginError::Url { url })
}

/// A request target may be in absolute form (RFC 9112, 3.2.2); where to connect is what the guest's arguments say.
fn url(host: &str, port: u16, target: &str) -> String {
    let authority = Authority { host: host.to_owned(), port }.spell(HTTPS_PORT);
    let path = path_of(target);
    format!("https://{authority}{}", path.as_deref().unwrap_or(target))
}

fn spell(answer: &Response<Bytes>, is_head: bool) -> Vec<u8> {
    let mut all = Fields::new();
    for (name, value) in answer.headers() {
        all.push(name.as_str(), value.as_bytes());
    }
    let mut fields = Fields::new();
    for (name, value) in all.end_to_end().filter(|(name, _)| *name != "content-length") {
        fields.push(name, value);
    }
    let body: &[u8] = if is_head { &[] } else { answer.body() };
    if !is_head {
        fields.push("content-length", body.len().to_string().as_bytes());
    }
    let head = ResponseHead { status: answer.status().as_u16(), version: Version::Http11, fields };
    [&head.spell(), body].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_a_guests_request_with_either_line_end() {
        for request in [
            "POST /p?q=1 HTTP/1.1\r\nHost: h\r\nConnection: Close\r\nContent-Length: 5\r\n\r\nhello",
            "POST /p?q=1 HTTP/1.1\nHost: h\nConnection: Close\nContent-Length: 5\n\nhello",
        ] {
            let request = parse("example.com", 443, request.as_bytes()).expect("valid");
            assert_eq!(request.uri(), "https://example.com/p?q=1");
            assert_eq!(request.method(), Method::POST);
            assert_eq!(request.headers().len(), 1, "hop-by-hop headers stay behind");
            assert_eq!(request.body(), "hello");
        }
        assert_eq!(parse("h", 8443, b"GET http://x/y HTTP/1.0\r\n\r\n").expect("valid").uri(), "https://h:8443/y");
    }

    #[test]
    fn garbage_is_an_error() {
        for bytes in [b"".as_slice(), b"GET", b"\0\0\0\0", b"GET / HTTP/1.1\r\n"] {
            assert!(matches!(parse("h", 443, bytes), Err(PluginError::Malformed { .. })));
        }
        assert!(matches!(parse("not a host", 443, b"GET / HTTP/1.1\r\n\r\n"), Err(PluginError::Url { .. })));
    }

    #[test]
    fn an_answer_has_an_exact_length_and_no_transfer_coding() {
        let answer = Response::builder()
            .status(200)
            .header("transfer-encoding", "chunked")
            .header("x-a", "1")
            .body(Bytes::from_static(b"hi"))
            .expect("valid");
        assert_eq!(spell(&answer, false), b"HTTP/1.1 200 OK\r\nx-a: 1\r\ncontent-length: 2\r\n\r\nhi");
    }
}
