//! What a request asks for: its host and its path, each in one form, before anything is decided by them.

use std::borrow::Cow;

use http::{
    HeaderValue, Uri, header,
    request::Parts,
    uri::{Authority, PathAndQuery},
};

use crate::failure::Failure;

/// Why a path can be read in two ways, or in none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPath {
    /// It does not begin with a slash.
    #[error("it is not a path that begins with `/`")]
    NotAbsolute,
    /// A percent sign without two hexadecimal digits.
    #[error("`%` is not followed by two hexadecimal digits")]
    Percent,
    /// A byte that belongs into no path, encoded or not.
    #[error("it contains a control character, a backslash or a byte beyond ASCII")]
    Byte,
    /// Encoded dots make a segment `.` or `..`: some would follow it, others not.
    #[error("a segment `.` or `..` is percent-encoded")]
    DotSegment,
    /// It leads above the root.
    #[error("`..` leads above the root")]
    AboveRoot,
}

/// Gives the request's host and path the one form that routes are compared with, and guests see.
///
/// # Errors
/// If either is ambiguous.
pub(crate) fn normalize(head: &mut Parts) -> Result<(), Failure> {
    normalize_host(head)?;
    normalize_path(head)
}

/// Leaves one host. Guests read the field `Host`, so a host in the target replaces what the field says (RFC 9112, 3.2.2):
/// else a request would be routed by one name and answered for another.
fn normalize_host(head: &mut Parts) -> Result<(), Failure> {
    if head.headers.get_all(header::HOST).iter().nth(1).is_some() {
        return Err(Failure::BadTarget { what: "it names more than one host".to_owned() });
    }
    if let Some(authority) = head.uri.authority() {
        let named = HeaderValue::from_str(authority.as_str()).map_err(|_| bad_host())?;
        head.headers.insert(header::HOST, named);
    }
    match head.headers.get(header::HOST) {
        Some(named) if !named.as_bytes().iter().all(|byte| is_of_host(*byte)) => Err(bad_host()),
        _ => Ok(()),
    }
}

fn bad_host() -> Failure {
    Failure::BadTarget { what: "its host is not a name or an address, with or without a port".to_owned() }
}

/// Whether a byte can be part of a host and a port (RFC 3986, 3.2.2 and 3.2.3). What stands before `@` is for clients only.
fn is_of_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(&byte)
}

/// Gives the path its normal form (RFC 3986, 6.2.2): unreserved characters are not encoded, hexadecimal digits are upper
/// case, dot segments are followed. The query stays.
fn normalize_path(head: &mut Parts) -> Result<(), Failure> {
    let path = match normalized(head.uri.path()) {
        Ok(Cow::Borrowed(_)) => return Ok(()),
        Ok(Cow::Owned(path)) => path,
        Err(error) => return Err(Failure::BadTarget { what: error.to_string() }),
    };
    let target = match head.uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    let mut parts = std::mem::take(&mut head.uri).into_parts();
    let bad = |_| Failure::BadTarget { what: BadPath::Byte.to_string() };
    parts.path_and_query = Some(PathAndQuery::try_from(target).map_err(bad)?);
    head.uri = Uri::from_parts(parts).map_err(|_| Failure::BadTarget { what: BadPath::NotAbsolute.to_string() })?;
    Ok(())
}

/// The host that a request is for, in lower case, without port and without a dot at its end; empty if there is none.
pub(crate) fn host(head: &Parts) -> Cow<'_, str> {
    let named = head.uri.authority().map(Authority::as_str);
    let named = named.or_else(|| head.headers.get(header::HOST)?.to_str().ok()).unwrap_or_default();
    let host = match (named.starts_with('['), named.rfind([':', ']'])) {
        // `[::1]:80`: only a colon behind the bracket is about a port.
        (true, Some(at)) if named.as_bytes()[at] == b']' => &named[..=at],
        (_, Some(at)) => &named[..at],
        (_, None) => named,
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    match host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        true => Cow::Owned(host.to_ascii_lowercase()),
        false => Cow::Borrowed(host),
    }
}

/// A path in the form of [`normalize_path`]; borrowed if it has that form.
///
/// An encoded slash stays: it is part of a segment. What decodes paths (meta-variables of commands, static files) must
/// refuse it.
pub(crate) fn normalized(path: &str) -> Result<Cow<'_, str>, BadPath> {
    if !path.starts_with('/') {
        return Err(BadPath::NotAbsolute);
    }
    if path.bytes().any(|byte| !byte.is_ascii() || byte.is_ascii_control() || byte == b'\\') {
        return Err(BadPath::Byte);
    }
    if !path.contains('%') && !path.contains("/.") {
        return Ok(Cow::Borrowed(path));
    }
    let mut segments = Vec::new();
    let mut rest = path[1..].split('/').peekable();
    while let Some(segment) = rest.next() {
        let is_last = rest.peek().is_none();
        match segment {
            "." if is_last => segments.push(Cow::Borrowed("")),
            "." => {}
            ".." => {
                segments.pop().ok_or(BadPath::AboveRoot)?;
                if is_last {
                    segments.push(Cow::Borrowed(""));
                }
            }
            _ => segments.push(decoded(segment)?),
        }
    }
    let normal = segments.iter().fold(String::with_capacity(path.len()), |path, segment| path + "/" + segment);
    Ok(if normal == path { Cow::Borrowed(path) } else { Cow::Owned(normal) })
}

