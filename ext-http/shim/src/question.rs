//! `sock_getaddrinfo`: what the program asks, with WasmEdge's checks in WasmEdge's order.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{
    address::{FAMILY_INET4, FAMILY_INET6, Family, ip_word},
    errno::Errno,
    names::Names,
};

/// `AI_*` bits which WasmEdge knows.
const KNOWN_FLAGS: u32 = 0x7f;
const FLAG_PASSIVE: u32 = 1;
const FLAG_CANONNAME: u32 = 2;
const FLAG_NUMERICHOST: u32 = 4;
const FLAG_NUMERICSERV: u32 = 8;
/// Types and protocols, 0 being any.
const TYPE_DGRAM: u8 = 1;
const TYPE_STREAM: u8 = 2;
const PROTOCOL_TCP: u8 = 1;
const PROTOCOL_UDP: u8 = 2;
/// RFC 1035, 2.3.4: 255 bytes.
const MAX_NAME: usize = 255;
/// Services by name, as the native host has them.
const SERVICES: [(&str, u16); 12] = [
    ("domain", 53),
    ("ftp", 21),
    ("http", 80),
    ("https", 443),
    ("imap", 143),
    ("mysql", 3306),
    ("ntp", 123),
    ("postgresql", 5432),
    ("redis", 6379),
    ("smtp", 25),
    ("ssh", 22),
    ("telnet", 23),
];

/// What is asked, as it came.
pub(crate) struct Question<'a> {
    pub(crate) node: &'a [u8],
    pub(crate) service: &'a [u8],
    pub(crate) flags: u32,
    pub(crate) family: u32,
    /// Type, and protocol from bit 8 on.
    pub(crate) kind: u32,
    pub(crate) max: u32,
}

/// An address found, and what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    ip: IpAddr,
    socket_type: u8,
    protocol: u8,
    port: u16,
}

impl Found {
    /// Word 0: family, type from bit 8, protocol from bit 16, port from bit 32. Words 1 and 2: the address.
    pub(crate) fn word(&self, word: u32) -> u64 {
        match word {
            0 => {
                u64::from(Family::of(self.ip).number())
                    | u64::from(self.socket_type) << 8
                    | u64::from(self.protocol) << 16
                    | u64::from(self.port) << 32
            }
            _ => ip_word(self.ip, word),
        }
    }
}

/// Answers a question.
pub(crate) fn answer(question: &Question<'_>, names: &mut Names) -> Result<Found, Errno> {
    let node = text(question.node)?;
    let service = text(question.service)?;
    if node.is_none() && service.is_none() {
        return Err(Errno::AiNoName);
    }
    // The guest's number has a sign.
    if question.max == 0 || question.max > i32::MAX.cast_unsigned() {
        return Err(Errno::AiMemory);
    }
    let flags = question.flags;
    if flags & !KNOWN_FLAGS != 0 || (flags & FLAG_CANONNAME != 0 && node.is_none()) {
        return Err(Errno::AiBadFlag);
    }
    if question.family > FAMILY_INET6.into() {
        return Err(Errno::AiFamily);
    }
    let [socket_type, protocol, ..] = question.kind.to_le_bytes();
    if socket_type > TYPE_STREAM || protocol > PROTOCOL_UDP {
        return Err(Errno::NoSys);
    }
    let literal = node.and_then(|node| node.parse::<IpAddr>().ok());
    if flags & FLAG_NUMERICHOST != 0 && node.is_some() && literal.is_none() {
        return Err(Errno::AiNoName);
    }
    let (socket_type, protocol) = matching(socket_type, protocol)?;
    // Published guests take IPv4 only, so that is what they get unless they ask for IPv6.
    let family = match (question.family, literal) {
        (family, _) if family == FAMILY_INET4.into() => Family::Inet4,
        (0, None | Some(IpAddr::V4(_))) => Family::Inet4,
        _ => Family::Inet6,
    };
    let port = port(service, flags)?;
    let ip = match node {
        Some(node) => names.look_up(node, family)?,
        None => own_address(family, flags & FLAG_PASSIVE != 0),
    };
    Ok(Found { ip, socket_type, protocol, port })
}

