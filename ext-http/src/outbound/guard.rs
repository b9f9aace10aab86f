//! Address ranges which a guest reaches only if they are named literally.
//!
//! The list follows the IANA special-purpose registries (RFC 6890 and updates). Addresses which embed an IPv4 address
//! (mapped, translated, NAT64, 6to4, Teredo) are refused as a whole, public ones too: no peer on the public internet
//! needs them, and the translator behind them may lead anywhere. ISATAP embeds one in addresses which look like any
//! other, and is judged by it. What is not global unicast (2000::/3) is refused, known or not.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// What is special about an address; `None` for the public internet.
pub(crate) fn guarded_range(ip: IpAddr) -> Option<&'static str> {
    match ip {
        IpAddr::V4(ip) => guarded_v4(ip),
        IpAddr::V6(ip) => guarded_v6(ip),
    }
}

fn guarded_v4(ip: Ipv4Addr) -> Option<&'static str> {
    let [a, b, c, _] = ip.octets();
    match (a, b, c) {
        (0, ..) => Some("this host (0.0.0.0/8)"),
        (127, ..) => Some("a loopback address"),
        (169, 254, _) => Some("a link-local or metadata address"),
        (10, ..) | (172, 16..=31, _) | (192, 168, _) => Some("a private address"),
        (100, 64..=127, _) => Some("a shared address (100.64.0.0/10)"),
        (192, 0, 0) => Some("a protocol assignment (192.0.0.0/24)"),
        (192, 0, 2) | (198, 51, 100) | (203, 0, 113) => Some("a documentation address"),
        (192, 88, 99) => Some("a 6to4 relay (192.88.99.0/24)"),
        (198, 18..=19, _) => Some("a benchmarking address (198.18.0.0/15)"),
        (168, 63, 129) => Some("a cloud metadata address"),
        (224..=239, ..) => Some("a multicast address"),
        (240..=255, ..) => Some("a reserved address"),
        _ => None,
    }
}

fn guarded_v6(ip: Ipv6Addr) -> Option<&'static str> {
    if let Some(mapped) = ip.to_ipv4_mapped() {
        return guarded_v4(mapped).or(Some("an IPv4-mapped address"));
    }
    match ip.segments() {
        [0, 0, 0, 0, 0, 0, 0, 1] => Some("a loopback address"),
        [0, 0, 0, 0, 0, 0, ..] => Some("an unspecified or IPv4-compatible address"),
        [0x64, 0xff9b, ..] => Some("a NAT64 address"),
        [0x100, 0, 0, 0, ..] => Some("a discard address"),
        [0x2001, 0x0000..=0x01ff, ..] => Some("a protocol assignment or Teredo address"),
        [0x2001, 0xdb8, ..] | [0x3fff, 0x0000..=0x0fff, ..] => Some("a documentation address"),
        [0x2002, ..] => Some("a 6to4 address"),
        [0x5f00, ..] => Some("a segment-routing address"),
        [0xfc00..=0xfdff, ..] => Some("a unique local address"),
        [0xfe80..=0xfebf, ..] => Some("a link-local address"),
        [0xfec0..=0xfeff, ..] => Some("a site-local address"),
        [0xff00..=0xffff, ..] => Some("a multicast address"),
        [0x2000..=0x3fff, .., 0x0000 | 0x0200, 0x5efe, high, low] => {
            let [a, b] = high.to_be_bytes();
            let [c, d] = low.to_be_bytes();
            guarded_v4(Ipv4Addr::new(a, b, c, d)).and(Some("an ISATAP address for a special IPv4 address"))
        }
        [0x2000..=0x3fff, ..] => None,
        _ => Some("not a global unicast address"),
    }
}

/// Whether a listener of ours is there.
pub(super) fn own_listener(listeners: &[SocketAddr], address: SocketAddr) -> Option<&'static str> {
    let ip = address.ip().to_canonical();
    let answers = |listener: &SocketAddr| {
        listener.port() == address.port()
            && (listener.ip().to_canonical() == ip || (listener.ip().is_unspecified() && is_local(ip)))
    };
    listeners.iter().any(answers).then_some("where this gateway itself listens")
}

/// Whether the address is one of this machine's: the system binds no other.
fn is_local(ip: IpAddr) -> bool {
    UdpSocket::bind((ip, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_addresses_pass_and_special_ones_do_not() {
        for public in
            ["1.1.1.1", "8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2a00::1", "2a00::5efe:808:808"]
        {
            assert_eq!(guarded_range(public.parse().expect("valid")), None, "{public}");
        }
        for special in [
            "0.0.0.0",
            "10.0.0.1",
            "100.64.0.1",
            "127.1.2.3",
            "169.254.169.254",
            "172.16.0.1",
            "192.168.1.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
            "2002:808:808::1",
            "2001::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "ff02::1",
            "::ffff:0:808:808",
            "64:ff9b:1::808:808",
            "4000::1",
            "2a00::5efe:a00:1",
            "2a00::200:5efe:a9fe:a9fe",
        ] {
            assert!(guarded_range(special.parse().expect("valid")).is_some(), "{special}");
        }
    }
}
