//! The rules of an app's calls out, and what they say to one target.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use super::{Authorities, OutboundLimits, Pattern, Scheme, guard};

/// The rules of an app: what is allowed, names with fixed addresses, and how much an instance may use.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OutboundPolicy {
    /// What may be called.
    pub allow: Vec<Pattern>,
    /// Names whose address is given rather than looked up.
    pub resolve: BTreeMap<String, Resolution>,
    /// Certificate authorities trusted for HTTPS besides the public ones.
    pub authorities: Authorities,
    /// Where we listen ourselves: a guest must not come back through our own front door unless it is named.
    pub listeners: Vec<SocketAddr>,
    /// What one instance may use up.
    pub limits: OutboundLimits,
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
    /// The instance has as many connections as it may.
    #[error("the guest has {limit} outgoing connections already, which is the limit")]
    TooManyConnections {
        /// The limit.
        limit: u32,
    },
    /// The instance has transferred as much as it may.
    #[error("the guest has transferred {limit} bytes on outgoing connections, which is the limit")]
    TooManyBytes {
        /// The limit.
        limit: u64,
    },
}

impl OutboundPolicy {
    /// Whether some pattern allows the target as the guest names it.
    pub(super) fn check_host(&self, scheme: Scheme, host: &str, port: u16) -> Result<(), Refusal> {
        if self.allow.iter().any(|pattern| pattern.allows(scheme, host, port)) {
            Ok(())
        } else {
            Err(Refusal::NotAllowed { scheme, host: host.to_owned(), port })
        }
    }

    /// Checks where `host` leads against the guarded ranges and our own listeners, unless that is named literally.
    pub(super) fn check_address(&self, scheme: Scheme, host: &str, address: SocketAddr) -> Result<(), Refusal> {
        let range = guard::guarded_range(address.ip()).or_else(|| guard::own_listener(&self.listeners, address));
        match range {
            Some(range) if !self.names(scheme, host, address) => {
                Err(Refusal::Guarded { host: host.to_owned(), address: address.ip(), range })
            }
            _ => Ok(()),
        }
    }

    /// Checks an address to which `name` leads, before it is known what the guest wants there: it must not learn about
    /// networks that it can never reach.
    pub(super) fn check_lookup(&self, name: &str, ip: IpAddr) -> Result<(), Refusal> {
        match guard::guarded_range(ip) {
            Some(range) if !self.is_literal(name, ip, |pattern, host| pattern.mentions(host), |_| true) => {
                Err(Refusal::Guarded { host: name.to_owned(), address: ip, range })
            }
            _ => Ok(()),
        }
    }

    /// Whether `host`'s address is named as such, for this scheme and port.
    fn names(&self, scheme: Scheme, host: &str, address: SocketAddr) -> bool {
        let port = address.port();
        let allows = |pattern: &Pattern, host: &str| pattern.allows(scheme, host, port);
        self.is_literal(host, address.ip(), allows, |fixed| fixed == port)
    }

    fn is_literal(
        &self,
        host: &str,
        ip: IpAddr,
        allows: impl Fn(&Pattern, &str) -> bool,
        port_fits: impl Fn(u16) -> bool,
    ) -> bool {
        let host = without_dot(host);
        // `localhost` is as good as a loopback address.
        let is_localhost = ip.is_loopback() && host.eq_ignore_ascii_case("localhost");
        let literal = ip.to_string();
        let by_pattern = |pattern: &Pattern| allows(pattern, &literal) || (is_localhost && allows(pattern, host));
        self.allow.iter().any(|pattern| pattern.is_literal() && by_pattern(pattern))
            || self.resolution(host).is_some_and(|resolution| resolution.ip == ip)
            || self.resolve.values().any(|resolution| resolution.ip == ip && resolution.port.is_none_or(&port_fits))
    }

    /// The fixed address of a name, if it has one.
    pub(super) fn resolution(&self, name: &str) -> Option<Resolution> {
        self.resolve.get(&without_dot(name).to_ascii_lowercase()).copied()
    }
}

/// A name with a dot at its end is the same name, not to be searched for in the system's domains.
fn without_dot(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}
