//! Heads of answers.

use crate::{BodyDecoder, Fields, Framing, MAX_FIELDS, MAX_HEAD, MessageError, Parsed, Version, reason};

/// The head of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    /// The status code.
    pub status: u16,
    /// The version that the sender speaks.
    pub version: Version,
    /// All fields.
    pub fields: Fields,
}

impl ResponseHead {
    /// Parses the beginning of `bytes`; both CRLF and a bare LF end a line.
    pub fn parse(bytes: &[u8]) -> Result<Parsed<Self>, MessageError> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut response = httparse::Response::new(&mut headers);
        let mut config = httparse::ParserConfig::default();
        config.allow_spaces_after_header_name_in_responses(true);
        let status = config.parse_response(&mut response, &bytes[..bytes.len().min(MAX_HEAD)]);
        match status {
            Ok(httparse::Status::Complete(length)) => Ok(Parsed::Complete {
                head: Self {
                    // The parser takes any three digits; those below 100 mean nothing.
                    status: response.code.filter(|code| *code >= 100).ok_or(MessageError::Head)?,
                    version: Version::from_minor(response.version),
                    fields: Fields::parsed(response.headers),
                },
                length,
            }),
            Ok(httparse::Status::Partial) if bytes.len() < MAX_HEAD => Ok(Parsed::Partial),
            Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => Err(MessageError::HeadTooLarge),
            Err(_) => Err(MessageError::Head),
        }
    }

    /// Whether another head follows, which is the real one.
    pub fn is_informational(&self) -> bool {
        (100..200).contains(&self.status) && self.status != 101
    }

    /// Whether an answer with this status to a request with this method never has a body, whatever its fields say.
    pub fn is_bodiless(status: u16, method: &str) -> bool {
        method == "HEAD" || matches!(status, 100..200 | 204 | 304)
    }

    /// How the body ends, if this answers a request with this method (RFC 9112, 6.3).
    pub fn body(&self, method: &str) -> Result<BodyDecoder, MessageError> {
        if Self::is_bodiless(self.status, method) {
            return Ok(BodyDecoder::new(Framing::None));
        }
        let framing = match (self.fields.is_chunked()?, self.fields.content_length()?) {
            (true, _) => Framing::Chunked,
            (false, Some(length)) => Framing::Length(length),
            (false, None) => Framing::UntilClose,
        };
        Ok(BodyDecoder::new(framing))
    }

    /// Spells the head, as HTTP/1.1 (servers do so even when they answer HTTP/1.0), and the empty line after it.
    pub fn spell(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(256);
        bytes.extend_from_slice(b"HTTP/1.1 ");
        bytes.extend_from_slice(&three_digits(self.status));
        bytes.push(b' ');
        bytes.extend_from_slice(reason(self.status).as_bytes());
        bytes.extend_from_slice(b"\r\n");
        self.fields.spell(&mut bytes);
        bytes.extend_from_slice(b"\r\n");
        bytes
    }
}

fn three_digits(status: u16) -> [u8; 3] {
    let digit = |value: u16| b'0' + u8::try_from(value % 10).unwrap_or(0);
    [digit(status / 100), digit(status / 10), digit(status)]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> ResponseHead {
        match ResponseHead::parse(text.as_bytes()) {
            Ok(Parsed::Complete { head, .. }) => head,
            other => panic!("{text:?}: {other:?}"),
        }
    }

    #[test]
    fn bodies_are_framed_as_status_method_and_fields_say() {
        let framing = |text: &str, method: &str| parse(text).body(method).map(|body| body.framing());
        assert_eq!(framing("HTTP/1.1 200 OK\r\n\r\n", "GET"), Ok(Framing::UntilClose));
        assert_eq!(framing("HTTP/1.1 200\nContent-Length: 9\n\n", "GET"), Ok(Framing::Length(9)));
        assert_eq!(framing("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", "HEAD"), Ok(Framing::None));
        assert_eq!(framing("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", "GET"), Ok(Framing::None));
        assert_eq!(framing("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "GET"), Ok(Framing::Chunked));
    }

    #[test]
    fn a_status_below_100_is_none() {
        assert_eq!(ResponseHead::parse(b"HTTP/1.1 099 X\r\n\r\n"), Err(MessageError::Head));
    }

    #[test]
    fn informational_heads_are_told_apart() {
        assert!(parse("HTTP/1.1 100 Continue\r\n\r\n").is_informational());
        assert!(!parse("HTTP/1.1 101 Switching Protocols\r\n\r\n").is_informational());
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(Parsed::Complete { head, .. }) = ResponseHead::parse(&bytes) {
                let _ = (head.body("GET"), head.spell());
            }
        }

        #[test]
        fn what_is_spelled_parses_as_it_was(
            status in 100u16..1000,
            list in prop::collection::vec(("[a-z-]{1,12}", "[a-zA-Z0-9;=/]{0,20}"), 0..20),
        ) {
            let mut fields = Fields::new();
            for (name, value) in &list {
                fields.push(name, value.as_bytes());
            }
            let head = ResponseHead { status, version: Version::Http11, fields };
            let bytes = head.spell();
            let length = bytes.len();
            prop_assert_eq!(ResponseHead::parse(&bytes), Ok(Parsed::Complete { head, length }));
        }
    }
}
