//! Patterns of the outbound allow list, in Spin's notation.

use std::{fmt, net::IpAddr, ops::Range, str::FromStr};

use ipnet::IpNet;

/// How a guest calls out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scheme {
    /// Plain HTTP through wasi:http.
    Http,
    /// HTTPS through wasi:http or the plugin.
    Https,
    /// A stream socket; what is spoken on it is not known.
    Tcp,
    /// A datagram socket.
    Udp,
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// `SCHEME://HOST[:PORT]`.
///
/// SCHEME is `http`, `https`, `tcp`, `udp` or `*`; a stream socket may go wherever `http`, `https` or `tcp` is allowed,
/// datagrams only where `udp` is. HOST is a name, `*.suffix`, `*`, an address or a CIDR block. PORT is a number, a range `FROM..TO` (TO excluded) or `*`, and
/// defaults to that of `http` and `https`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    scheme: Option<Scheme>,
    host: HostPattern,
    ports: Range<u32>,
}

const ALL_PORTS: Range<u32> = 0..65536;

#[derive(Clone, Debug, PartialEq, Eq)]
enum HostPattern {
    Any,
    Name(String),
    Suffix(String),
    Network(IpNet),
}

/// Why a pattern cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// There is no `://`.
    #[error("`{0}` has no scheme\n  hint: write `http://{0}`, `tcp://HOST:PORT` or `*://{0}`")]
    NoScheme(String),
    /// A scheme we do not know.
    #[error("`{0}`: the scheme is not `http`, `https`, `tcp`, `udp` or `*`")]
    Scheme(String),
    /// A host we do not understand.
    #[error("`{0}`: the host is neither a name, `*.suffix`, `*`, an address nor a CIDR block")]
    Host(String),
    /// A port we do not understand, or a missing one.
    #[error("`{0}`: the port is neither a number, a range `FROM..TO` nor `*` (only http and https have a default)")]
    Port(String),
    /// More than scheme, host and port.
    #[error("`{0}`: a pattern ends after the port; paths cannot be told apart")]
    Path(String),
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let whole = || text.to_owned();
        let (scheme, rest) = text.split_once("://").ok_or_else(|| PatternError::NoScheme(whole()))?;
        let scheme = match scheme {
            "*" => None,
            "http" => Some(Scheme::Http),
            "https" => Some(Scheme::Https),
            "tcp" => Some(Scheme::Tcp),
            "udp" => Some(Scheme::Udp),
            _ => return Err(PatternError::Scheme(whole())),
        };
        let rest = rest.strip_suffix('/').filter(|rest| !rest.contains('/')).unwrap_or(rest);
        let (host, port) = split_port(rest);
        let host = HostPattern::parse(host).ok_or_else(|| {
            if host.contains('/') { PatternError::Path(whole()) } else { PatternError::Host(whole()) }
        })?;
        let ports = parse_ports(port, scheme).ok_or_else(|| PatternError::Port(whole()))?;
        Ok(Self { scheme, host, ports })
    }
}

/// As it could have been written; ports are always named.
impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheme, host, ports: Range { start, end } } = self;
        match scheme {
            Some(scheme) => write!(f, "{scheme}://{host}")?,
            None => write!(f, "*://{host}")?,
        }
        match *start + 1 == *end {
            true => write!(f, ":{start}"),
            false if self.ports == ALL_PORTS => f.write_str(":*"),
            false => write!(f, ":{start}..{end}"),
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Name(name) => f.write_str(name),
            Self::Suffix(suffix) => write!(f, "*.{suffix}"),
            Self::Network(network) => {
                let text = match network.prefix_len() == network.max_prefix_len() {
                    true => network.addr().to_string(),
                    false => network.to_string(),
                };
                if text.contains(':') { write!(f, "[{text}]") } else { f.write_str(&text) }
            }
        }
    }
}

/// Splits at the last colon, unless that is inside of the brackets of an IPv6 address.
fn split_port(rest: &str) -> (&str, Option<&str>) {
    match rest.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (rest, None),
    }
}

fn parse_ports(port: Option<&str>, scheme: Option<Scheme>) -> Option<Range<u32>> {
    let single = |port: u16| u32::from(port)..u32::from(port) + 1;
    match (port, scheme) {
        (None, Some(Scheme::Http)) => Some(single(80)),
        (None, Some(Scheme::Https)) => Some(single(443)),
        (None, _) => None,
        (Some("*"), _) => Some(ALL_PORTS),
        (Some(port), _) => match port.split_once("..") {
            Some((from, to)) => {
                let range = u32::from(from.parse::<u16>().ok()?)..u32::from(to.parse::<u16>().ok()?);
                (!range.is_empty()).then_some(range)
            }
            None => port.parse().ok().map(single),
        },
    }
}

impl HostPattern {
    fn parse(host: &str) -> Option<Self> {
        let literal = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if host == "*" {
            Some(Self::Any)
        } else if let Ok(ip) = literal.parse::<IpAddr>() {
            Some(Self::Network(ip.into()))
        } else if let Ok(network) = literal.parse::<IpNet>() {
            Some(Self::Network(network))
        } else if let Some(suffix) = host.strip_prefix("*.") {
            is_name(suffix).then(|| Self::Suffix(suffix.to_ascii_lowercase()))
        } else {
            is_name(host).then(|| Self::Name(host.to_ascii_lowercase()))
        }
    }

