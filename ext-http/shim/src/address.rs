//! Socket addresses as the interface has them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::errno::Errno;

/// `family` values since WasmEdge 0.10.
pub(crate) const FAMILY_INET4: u8 = 1;
pub(crate) const FAMILY_INET6: u8 = 2;

/// Address family of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Inet4,
    Inet6,
}

impl Family {
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Inet4 => FAMILY_INET4,
            Self::Inet6 => FAMILY_INET6,
        }
    }

    pub(crate) fn of(ip: IpAddr) -> Self {
        if ip.is_ipv4() { Self::Inet4 } else { Self::Inet6 }
    }

    /// Any port of any address.
    pub(crate) fn any(self) -> SocketAddr {
        match self {
            Self::Inet4 => SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0),
            Self::Inet6 => SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0),
        }
    }

    pub(crate) fn loopback(self) -> IpAddr {
        match self {
            Self::Inet4 => Ipv4Addr::LOCALHOST.into(),
            Self::Inet6 => Ipv6Addr::LOCALHOST.into(),
        }
    }
}

/// Decodes a guest's buffer: 4 bytes are an IPv4 address, 16 an IPv6 address, 128 begin with the family. Only the low 16
/// bits of the port count.
pub(crate) fn read(bytes: &[u8], port: u32) -> Result<SocketAddr, Errno> {
    let [low, high, ..] = port.to_le_bytes();
    let ip = match bytes.len() {
        4 => ipv4(bytes)?,
        16 => ipv6(bytes)?,
        128 => match bytes[0] {
            FAMILY_INET4 => ipv4(&bytes[2..6])?,
            FAMILY_INET6 => ipv6(&bytes[2..18])?,
            _ => return Err(Errno::AfNoSupport),
        },
        _ => return Err(Errno::Inval),
    };
    Ok(SocketAddr::new(ip, u16::from_le_bytes([low, high])))
}

/// A word of an address. Word 0: family, and the port from bit 16 on; words 1 and 2: the address.
pub(crate) fn word(address: SocketAddr, word: u32) -> i64 {
    match word {
        0 => i64::from(Family::of(address.ip()).number()) | i64::from(address.port()) << 16,
        _ => ip_word(address.ip(), word).cast_signed(),
    }
}

/// Words 1 and 2 of an address: its bytes in their order, little-endian.
pub(crate) fn ip_word(ip: IpAddr, word: u32) -> u64 {
    let mut bytes = [0; 16];
    match ip {
        IpAddr::V4(ip) => bytes[..4].copy_from_slice(&ip.octets()),
        IpAddr::V6(ip) => bytes = ip.octets(),
    }
    let [a, b, c, d, e, f, g, h, rest @ ..] = bytes;
    match word {
        1 => u64::from_le_bytes([a, b, c, d, e, f, g, h]),
        2 => u64::from_le_bytes(rest),
        _ => 0,
    }
}

/// An address from its words.
pub(crate) fn from_words(family: Family, port: u16, first: u64, second: u64) -> SocketAddr {
    let bytes = (u128::from(first) | u128::from(second) << 64).to_le_bytes();
    let ip = match family {
        Family::Inet4 => Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]).into(),
        Family::Inet6 => Ipv6Addr::from(bytes).into(),
    };
    SocketAddr::new(ip, port)
}

fn ipv4(bytes: &[u8]) -> Result<IpAddr, Errno> {
    <[u8; 4]>::try_from(bytes).map(IpAddr::from).map_err(|_| Errno::Inval)
}

fn ipv6(bytes: &[u8]) -> Result<IpAddr, Errno> {
    <[u8; 16]>::try_from(bytes).map(IpAddr::from).map_err(|_| Errno::Inval)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_each_layout_by_its_length() {
        let parse = |text: &str| text.parse::<SocketAddr>().map_err(|_| Errno::Inval);
        assert_eq!(read(&[127, 0, 0, 1], 0x1_1f90), parse("127.0.0.1:8080"));
        let mut ipv6 = [0; 16];
        ipv6[15] = 1;
        assert_eq!(read(&ipv6, 1), parse("[::1]:1"));
        let mut long = [0; 128];
        assert_eq!(read(&long, 1), Err(Errno::AfNoSupport));
        long[..6].copy_from_slice(&[1, 0, 10, 0, 0, 1]);
        assert_eq!(read(&long, 7), parse("10.0.0.1:7"));
        assert_eq!(read(&[0; 5], 7), Err(Errno::Inval));
    }

    #[test]
    fn words_lead_back_to_the_address() {
        for text in ["1.2.3.4:80", "[102:304:506:708:90a:b0c:d0e:f10]:65535"] {
            let address: SocketAddr = text.parse().expect("valid");
            let (first, second) = (word(address, 1).cast_unsigned(), word(address, 2).cast_unsigned());
            assert_eq!(from_words(Family::of(address.ip()), address.port(), first, second), address);
        }
        assert_eq!(word("1.2.3.4:80".parse().expect("valid"), 0), 1 | 80 << 16);
        assert_eq!(word("1.2.3.4:80".parse().expect("valid"), 1), 0x0403_0201);
    }
}
