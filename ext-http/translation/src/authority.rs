//! Whom a request is for.

use std::net::{IpAddr, Ipv6Addr};

use crate::{MessageError, RequestHead};

/// A name, or an address, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// A name or an address; one of IPv6 without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// Whom a request names, compared with whom its connection is to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    /// The same, or nobody.
    Target,
    /// Somebody else: as the request spells it.
    Other(String),
}

impl Authority {
    /// As it stands in a URL: without the port if that is the scheme's own.
    pub fn spell(&self, default_port: u16) -> String {
        let mut text = String::with_capacity(self.host.len() + 8);
        if self.host.parse::<Ipv6Addr>().is_ok() {
            text.push('[');
            text.push_str(&self.host);
            text.push(']');
        } else {
            text.push_str(&self.host);
        }
        if self.port != default_port {
            text.push(':');
            push_decimal(&mut text, self.port);
        }
        text
    }

    /// Compares with whom the request names: in its target, if that is a whole URL, else in its `host` field. It is an
    /// error if that could not be an authority.
    pub fn compare(&self, head: &RequestHead) -> Result<Named, MessageError> {
        let named = match head.target.split_once("://") {
            Some((_, rest)) => rest.split(['/', '?', '#']).next().unwrap_or_default(),
            None => match head.fields.first("host") {
                Some(value) => std::str::from_utf8(value).map_err(|_| MessageError::Head)?.trim(),
                None => return Ok(Named::Target),
            },
        };
        if named.is_empty() || names_same_host(named, &self.host) {
            return Ok(Named::Target);
        }
        if named.bytes().all(is_authority) { Ok(Named::Other(named.to_owned())) } else { Err(MessageError::Head) }
    }
}

/// Whether an authority, its port aside, is this host. An address is the same only as an address.
pub fn names_same_host(authority: &str, host: &str) -> bool {
    let named = host_of(authority);
    match (named.parse::<IpAddr>(), host.parse::<IpAddr>()) {
        (Ok(named), Ok(host)) => named == host,
        (Err(_), Err(_)) => named.trim_end_matches('.').eq_ignore_ascii_case(host.trim_end_matches('.')),
        _ => false,
    }
}

/// The path and query of a request target, which may be a whole URL (RFC 9112, 3.2.2). `*` has none.
pub fn path_of(target: &str) -> Option<String> {
    let path = match target.split_once("://") {
        Some((_, rest)) => rest.find(['/', '?']).map_or("/", |start| &rest[start..]),
        None => target,
    };
    let path = path.split('#').next().unwrap_or_default();
    match path.bytes().next() {
        Some(b'/') => Some(path.to_owned()),
        Some(b'?') => Some("/".to_owned() + path),
        _ => None,
    }
}

fn host_of(authority: &str) -> &str {
    if let Some(rest) = authority.strip_prefix('[') {
        return rest.split(']').next().unwrap_or_default();
    }
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !host.contains(':') => host,
        _ => authority,
    }
}

fn is_authority(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(&byte)
}

fn push_decimal(text: &mut String, number: u16) {
    let mut divisor = 10_000;
    while divisor > 1 && number / divisor == 0 {
        divisor /= 10;
    }
    while divisor > 0 {
        text.push(char::from(b'0' + u8::try_from(number / divisor % 10).unwrap_or(0)));
        divisor /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Parsed;

    fn compare(host: &str, request: &str) -> Result<Named, MessageError> {
        let Ok(Parsed::Complete { head, .. }) = RequestHead::parse(request.as_bytes()) else { panic!("{request}") };
        Authority { host: host.to_owned(), port: 80 }.compare(&head)
    }

    #[test]
    fn ports_are_left_out_where_they_are_the_schemes() {
        let spell = |host: &str, port| Authority { host: host.to_owned(), port }.spell(80);
        assert_eq!(spell("example.com", 80), "example.com");
        assert_eq!(spell("example.com", 8080), "example.com:8080");
        assert_eq!(spell("::1", 65535), "[::1]:65535");
        assert_eq!(spell("::1", 80), "[::1]");
        assert_eq!(spell("h", 0), "h:0");
        assert_eq!(spell("h", 7), "h:7");
    }

    #[test]
    fn a_request_names_its_target_or_somebody_else() {
        let other = |name: &str| Ok(Named::Other(name.to_owned()));
        assert_eq!(compare("example.com", "GET / HTTP/1.1\r\nHost: Example.com:8080\r\n\r\n"), Ok(Named::Target));
        assert_eq!(compare("example.com", "GET / HTTP/1.0\r\n\r\n"), Ok(Named::Target));
        assert_eq!(compare("example.com", "GET / HTTP/1.1\r\nHost: a.com:1\r\n\r\n"), other("a.com:1"));
        assert_eq!(compare("10.0.0.1", "GET / HTTP/1.1\r\nHost: a.com\r\n\r\n"), other("a.com"));
        assert_eq!(compare("10.0.0.1", "GET / HTTP/1.1\r\nHost: 10.0.0.1\r\n\r\n"), Ok(Named::Target));
        assert_eq!(compare("::1", "GET / HTTP/1.1\r\nHost: [0::1]:80\r\n\r\n"), Ok(Named::Target));
        assert_eq!(compare("a.com", "GET http://b.com/x HTTP/1.1\r\nHost: a.com\r\n\r\n"), other("b.com"));
        assert_eq!(compare("a.com", "GET / HTTP/1.1\r\nHost: b/c\r\n\r\n"), Err(MessageError::Head));
    }

    #[test]
    fn a_target_may_be_a_whole_url() {
        assert_eq!(path_of("/a?b").as_deref(), Some("/a?b"));
        assert_eq!(path_of("http://h:1/a?b#c").as_deref(), Some("/a?b"));
        assert_eq!(path_of("http://h").as_deref(), Some("/"));
        assert_eq!(path_of("http://h?x").as_deref(), Some("/?x"));
        assert_eq!(path_of("*"), None);
    }
}
