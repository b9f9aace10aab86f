//! Names that the program has looked up, and the addresses which stand for them.
//!
//! Nothing is resolved here: the host of `wasi:http` does that, and judges names. Each name gets an address that no real
//! peer has, which leads back to it on connect.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use prewasm_translation::Authority;

use crate::{address::Family, errno::Errno};

/// A benchmarking range (RFC 2544), of which each name gets an address: 198.18.0.0/15.
const NET: u32 = u32::from_be_bytes([198, 18, 0, 0]);
const NET_BITS: u32 = 15;
/// A program which looks up more names than this is told to try again later.
const MAX_NAMES: usize = 4096;
/// RFC 1035, 2.3.4.
const MAX_NAME: usize = 255;
/// Where name servers listen. None is there to be asked.
#[cfg(not(feature = "sockets"))]
pub(crate) const DNS_PORT: u16 = 53;

/// The names, the first of which has the net's address 1.
#[derive(Debug, Default)]
pub(crate) struct Names(Vec<String>);

impl Names {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    /// The address of a name, or of what looks like one itself.
    pub(crate) fn look_up(&mut self, name: &str, family: Family) -> Result<IpAddr, Errno> {
        if let Ok(ip) = name.parse::<IpAddr>() {
            return if family == Family::of(ip) { Ok(ip) } else { Err(Errno::AiAddrFamily) };
        }
        if !is_name(name) {
            return Err(Errno::AiNoName);
        }
        if family == Family::Inet6 {
            return Err(Errno::AiNoData);
        }
        let place = match self.0.iter().position(|known| known.eq_ignore_ascii_case(name)) {
            Some(place) => place,
            None if self.0.len() < MAX_NAMES => {
                self.0.push(name.to_owned());
                self.0.len() - 1
            }
            None => return Err(Errno::AiAgain),
        };
        let offset = u32::try_from(place + 1).map_err(|_| Errno::AiAgain)?;
        Ok(Ipv4Addr::from(NET | offset).into())
    }

    /// Whom an address stands for.
    pub(crate) fn target(&self, address: SocketAddr) -> Result<Authority, Errno> {
        let host = match address.ip() {
            IpAddr::V4(ip) if u32::from(ip) >> (32 - NET_BITS) == NET >> (32 - NET_BITS) => {
                let place = (u32::from(ip) - NET).checked_sub(1).and_then(|place| usize::try_from(place).ok());
                place.and_then(|place| self.0.get(place)).cloned().ok_or(Errno::HostUnreach)?
            }
            ip => spell(ip),
        };
        Ok(Authority { host, port: address.port() })
    }
}

/// Letters, digits, and what stands between them; hosts are stricter, and this only keeps out what could not stand in
/// a URL.
pub(crate) fn is_name(name: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !name.is_empty() && name.len() <= MAX_NAME && !name.starts_with('.') && name.bytes().all(is_part)
}

fn spell(ip: IpAddr) -> String {
    match ip {
        IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some() => {
            ip.to_ipv4_mapped().unwrap_or(Ipv4Addr::UNSPECIFIED).to_string()
        }
        ip => ip.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_address_which_leads_back() {
        let mut names = Names::new();
        let ip = names.look_up("example.com", Family::Inet4).expect("a name");
        assert_eq!(ip, IpAddr::from([198, 18, 0, 1]));
        assert_eq!(names.look_up("Example.COM", Family::Inet4), Ok(ip));
        let target = names.target(SocketAddr::new(ip, 80)).expect("known");
        assert_eq!((target.host.as_str(), target.port), ("example.com", 80));
        assert_eq!(names.target("198.19.0.0:1".parse().expect("valid")), Err(Errno::HostUnreach));
        assert_eq!(names.target("198.18.0.0:1".parse().expect("valid")), Err(Errno::HostUnreach));
        assert_eq!(names.target("10.0.0.1:1".parse().expect("valid")).expect("itself").host, "10.0.0.1");
    }

    #[test]
    fn names_are_checked_and_bounded() {
        let mut names = Names::new();
        assert_eq!(names.look_up("a/b", Family::Inet4), Err(Errno::AiNoName));
        assert_eq!(names.look_up("a", Family::Inet6), Err(Errno::AiNoData));
        assert_eq!(names.look_up("::1", Family::Inet4), Err(Errno::AiAddrFamily));
        for number in 0..MAX_NAMES {
            assert!(names.look_up(&format!("n{number}"), Family::Inet4).is_ok());
        }
        assert_eq!(names.look_up("last", Family::Inet4), Err(Errno::AiAgain));
        assert_eq!(names.look_up("n1", Family::Inet4), Ok([198, 18, 0, 2].into()));
    }
}
