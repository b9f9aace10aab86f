//! Telling from its first bytes what a connection speaks.

use crate::fields::is_token;

/// The longest method looked for; WebDAV's longest has 16 letters.
const MAX_METHOD: usize = 32;
/// The longest request line, as most servers have it.
const MAX_LINE: usize = 16 * 1024;
/// What HTTP/2 with prior knowledge begins with; the rest follows an empty line.
const HTTP2: &[u8] = b"PRI * HTTP/2.0";

/// What a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// More bytes are needed.
    Unknown,
    /// HTTP/1.
    Http1,
    /// HTTP/2, without having asked.
    Http2,
    /// TLS: the handshake that a client begins with.
    Tls,
    /// Something else.
    Other,
}

/// What the first bytes that a client sends are.
pub fn sniff_request(bytes: &[u8]) -> Protocol {
    if bytes.first() == Some(&0x16) {
        return match bytes.get(1) {
            None => Protocol::Unknown,
            Some(3) => Protocol::Tls,
            Some(_) => Protocol::Other,
        };
    }
    let bytes = without_empty_lines(bytes);
    let Some(line) = first_line(bytes) else {
        let looks_right = bytes.len() < MAX_LINE && is_request_line_so_far(bytes);
        return if looks_right { Protocol::Unknown } else { Protocol::Other };
    };
    if line == HTTP2 {
        return Protocol::Http2;
    }
    let is_http1 = line.ends_with(b" HTTP/1.1") || line.ends_with(b" HTTP/1.0");
    if is_http1 && is_request_line_so_far(line) { Protocol::Http1 } else { Protocol::Other }
}

/// What the first bytes that a server sends are.
pub fn sniff_answer(bytes: &[u8]) -> Protocol {
    const START: &[u8] = b"HTTP/1.";
    let bytes = without_empty_lines(bytes);
    let length = bytes.len().min(START.len());
    match bytes[..length] == START[..length] {
        true if length < START.len() => Protocol::Unknown,
        true => Protocol::Http1,
        false => Protocol::Other,
    }
}

/// Robust servers skip what some clients send after a body (RFC 9112, 2.2).
fn without_empty_lines(bytes: &[u8]) -> &[u8] {
    let start = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(bytes.len());
    &bytes[start..]
}

fn first_line(bytes: &[u8]) -> Option<&[u8]> {
    let end = bytes.iter().take(MAX_LINE).position(|byte| *byte == b'\n')?;
    let line = &bytes[..end];
    Some(line.strip_suffix(b"\r").unwrap_or(line))
}

/// A method, and after a space no control characters.
fn is_request_line_so_far(bytes: &[u8]) -> bool {
    let method = bytes.split(|byte| *byte == b' ').next().unwrap_or_default();
    let rest = &bytes[method.len()..];
    method.len() <= MAX_METHOD
        && method.iter().all(|byte| is_token(*byte))
        && (rest.is_empty() || !method.is_empty())
        && !rest.iter().any(|byte| byte.is_ascii_control() && *byte != b'\r')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_told_from_other_protocols() {
        assert_eq!(sniff_request(b"GET / HTTP/1.1\r\n"), Protocol::Http1);
        assert_eq!(sniff_request(b"\r\nGET /get HTTP/1.0\n\n"), Protocol::Http1);
        assert_eq!(sniff_request(b"M-SEARCH * HTTP/1.1\r\n"), Protocol::Http1);
        for partial in [b"".as_slice(), b"G", b"GET /x", b"GET /x HTTP/1.1\r", b"\r\n", b"\x16"] {
            assert_eq!(sniff_request(partial), Protocol::Unknown, "{partial:?}");
        }
        assert_eq!(sniff_request(b"\x16\x03\x01"), Protocol::Tls);
        assert_eq!(sniff_request(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Protocol::Http2);
        for other in [b"GET /\r\n".as_slice(), b"\x16\x02", b"\0", b"EHLO me\r\n", b" x", b"{\"a\":1}", b"*1\r\n$4\r\n"]
        {
            assert_eq!(sniff_request(other), Protocol::Other, "{other:?}");
        }
        assert_eq!(sniff_request("a".repeat(MAX_METHOD + 1).as_bytes()), Protocol::Other);
    }

    #[test]
    fn answers_are_told_from_other_protocols() {
        assert_eq!(sniff_answer(b"HTTP"), Protocol::Unknown);
        assert_eq!(sniff_answer(b"\r\nHTTP/1.0 200"), Protocol::Http1);
        assert_eq!(sniff_answer(b"220 smtp"), Protocol::Other);
        assert_eq!(sniff_answer(b"HTTP/2"), Protocol::Other);
    }
}
