//! The one outbound door: whom a guest may call, by sockets or by HTTP.
//!
//! Everything is denied unless a [`Pattern`] allows it. Names are resolved here and every address is checked, so that
//! a permitted name cannot lead into a private network; the address which was checked is the one that is dialled.

mod authorities;
mod client;
mod guard;
mod pattern;

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, OnceLock},
};

pub use authorities::{Authorities, AuthorityError};
pub use client::{AnswerBody, RequestError};
pub use pattern::{Pattern, PatternError, Scheme};

/// The rules of an app: what is allowed, and names with fixed addresses.
#[derive(Clone, Debug, Default)]
pub struct OutboundPolicy {
    /// What may be called.
    pub allow: Vec<Pattern>,
    /// Names whose address is given rather than looked up.
    pub resolve: BTreeMap<String, Resolution>,
    /// Certificate authorities trusted for HTTPS besides the public ones.
    pub authorities: Authorities,
}

/// `IP[:PORT]`: where a name leads. A port replaces the one that the guest asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resolution {
    /// The address.
    pub ip: IpAddr,
    /// The port to dial instead of the guest's.
    pub port: Option<u16>,
}

impl std::str::FromStr for Resolution {
    type Err = std::net::AddrParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse::<IpAddr>() {
            Ok(ip) => Ok(Self { ip, port: None }),
            Err(_) => {
                let address: SocketAddr = text.parse()?;
                Ok(Self { ip: address.ip(), port: Some(address.port()) })
            }
        }
    }
}

/// Why a call was not let out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No pattern allows it.
    #[error(
        "outbound call to `{scheme}://{host}:{port}` is not allowed\n  hint: allow it with `--allow-outbound {scheme}://{host}:{port}`"
    )]
    NotAllowed {
        /// The scheme which the guest uses.
        scheme: Scheme,
        /// Name or address, as the guest gave it.
        host: String,
        /// The port.
        port: u16,
    },
    /// No pattern allows any port of this name, so it is not even looked up.
    #[error("looking up `{host}` is not allowed\n  hint: allow calls to it with `--allow-outbound *://{host}:*`")]
    LookupNotAllowed {
        /// The name.
        host: String,
    },
    /// The address is in a range which patterns with names or wildcards never reach.
    #[error(
        "`{host}` leads to {address}, which is {range}\n  hint: name the address itself with `--allow-outbound`, or map the name with `--resolve`"
    )]
    Guarded {
        /// Name or address, as the guest gave it.
        host: String,
        /// The address it leads to.
        address: IpAddr,
        /// What is special about it.
        range: &'static str,
    },
    /// The name does not resolve.
    #[error("`{host}` does not resolve to an address")]
    Unresolved {
        /// The name.
        host: String,
    },
}

/// The door of one app on one worker: the policy, and a client with its connection pool.
#[derive(Debug, Default)]
pub struct Outbound {
    policy: Arc<OutboundPolicy>,
    client: OnceLock<reqwest::Client>,
}

impl Outbound {
    /// A door with these rules.
    pub fn new(policy: Arc<OutboundPolicy>) -> Self {
        Self { policy, client: OnceLock::new() }
    }

    /// Decides on a connection to a literal address.
    pub(crate) fn check_address(&self, scheme: Scheme, address: SocketAddr) -> Result<(), Refusal> {
        let host = address.ip().to_string();
        self.policy.check_host(scheme, &host, address.port())?;
        self.policy.check_ip(&host, address.ip())
    }

    /// Decides on a connection to `ip`, to which `name` led.
    pub(crate) fn check_named(&self, scheme: Scheme, name: &str, address: SocketAddr) -> Result<(), Refusal> {
        self.policy.check_host(scheme, name, address.port())?;
        self.policy.check_ip(name, address.ip())
    }

    /// The fixed address of a name, if it has one.
    pub(crate) fn resolution(&self, name: &str) -> Option<Resolution> {
        self.policy.resolve.get(&name.to_ascii_lowercase()).copied()
    }

    /// Looks a name up for a guest's sockets: IPv4 only, for that is all that published guests take.
    pub(crate) async fn lookup_ipv4(&self, name: &str) -> Result<Vec<Ipv4Addr>, Refusal> {
        if !self.policy.allow.iter().any(|pattern| pattern.mentions(name)) {
            return Err(Refusal::LookupNotAllowed { host: name.to_owned() });
        }
        let addresses = self.policy.resolve_checked(name, 0).await?;
        let found: Vec<_> = addresses
            .iter()
            .filter_map(|address| match address.ip() {
                IpAddr::V4(ip) => Some(ip),
                IpAddr::V6(_) => None,
            })
            .collect();
        if found.is_empty() { Err(Refusal::Unresolved { host: name.to_owned() }) } else { Ok(found) }
    }
}