fn decoded(segment: &str) -> Result<Cow<'_, str>, BadPath> {
    let mut parts = segment.split('%');
    let first = parts.next().unwrap_or_default();
    if first.len() == segment.len() {
        return Ok(Cow::Borrowed(segment));
    }
    let mut normal = String::with_capacity(segment.len());
    normal.push_str(first);
    for part in parts {
        let digits = part.get(..2).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let digits = digits.ok_or(BadPath::Percent)?;
        let byte = u8::from_str_radix(digits, 16).map_err(|_| BadPath::Percent)?;
        match byte {
            0..=0x1f | 0x7f | b'\\' => return Err(BadPath::Byte),
            b'-' | b'.' | b'_' | b'~' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => normal.push(char::from(byte)),
            _ => {
                normal.push('%');
                normal.push_str(&digits.to_ascii_uppercase());
            }
        }
        normal.push_str(&part[2..]);
    }
    if matches!(normal.as_str(), "." | "..") {
        return Err(BadPath::DotSegment);
    }
    Ok(Cow::Owned(normal))
}

#[cfg(test)]
mod tests {
    use http::Request;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_path_has_one_form() {
        for (path, normal) in [
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/a//b", "/a//b"),
            ("/%61%2d%7E", "/a-~"),
            ("/%c3%a9", "/%C3%A9"),
            ("/a%2fb", "/a%2Fb"),
            ("/a/./b/../c", "/a/c"),
            ("/a/..", "/"),
            ("/a/b/.", "/a/b/"),
            ("/.hidden", "/.hidden"),
            ("/%2ehidden", "/.hidden"),
            ("/a...b", "/a...b"),
        ] {
            assert_eq!(normalized(path).as_deref(), Ok(normal), "{path}");
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        for (path, error) in [
            ("*", BadPath::NotAbsolute),
            ("", BadPath::NotAbsolute),
            ("/..", BadPath::AboveRoot),
            ("/a/../../b", BadPath::AboveRoot),
            ("/a/%2e%2e/b", BadPath::DotSegment),
            ("/a/.%2E", BadPath::DotSegment),
            ("/%2e", BadPath::DotSegment),
            ("/a%00", BadPath::Byte),
            ("/a%0d", BadPath::Byte),
            ("/a%5cb", BadPath::Byte),
            ("/a\\b", BadPath::Byte),
            ("/%", BadPath::Percent),
            ("/%f", BadPath::Percent),
            ("/%gg", BadPath::Percent),
            ("/é", BadPath::Byte),
        ] {
            assert_eq!(normalized(path), Err(error), "{path}");
        }
    }

    #[test]
    fn a_host_has_one_form() {
        for (named, normal) in [
            ("Shop.Example:8080", "shop.example"),
            ("shop.example.", "shop.example"),
            ("[::1]:80", "[::1]"),
            ("[::1]", "[::1]"),
            ("127.0.0.1", "127.0.0.1"),
        ] {
            assert_eq!(host(&head("/", &[named])), normal);
        }
        let absolute = head("http://Other/x", &["shop"]);
        assert_eq!(host(&absolute), "other", "the target goes before the field (RFC 9112, 3.2.2)");
        assert_eq!(host(&head("/", &[])), "");
    }

    fn head(target: &str, hosts: &[&str]) -> Parts {
        let request = hosts.iter().fold(Request::get(target), |request, host| request.header("host", *host));
        request.body(()).expect("valid").into_parts().0
    }

    #[test]
    fn the_host_of_the_target_is_the_one_that_guests_see() {
        let mut absolute = head("http://shop.example:80/%61", &["other.example"]);
        normalize(&mut absolute).expect("one host");
        assert_eq!(absolute.headers["host"], "shop.example:80");
        assert_eq!(absolute.uri, "http://shop.example:80/a");
    }

    #[test]
    fn a_host_that_can_be_read_in_two_ways_is_refused() {
        for (target, hosts) in [
            ("/", &["a.example", "b.example"][..]),
            ("/", &["a.example", "a.example"]),
            ("http://a.example/", &["a.example", "b.example"]),
            ("/", &["a.example, b.example"]),
            ("/", &["user@a.example"]),
            ("/", &["a.example/b"]),
            ("/", &["b\u{fc}cher.example"]),
            ("http://user@a.example/", &[]),
        ] {
            let refused = normalize(&mut head(target, hosts));
            assert!(matches!(refused, Err(Failure::BadTarget { .. })), "{target} {hosts:?}");
        }
        for hosts in [&[][..], &[""], &["[::1]:80"], &["a_b.example:8080"]] {
            assert!(normalize(&mut head("/", hosts)).is_ok(), "{hosts:?}");
        }
    }

    proptest! {
        #[test]
        fn a_normal_path_stays_as_it_is(path in "/[a-c./%2eEfF0-1]{0,16}") {
            if let Ok(normal) = normalized(&path) {
                prop_assert_eq!(normalized(&normal), Ok(Cow::Borrowed(&*normal)));
                prop_assert!(normal.split('/').all(|segment| segment != "." && segment != ".."));
            }
        }
    }
}
