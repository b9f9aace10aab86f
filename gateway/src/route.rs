//! Routes as they are written: for which hosts, methods and paths.

use std::{collections::BTreeSet, fmt, net::Ipv6Addr, str::FromStr};

use http::Method;

use crate::target::{BadPath, normalized};

/// The hosts of a route. A more specific pattern goes before a less specific one: an exact name, then the longest
/// suffix, then all.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HostPattern {
    /// This name (`shop.example`), or this address.
    Exact(String),
    /// All names below this one (`*.shop.example`), but not the name itself.
    Suffix(String),
    /// All hosts (`*`), and requests that name none.
    Any,
}

/// Why a host is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostPatternError {
    /// It names more than a host.
    #[error("`{host}` is not a host\n  hint: write a name without scheme, port and path, as `shop.example`")]
    NotAHost {
        /// What was written.
        host: String,
    },
    /// It is not ASCII.
    #[error(
        "`{host}` is not ASCII, as host names in requests are\n  hint: write it as punycode, which starts with `xn--`"
    )]
    NotAscii {
        /// What was written.
        host: String,
    },
    /// A star anywhere else than at the beginning.
    #[error("`{host}` has a `*` where there can be none\n  hint: write `*.shop.example`, or `*` for all hosts")]
    Star {
        /// What was written.
        host: String,
    },
}

impl FromStr for HostPattern {
    type Err = HostPatternError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let host = text.strip_suffix('.').filter(|host| *host != "*").unwrap_or(text).to_ascii_lowercase();
        if !host.is_ascii() {
            return Err(HostPatternError::NotAscii { host: text.to_owned() });
        }
        if host == "*" {
            return Ok(Self::Any);
        }
        let (is_suffix, name) = match host.strip_prefix("*.") {
            Some(name) => (true, name),
            None => (false, host.as_str()),
        };
        if name.contains('*') {
            return Err(HostPatternError::Star { host: text.to_owned() });
        }
        let is_name = !name.is_empty()
            && name.split('.').all(|label| !label.is_empty())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
        match (is_suffix, is_name, address(name)) {
            (true, true, _) => Ok(Self::Suffix(name.to_owned())),
            (false, true, _) => Ok(Self::Exact(name.to_owned())),
            (false, false, Some(address)) => Ok(Self::Exact(format!("[{address}]"))),
            _ => Err(HostPatternError::NotAHost { host: text.to_owned() }),
        }
    }
}

/// An address in brackets, as in requests; clients write it in the form that RFC 5952 recommends.
fn address(host: &str) -> Option<Ipv6Addr> {
    host.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Suffix(name) => write!(f, "*.{name}"),
            Self::Any => f.write_str("*"),
        }
    }
}

/// Methods and paths: `/exact`, `/users/:id`, `/prefix/...`, with methods in front if not for all (`GET,POST /form`).
///
/// The path is written as in Spin's HTTP trigger. `:name` stands for one segment that is not empty; `/...` at the end for
/// anything, and for nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Route {
    methods: BTreeSet<String>,
    pub(crate) segments: Vec<Segment>,
    /// Whether more may follow the segments.
    pub(crate) is_prefix: bool,
}

/// What stands between two slashes of a route.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Segment {
    Literal(String),
    /// Any one segment that is not empty.
    Named(String),
}

/// Why a route is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// The path does not begin with a slash.
    #[error("route `{route}` has no path that begins with `/`\n  hint: write `/path`, `/path/...` or `GET /path`")]
    NoPath {
        /// What was written.
        route: String,
    },
    /// What stands before the path is no method.
    #[error("`{method}` in route `{route}` is not a method\n  hint: methods are upper case: `GET,POST /path`")]
    Method {
        /// What was written.
        route: String,
        /// The part.
        method: String,
    },
    /// Dots anywhere else than at the end.
    #[error("route `{route}` has `...` before its end")]
    Dots {
        /// What was written.
        route: String,
    },
    /// A wildcard of another kind.
    #[error("route `{route}` has a `*`\n  hint: write `/...` for all that follows, and `:name` for one segment")]
    Star {
        /// What was written.
        route: String,
    },
    /// A name that is none, or there twice.
    #[error("`:{name}` in route `{route}` is not a name of its own")]
    Name {
        /// What was written.
        route: String,
        /// The name.
        name: String,
    },
    /// A character that paths have only encoded.
    #[error("route `{route}` has a `{character}`, which no path has\n  hint: write it as `{encoded}`", encoded = encoded(*character))]
    Character {
        /// What was written.
        route: String,
        /// The character.
        character: char,
    },
    /// The path is none that a request could have.
    #[error("route `{route}` can match no request")]
    Path {
        /// What was written.
        route: String,
        /// Why not.
        #[source]
        source: BadPath,
    },
}

impl Route {
    /// All requests.
    pub fn everything() -> Self {
        Self { methods: BTreeSet::new(), segments: Vec::new(), is_prefix: true }
    }

    /// Whether the route holds for this method. Where GET is answered, HEAD is, too (RFC 9110, 9.3.2).
    pub(crate) fn allows(&self, method: &Method) -> bool {
        let has = |name: &str| self.methods.contains(name);
        self.methods.is_empty() || has(method.as_str()) || (method == Method::HEAD && has("GET"))
    }

    /// The methods, if not all.
    pub(crate) fn methods(&self) -> impl Iterator<Item = &str> {
        self.methods.iter().map(String::as_str)
    }

