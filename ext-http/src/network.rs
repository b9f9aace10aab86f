//! Where a guest's connections come from and go to.

pub(crate) mod pipe;
pub(crate) mod virtual_inbound;

use std::{net::SocketAddr, sync::Arc};

use crate::outbound::Outbound;

pub use pipe::VirtualStream;
pub use virtual_inbound::{Connector, VirtualInbound, virtual_inbound};

/// The network of one instance.
#[derive(Debug)]
pub struct Network {
    /// Whether and where the guest may listen.
    pub inbound: Inbound,
    /// Whom the guest may call.
    pub outbound: Arc<Outbound>,
}

/// Whether and where a guest may listen.
#[derive(Debug)]
pub enum Inbound {
    /// Nowhere: `sock_bind` and `sock_listen` fail with ACCES.
    Denied,
    /// In memory: connections come through a [`Connector`], whatever address the guest chooses.
    Virtual(VirtualInbound),
    /// On the host's addresses which the rules name.
    Real(Vec<InboundRule>),
}

/// Permission to listen: the guest's address, and the host's which is really bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InboundRule {
    /// The address the guest must ask for; `None` permits any. An unspecified IP matches every IP.
    pub guest: Option<SocketAddr>,
    /// The address to bind instead; port 0 lets the system choose.
    pub host: SocketAddr,
}

impl InboundRule {
    pub(crate) fn permits(&self, asked: SocketAddr) -> bool {
        self.guest.is_none_or(|guest| {
            guest.port() == asked.port() && (guest.ip() == asked.ip() || guest.ip().is_unspecified())
        })
    }
}

/// `[GUEST_ADDR=]HOST_ADDR`, each `IP:PORT`.
impl std::str::FromStr for InboundRule {
    type Err = std::net::AddrParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            Some((guest, host)) => Ok(Self { guest: Some(guest.parse()?), host: host.parse()? }),
            None => Ok(Self { guest: None, host: text.parse()? }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_may_name_the_guests_address() {
        let asked = "0.0.0.0:8080".parse().expect("valid");
        let any: InboundRule = "127.0.0.1:0".parse().expect("valid");
        assert!(any.permits(asked));
        let named: InboundRule = "0.0.0.0:8080=127.0.0.1:9000".parse().expect("valid");
        assert!(named.permits(asked));
        assert!(!named.permits("0.0.0.0:8081".parse().expect("valid")));
        assert!("8080".parse::<InboundRule>().is_err());
    }
}
