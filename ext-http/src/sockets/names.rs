//! Names that a guest has looked up, and what their addresses stand for.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use super::{Family, Sockets};
use crate::{
    abi::errno::Errno,
    outbound::{Refusal, Scheme},
};

/// Addresses handed out for names which `--resolve` maps to a port of their own: a benchmarking range (RFC 2544) that
/// no real peer has.
const SYNTHETIC_NET: [u8; 2] = [198, 18];
/// A guest which looks up more names than this is told to try again later.
const MAX_NAMES: usize = 4096;

/// Which name an address was handed out for, so that the policy can judge the name on connect.
#[derive(Default)]
pub(super) struct Names(HashMap<IpAddr, Name>);

#[derive(Clone)]
struct Name {
    name: String,
    /// Where to connect instead of the address handed out.
    target: Option<SocketAddr>,
}

impl Sockets {
    /// Asks the policy; the result is the address to dial.
    pub(super) fn permit(&self, scheme: Scheme, address: SocketAddr) -> Result<SocketAddr, Errno> {
        let name = self.names.0.get(&address.ip());
        let outbound = &self.network.outbound;
        let (result, target) = match name {
            Some(Name { name, target }) => {
                let target = target.unwrap_or(address);
                // The pattern is about the port which the guest asked for, the ranges about where it really leads.
                let checked = SocketAddr::new(target.ip(), address.port());
                (outbound.check_named(scheme, name, checked), target)
            }
            None => (outbound.check_address(scheme, address), address),
        };
        match result {
            Ok(()) => Ok(target),
            // A name's address may also be allowed as such.
            Err(_) if name.is_some() && outbound.check_address(scheme, address).is_ok() => Ok(target),
            Err(refusal) => {
                tracing::warn!("{refusal}");
                Err(Errno::Acces)
            }
        }
    }

    /// Resolves a name for a guest and remembers what its addresses stand for.
    pub(crate) async fn lookup(&mut self, name: &str, family: Family) -> Result<Vec<IpAddr>, Errno> {
        if let Ok(ip) = name.parse::<IpAddr>() {
            return if family == Family::of(SocketAddr::new(ip, 0)) { Ok(vec![ip]) } else { Err(Errno::AiAddrFamily) };
        }
        let found = match self.network.outbound.lookup(name).await {
            Ok(found) => found,
            Err(refusal @ Refusal::Unresolved { .. }) => {
                tracing::debug!("{refusal}");
                return Err(Errno::AiNoName);
            }
            Err(refusal) => {
                tracing::warn!("{refusal}");
                return Err(Errno::AiNoName);
            }
        };
        let fixed = self.network.outbound.resolution(name);
        if let Some(target) = fixed.and_then(|fixed| Some(SocketAddr::new(fixed.ip, fixed.port?))) {
            return match family {
                Family::Inet4 => Ok(vec![self.names.synthesize(name, target)?]),
                Family::Inet6 => Err(Errno::AiNoData),
            };
        }
        let found: Vec<_> = found.into_iter().filter(|&ip| Family::of(SocketAddr::new(ip, 0)) == family).collect();
        for &ip in &found {
            self.names.remember(ip, Name { name: name.to_owned(), target: None })?;
        }
        if found.is_empty() { Err(Errno::AiNoData) } else { Ok(found) }
    }
}

impl Names {
    fn synthesize(&mut self, name: &str, target: SocketAddr) -> Result<IpAddr, Errno> {
        if let Some((ip, _)) = self.0.iter().find(|(_, known)| known.name == name && known.target.is_some()) {
            return Ok(*ip);
        }
        let [high, low] = u16::try_from(self.0.len() + 1).map_err(|_| Errno::AiMemory)?.to_be_bytes();
        let ip = Ipv4Addr::new(SYNTHETIC_NET[0], SYNTHETIC_NET[1], high, low).into();
        self.remember(ip, Name { name: name.to_owned(), target: Some(target) })?;
        Ok(ip)
    }

    fn remember(&mut self, ip: IpAddr, name: Name) -> Result<(), Errno> {
        if self.0.len() >= MAX_NAMES && !self.0.contains_key(&ip) {
            return Err(Errno::AiAgain);
        }
        self.0.insert(ip, name);
        Ok(())
    }
}