/// The address for a question without a node: where to listen, or this host.
fn own_address(family: Family, is_passive: bool) -> IpAddr {
    match (family, is_passive) {
        (Family::Inet4, true) => Ipv4Addr::UNSPECIFIED.into(),
        (Family::Inet6, true) => Ipv6Addr::UNSPECIFIED.into(),
        (family, false) => family.loopback(),
    }
}

/// Fills in a type or protocol that was left open.
fn matching(socket_type: u8, protocol: u8) -> Result<(u8, u8), Errno> {
    match (socket_type, protocol) {
        (0 | TYPE_STREAM, 0 | PROTOCOL_TCP) => Ok((TYPE_STREAM, PROTOCOL_TCP)),
        (TYPE_DGRAM, 0) | (0 | TYPE_DGRAM, PROTOCOL_UDP) => Ok((TYPE_DGRAM, PROTOCOL_UDP)),
        _ => Err(Errno::AiSockType),
    }
}

fn port(service: Option<&str>, flags: u32) -> Result<u16, Errno> {
    let Some(service) = service else { return Ok(0) };
    if let Ok(port) = service.parse() {
        return Ok(port);
    }
    if flags & FLAG_NUMERICSERV != 0 {
        return Err(Errno::AiNoName);
    }
    SERVICES.iter().find(|(name, _)| *name == service).map(|(_, port)| *port).ok_or(Errno::AiService)
}

/// A name which may or may not end with a NUL; empty means absent.
fn text(bytes: &[u8]) -> Result<Option<&str>, Errno> {
    let bytes = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
    match std::str::from_utf8(bytes) {
        Ok("") => Ok(None),
        Ok(text) if text.len() <= MAX_NAME => Ok(Some(text)),
        _ => Err(Errno::AiNoName),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUESTION: Question<'_> = Question { node: b"", service: b"", flags: 0, family: 1, kind: 0x102, max: 10 };

    fn ask(question: &Question<'_>) -> Result<Found, Errno> {
        answer(question, &mut Names::new())
    }

    #[test]
    fn names_and_services_are_found() {
        let found = ask(&Question { node: b"example.com\0", service: b"http\0", ..QUESTION }).expect("found");
        assert_eq!(found.word(0), 1 | 2 << 8 | 1 << 16 | 80 << 32);
        assert_eq!(found.word(1), u64::from(u32::from_le_bytes([198, 18, 0, 1])));
        let found = ask(&Question { node: b"::1", family: 0, service: b"8080", ..QUESTION }).expect("found");
        assert_eq!((found.word(0) & 0xff, found.word(2), found.port), (2, 1 << 56, 8080));
        let found = ask(&Question { service: b"http", flags: FLAG_PASSIVE, ..QUESTION }).expect("found");
        assert_eq!(found.ip, IpAddr::from([0, 0, 0, 0]));
    }

    #[test]
    fn errors_come_in_wasmedges_order() {
        for (expected, question) in [
            (Errno::AiNoName, Question { max: 0, ..QUESTION }),
            (Errno::AiMemory, Question { node: b"a", max: 0, flags: 0x80, ..QUESTION }),
            (Errno::AiBadFlag, Question { node: b"a", flags: 0x80, family: 9, ..QUESTION }),
            (Errno::AiBadFlag, Question { service: b"80", flags: FLAG_CANONNAME, ..QUESTION }),
            (Errno::AiFamily, Question { node: b"a", family: 3, kind: 9, ..QUESTION }),
            (Errno::NoSys, Question { node: b"a", kind: 3, ..QUESTION }),
            (Errno::AiNoName, Question { node: b"a", flags: FLAG_NUMERICHOST, ..QUESTION }),
            (Errno::AiSockType, Question { node: b"a", kind: 0x201 + 1, ..QUESTION }),
            (Errno::AiService, Question { node: b"a", service: b"gopher", ..QUESTION }),
            (Errno::AiNoName, Question { node: b"\xff", ..QUESTION }),
        ] {
            assert_eq!(ask(&question), Err(expected));
        }
    }
}