impl OutboundPolicy {
    fn check_host(&self, scheme: Scheme, host: &str, port: u16) -> Result<(), Refusal> {
        if self.allow.iter().any(|pattern| pattern.allows(scheme, host, port)) {
            Ok(())
        } else {
            Err(Refusal::NotAllowed { scheme, host: host.to_owned(), port })
        }
    }

    /// Checks an address against the guarded ranges, unless it was named literally.
    fn check_ip(&self, host: &str, ip: IpAddr) -> Result<(), Refusal> {
        let named = self.allow.iter().any(|pattern| pattern.names(ip) || pattern.names_localhost(host, ip))
            || self.resolve.values().any(|resolution| resolution.ip == ip);
        match guard::guarded_range(ip) {
            Some(range) if !named => Err(Refusal::Guarded { host: host.to_owned(), address: ip, range }),
            _ => Ok(()),
        }
    }

    /// Resolves a name; every address must be permitted, for any of them may be dialled.
    async fn resolve_checked(&self, name: &str, port: u16) -> Result<Vec<SocketAddr>, Refusal> {
        if let Some(resolution) = self.resolve.get(&name.to_ascii_lowercase()) {
            return Ok(vec![SocketAddr::new(resolution.ip, resolution.port.unwrap_or(port))]);
        }
        let unresolved = || Refusal::Unresolved { host: name.to_owned() };
        let addresses: Vec<_> = tokio::net::lookup_host((name, port)).await.map_err(|_| unresolved())?.collect();
        if addresses.is_empty() {
            return Err(unresolved());
        }
        for address in &addresses {
            self.check_ip(name, address.ip())?;
        }
        Ok(addresses)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outbound(allow: &[&str], resolve: &[(&str, &str)]) -> Outbound {
        Outbound::new(Arc::new(OutboundPolicy {
            allow: allow.iter().map(|text| text.parse().expect("valid pattern")).collect(),
            resolve: resolve
                .iter()
                .map(|(name, to)| ((*name).to_owned(), to.parse().expect("valid resolution")))
                .collect(),
            authorities: Authorities::default(),
        }))
    }

    #[test]
    fn nothing_is_allowed_by_default() {
        let refusal =
            outbound(&[], &[]).check_address(Scheme::Tcp, "1.1.1.1:80".parse().expect("valid")).expect_err("denied");
        assert!(refusal.to_string().contains("--allow-outbound tcp://1.1.1.1:80"), "{refusal}");
    }

    #[test]
    fn wildcards_do_not_reach_guarded_ranges() {
        let all = outbound(&["*://*:*"], &[]);
        assert!(all.check_address(Scheme::Tcp, "1.1.1.1:80".parse().expect("valid")).is_ok());
        for guarded in ["127.0.0.1:80", "169.254.169.254:80", "10.1.2.3:80", "[::1]:80", "[::ffff:127.0.0.1]:80"] {
            let address = guarded.parse().expect("valid");
            let refusal = all.check_address(Scheme::Tcp, address).expect_err(guarded);
            assert!(matches!(refusal, Refusal::Guarded { .. }), "{refusal}");
        }
        let literal = outbound(&["http://127.0.0.1:8000"], &[]);
        assert!(literal.check_address(Scheme::Tcp, "127.0.0.1:8000".parse().expect("valid")).is_ok());
        assert!(literal.check_address(Scheme::Tcp, "127.0.0.1:8001".parse().expect("valid")).is_err());
    }

    #[tokio::test]
    async fn a_name_is_looked_up_only_if_some_pattern_allows_it() {
        let outbound =
            outbound(&["http://api.test:80"], &[("api.test", "127.0.0.1:8000"), ("other.test", "127.0.0.1")]);
        assert_eq!(outbound.lookup_ipv4("api.test").await, Ok(vec![Ipv4Addr::LOCALHOST]));
        let refusal = outbound.lookup_ipv4("other.test").await.expect_err("denied");
        assert!(matches!(refusal, Refusal::LookupNotAllowed { .. }), "{refusal}");
    }
}
