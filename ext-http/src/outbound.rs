//! The one outbound door: whom a guest may call, by sockets or by HTTP.
//!
//! Everything is denied unless a [`Pattern`] allows it. Names are resolved here and every address is checked, so that
//! a permitted name cannot lead into a private network; the address which was checked is the one that is dialled.

mod authorities;
mod body;
mod client;
mod guard;
mod pattern;
mod policy;
mod resolve;
mod tls;
mod usage;

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, OnceLock},
};

pub use authorities::{Authorities, AuthorityError};
pub use body::AnswerBody;
pub use client::RequestError;
pub use pattern::{Pattern, PatternError, Scheme};
pub use policy::{OutboundPolicy, Refusal, Resolution};
pub(crate) use tls::certificate_hint;
pub(crate) use usage::Call;
pub use usage::{OutboundLimits, Usage};

use resolve::{Purpose, Resolver};

/// The door of one app on one worker: the policy, and clients with their connection pools.
#[derive(Debug, Default)]
pub struct Outbound {
    resolver: Resolver,
    /// One per purpose, so that a resolver can judge all of the target: the client tells it no more than a name.
    clients: Mutex<BTreeMap<Purpose, reqwest::Client>>,
    tls: OnceLock<Arc<rustls::ClientConfig>>,
}

impl Outbound {
    /// A door with these rules.
    pub fn new(policy: Arc<OutboundPolicy>) -> Self {
        Self { resolver: Resolver { policy, ..Resolver::default() }, ..Self::default() }
    }

    fn policy(&self) -> &OutboundPolicy {
        &self.resolver.policy
    }

    pub(crate) fn limits(&self) -> OutboundLimits {
        self.policy().limits
    }

    /// What TLS is spoken with: made at the first call that needs it.
    pub(crate) fn tls(&self) -> Arc<rustls::ClientConfig> {
        let make = || Arc::new(tls::client_config(&self.policy().authorities));
        Arc::clone(self.tls.get_or_init(make))
    }

    /// Decides on a connection to a literal address.
    ///
    /// # Errors
    /// [`Refusal`], naming the address and why.
    pub fn check_address(&self, scheme: Scheme, address: SocketAddr) -> Result<(), Refusal> {
        self.check_named(scheme, &address.ip().to_string(), address)
    }

    /// Decides on a call to a name that leads to no address, but to something of the host's own.
    ///
    /// # Errors
    /// [`Refusal`], naming it.
    pub fn check_name(&self, scheme: Scheme, name: &str, port: u16) -> Result<(), Refusal> {
        self.policy().check_host(scheme, name, port)
    }

    /// Decides on a connection to `address`, to which `name` led.
    pub(crate) fn check_named(&self, scheme: Scheme, name: &str, address: SocketAddr) -> Result<(), Refusal> {
        self.policy().check_host(scheme, name, address.port())?;
        self.policy().check_address(scheme, name, address)
    }

    /// The fixed address of a name, if it has one.
    pub(crate) fn resolution(&self, name: &str) -> Option<Resolution> {
        self.policy().resolution(name)
    }

    /// Looks a name up for a guest's sockets. Where it leads is judged again when the guest connects, with the port.
    pub(crate) async fn lookup(&self, name: &str) -> Result<Vec<IpAddr>, Refusal> {
        if !self.policy().allow.iter().any(|pattern| pattern.mentions(name)) {
            return Err(Refusal::LookupNotAllowed { host: name.to_owned() });
        }
        let found: Vec<_> = self.resolver.find(name, 0).await?.iter().map(SocketAddr::ip).collect();
        for ip in &found {
            self.policy().check_lookup(name, *ip)?;
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests;