    /// Whether some method leads to both.
    pub fn shares_a_method_with(&self, other: &Self) -> bool {
        self.methods.is_empty() || other.methods.is_empty() || !self.methods.is_disjoint(&other.methods)
    }
}

impl FromStr for Route {
    type Err = RouteError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let route = || text.to_owned();
        let (methods, path) = match text.split_once(' ') {
            Some((methods, path)) => (methods.split(',').map(str::trim).collect(), path.trim_start()),
            None => (Vec::new(), text),
        };
        for method in &methods {
            let is_method = !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-');
            if !is_method {
                return Err(RouteError::Method { route: route(), method: (*method).to_owned() });
            }
        }
        if !path.starts_with('/') {
            return Err(RouteError::NoPath { route: route() });
        }
        let (path, is_prefix) = match path.strip_suffix("/...") {
            Some(path) => (path, true),
            None => (path, false),
        };
        if path.contains("...") {
            return Err(RouteError::Dots { route: route() });
        }
        if path.contains('*') {
            return Err(RouteError::Star { route: route() });
        }
        if let Some(character) = path.chars().find(|character| !is_of_path(*character)) {
            return Err(RouteError::Character { route: route(), character });
        }
        let mut segments = Vec::new();
        // The path of a prefix may be empty: then there is no segment.
        for segment in path.split('/').skip(1) {
            segments.push(match segment.strip_prefix(':') {
                Some(name) => Segment::Named(name.to_owned()),
                None => Segment::Literal(segment.to_owned()),
            });
        }
        check_names(&segments).map_err(|name| RouteError::Name { route: route(), name })?;
        for segment in &mut segments {
            if let Segment::Literal(literal) = segment {
                // A path that a request can have is one that does not change by being normalized.
                let path = format!("/{literal}");
                let path = normalized(&path).map_err(|source| RouteError::Path { route: route(), source })?;
                let stays_one = !matches!(literal.as_str(), "." | "..");
                if !stays_one {
                    return Err(RouteError::Path { route: route(), source: BadPath::DotSegment });
                }
                *literal = path[1..].to_owned();
            }
        }
        Ok(Self { methods: methods.into_iter().map(str::to_owned).collect(), segments, is_prefix })
    }
}

/// Whether a path can have this character as it is; controls and `\` it has in no form, which [`normalized`] reports.
fn is_of_path(character: char) -> bool {
    character.is_ascii() && !" #<>?`".contains(character)
}

fn encoded(character: char) -> String {
    let mut bytes = [0; 4];
    character.encode_utf8(&mut bytes).bytes().map(|byte| format!("%{byte:02X}")).collect()
}

fn check_names(segments: &[Segment]) -> Result<(), String> {
    let mut names = BTreeSet::new();
    for segment in segments {
        let Segment::Named(name) = segment else { continue };
        let is_name =
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        if !is_name || !names.insert(name) {
            return Err(name.clone());
        }
    }
    Ok(())
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.methods.is_empty() {
            write!(f, "{} ", self.methods.iter().map(String::as_str).collect::<Vec<_>>().join(","))?;
        }
        for segment in &self.segments {
            match segment {
                Segment::Literal(literal) => write!(f, "/{literal}")?,
                Segment::Named(name) => write!(f, "/:{name}")?,
            }
        }
        if self.is_prefix { f.write_str("/...") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_shown_as_it_is_written() {
        for text in ["/", "/...", "/a/b", "/a/", "/users/:id/...", "GET /health", "GET,POST /a/:b"] {
            assert_eq!(text.parse::<Route>().map(|route| route.to_string()).as_deref(), Ok(text));
        }
        assert_eq!("/a%62%2d/%c3%a9".parse::<Route>().expect("valid").to_string(), "/ab-/%C3%A9");
        assert_eq!("/...".parse(), Ok(Route::everything()));
    }

    #[test]
    fn what_is_no_route_is_refused_with_the_reason() {
        for (text, reason) in [
            ("a", "no path"),
            ("", "no path"),
            ("get /a", "not a method"),
            ("/a/.../b", "before its end"),
            ("/a...", "before its end"),
            ("/a/*", "has a `*`"),
            ("/:a/:a", "`:a`"),
            ("/:", "`:`"),
            ("/a/../b", "no request"),
            ("/%zz", "no request"),
            ("/a\\b", "no request"),
            ("/caf\u{e9}", "write it as `%C3%A9`"),
            ("GET /a b", "write it as `%20`"),
            ("/a?b", "write it as `%3F`"),
        ] {
            let error = text.parse::<Route>().expect_err(text).to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn hosts_are_exact_or_below_a_name_or_all() {
        assert_eq!("Shop.Example.".parse(), Ok(HostPattern::Exact("shop.example".into())));
        assert_eq!("*.shop.example".parse(), Ok(HostPattern::Suffix("shop.example".into())));
        assert_eq!("*".parse(), Ok(HostPattern::Any));
        assert_eq!("[::1]".parse(), Ok(HostPattern::Exact("[::1]".into())));
        assert_eq!("[0:0::1]".parse(), Ok(HostPattern::Exact("[::1]".into())));
        for wrong in [
            "",
            "a:80",
            "http://a",
            "a/b",
            "*.*.a",
            "a.*",
            "bücher.example",
            ".a",
            "a..b",
            "*.",
            "[a/b]",
            "[]",
            "*.[::1]",
            "::1",
        ] {
            assert!(wrong.parse::<HostPattern>().is_err(), "{wrong}");
        }
    }
}
