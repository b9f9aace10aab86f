//! Heads of requests.

use crate::{BodyDecoder, Fields, Framing, MAX_FIELDS, MAX_HEAD, MessageError, Parsed, Version};

/// The head of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHead {
    /// The method, as it was spelled.
    pub method: String,
    /// The request target: a path, or a whole URL.
    pub target: String,
    /// The version that the sender speaks.
    pub version: Version,
    /// All fields.
    pub fields: Fields,
}

impl RequestHead {
    /// Parses the beginning of `bytes`; both CRLF and a bare LF end a line, and empty lines may come before.
    pub fn parse(bytes: &[u8]) -> Result<Parsed<Self>, MessageError> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut request = httparse::Request::new(&mut headers);
        let status = request.parse(&bytes[..bytes.len().min(MAX_HEAD)]);
        match status {
            Ok(httparse::Status::Complete(length)) => Ok(Parsed::Complete {
                head: Self {
                    method: request.method.unwrap_or_default().to_owned(),
                    target: request.path.unwrap_or_default().to_owned(),
                    version: Version::from_minor(request.version),
                    fields: Fields::parsed(request.headers),
                },
                length,
            }),
            Ok(httparse::Status::Partial) if bytes.len() < MAX_HEAD => Ok(Parsed::Partial),
            Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => Err(MessageError::HeadTooLarge),
            Err(_) => Err(MessageError::Head),
        }
    }

    /// How the body ends. A request without a length has none (RFC 9112, 6.3).
    pub fn body(&self) -> Result<BodyDecoder, MessageError> {
        let framing = match (self.fields.is_chunked()?, self.fields.content_length()?) {
            (true, _) => Framing::Chunked,
            (false, Some(length)) => Framing::Length(length),
            (false, None) => Framing::None,
        };
        Ok(BodyDecoder::new(framing))
    }

    /// Whether the sender wants the connection to stay after the answer.
    pub fn keeps_connection(&self) -> bool {
        match self.version {
            Version::Http11 => !self.fields.lists("connection", "close"),
            Version::Http10 => self.fields.lists("connection", "keep-alive"),
        }
    }

    /// Whether the sender waits for `100 Continue` before it sends the body.
    pub fn expects_continue(&self) -> bool {
        self.version == Version::Http11 && self.fields.lists("expect", "100-continue")
    }

    /// Whether this is no message of its own but the way into another protocol.
    pub fn leaves_http(&self) -> bool {
        self.method == "CONNECT" || self.fields.lists("connection", "upgrade")
    }

    /// Spells the head, as HTTP/1.1, and the empty line after it.
    pub fn spell(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(256);
        bytes.extend_from_slice(self.method.as_bytes());
        bytes.push(b' ');
        bytes.extend_from_slice(self.target.as_bytes());
        bytes.extend_from_slice(b" HTTP/1.1\r\n");
        self.fields.spell(&mut bytes);
        bytes.extend_from_slice(b"\r\n");
        bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> RequestHead {
        match RequestHead::parse(text.as_bytes()) {
            Ok(Parsed::Complete { head, length }) if length == text.len() => head,
            other => panic!("{text:?}: {other:?}"),
        }
    }

    #[test]
    fn either_line_end_will_do() {
        for text in ["GET /get HTTP/1.0\n\n", "POST http://h/p HTTP/1.1\r\nHost: h\r\nContent-Length: 5\n\r\n"] {
            parse(text);
        }
        let head = parse("GET /get HTTP/1.0\n\n");
        assert_eq!((head.version, head.keeps_connection()), (Version::Http10, false));
    }

    #[test]
    fn bodies_are_framed_as_the_fields_say() {
        let framing =
            |fields: &str| parse(&format!("POST / HTTP/1.1\r\n{fields}\r\n")).body().map(|body| body.framing());
        assert_eq!(framing(""), Ok(Framing::None));
        assert_eq!(framing("Content-Length: 3\r\n"), Ok(Framing::Length(3)));
        assert_eq!(framing("Transfer-Encoding: Chunked\r\nContent-Length: 3\r\n"), Ok(Framing::Chunked));
        assert_eq!(framing("Transfer-Encoding: gzip, chunked\r\n"), Err(MessageError::Framing));
        assert_eq!(framing("Content-Length: 3\r\nContent-Length: 4\r\n"), Err(MessageError::Framing));
    }

    #[test]
    fn heads_have_bounds() {
        let long = format!("GET / HTTP/1.1\r\na: {}", "b".repeat(MAX_HEAD));
        assert_eq!(RequestHead::parse(long.as_bytes()), Err(MessageError::HeadTooLarge));
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(MAX_FIELDS + 1));
        assert_eq!(RequestHead::parse(many.as_bytes()), Err(MessageError::HeadTooLarge));
        assert_eq!(RequestHead::parse(b"\0\0\0\0"), Err(MessageError::Head));
        assert_eq!(RequestHead::parse(b""), Ok(Parsed::Partial));
    }

    #[test]
    fn other_protocols_are_told_apart() {
        assert!(parse("CONNECT h:443 HTTP/1.1\r\n\r\n").leaves_http());
        assert!(parse("GET / HTTP/1.1\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n").leaves_http());
        assert!(!parse("GET / HTTP/1.1\r\nUpgrade: h2c\r\n\r\n").leaves_http());
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(Parsed::Complete { head, .. }) = RequestHead::parse(&bytes) {
                let _ = (head.body(), head.leaves_http(), head.spell());
            }
        }

        #[test]
        fn what_is_spelled_parses_as_it_was(
            method in "[A-Z]{1,8}",
            target in "/[a-z0-9/?=&]{0,20}",
            list in prop::collection::vec(("[a-z-]{1,12}", "[a-zA-Z0-9;=/]{0,20}"), 0..20),
        ) {
            let mut fields = Fields::new();
            for (name, value) in &list {
                fields.push(name, value.as_bytes());
            }
            let head = RequestHead { method, target, version: Version::Http11, fields };
            let bytes = head.spell();
            let length = bytes.len();
            prop_assert_eq!(RequestHead::parse(&bytes), Ok(Parsed::Complete { head, length }));
        }
    }
}