    fn matches(&self, host: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host);
        match self {
            Self::Any => true,
            Self::Name(name) => name.eq_ignore_ascii_case(host),
            Self::Suffix(suffix) => host
                .to_ascii_lowercase()
                .strip_suffix(suffix.as_str())
                .and_then(|rest| rest.strip_suffix('.'))
                .is_some_and(|rest| !rest.is_empty()),
            Self::Network(network) => host.parse::<IpAddr>().is_ok_and(|ip| network.contains(&ip)),
        }
    }
}

fn is_name(host: &str) -> bool {
    !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

impl Pattern {
    /// Whether a call with this scheme may go to `host`, a name or an address, at `port`.
    pub(crate) fn allows(&self, scheme: Scheme, host: &str, port: u16) -> bool {
        // What is spoken on a stream socket may be HTTP.
        let carries = |allowed| scheme == Scheme::Tcp && allowed != Scheme::Udp;
        let scheme_fits = self.scheme.is_none_or(|allowed| allowed == scheme || carries(allowed));
        scheme_fits && self.ports.contains(&u32::from(port)) && self.host.matches(host)
    }

    /// Whether this is `*://*:*`.
    #[cfg(feature = "wasmedge")]
    pub(crate) fn is_everything(&self) -> bool {
        self.scheme.is_none() && self.host == HostPattern::Any && self.ports == ALL_PORTS
    }

    /// Whether calls to some port of `host` are allowed.
    pub(crate) fn mentions(&self, host: &str) -> bool {
        self.host.matches(host)
    }

    /// Whether the pattern names addresses themselves, blocks of them, or `localhost`.
    pub(crate) fn is_literal(&self) -> bool {
        match &self.host {
            HostPattern::Network(_) => true,
            HostPattern::Name(name) => name == "localhost",
            HostPattern::Any | HostPattern::Suffix(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(pattern: &str, scheme: Scheme, host: &str, port: u16) -> bool {
        pattern.parse::<Pattern>().expect("valid pattern").allows(scheme, host, port)
    }

    #[test]
    fn matches_by_scheme_host_and_port() {
        assert!(allows("https://api.example.com", Scheme::Https, "API.example.com", 443));
        assert!(!allows("https://api.example.com", Scheme::Https, "api.example.com", 444));
        assert!(!allows("https://api.example.com", Scheme::Http, "api.example.com", 443));
        assert!(allows("http://api.example.com", Scheme::Tcp, "api.example.com", 80), "sockets carry HTTP too");
        assert!(allows("udp://8.8.8.8:53", Scheme::Udp, "8.8.8.8", 53));
        assert!(!allows("udp://8.8.8.8:53", Scheme::Tcp, "8.8.8.8", 53), "a stream is no datagram");
        assert!(!allows("tcp://8.8.8.8:53", Scheme::Udp, "8.8.8.8", 53), "nor the other way round");
        assert!(allows("*://8.8.8.8:*", Scheme::Udp, "8.8.8.8", 53));
        assert!(allows("*://*.example.com:*", Scheme::Tcp, "a.b.example.com", 1));
        assert!(!allows("*://*.example.com:*", Scheme::Tcp, "example.com", 1));
        assert!(!allows("*://*.example.com:*", Scheme::Tcp, "badexample.com", 1));
        assert!(allows("tcp://10.0.0.0/8:5432", Scheme::Tcp, "10.9.9.9", 5432));
        assert!(allows("http://[::1]:8000", Scheme::Http, "::1", 8000));
        assert!(allows("tcp://db:1000..1002", Scheme::Tcp, "db", 1001));
        assert!(!allows("tcp://db:1000..1002", Scheme::Tcp, "db", 1002));
    }

    #[test]
    fn says_what_is_wrong_with_a_pattern() {
        let error = |text: &str| text.parse::<Pattern>().expect_err(text);
        assert!(matches!(error("example.com"), PatternError::NoScheme(_)));
        assert!(matches!(error("gopher://example.com"), PatternError::Scheme(_)));
        assert!(matches!(error("http://exa mple"), PatternError::Host(_)));
        assert!(matches!(error("http://a.b/path"), PatternError::Path(_)));
        assert!(matches!(error("tcp://a.b"), PatternError::Port(_)));
        assert!(matches!(error("tcp://a.b:9..3"), PatternError::Port(_)));
    }

    #[test]
    fn what_is_printed_is_the_same_pattern() {
        for text in [
            "*://*:*",
            "https://api.example.com",
            "udp://8.8.8.8:53",
            "tcp://10.0.0.0/8:1..9",
            "http://[::1]:8000",
            "tcp://[fe80::/10]:65535",
            "*://*.example.com:80",
        ] {
            let pattern: Pattern = text.parse().expect("valid pattern");
            assert_eq!(pattern.to_string().parse(), Ok(pattern), "{text}");
        }
    }
}
