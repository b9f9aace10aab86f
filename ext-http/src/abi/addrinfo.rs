//! `sock_getaddrinfo`: what the guest asks, and the structs it pre-allocated for the answer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{
    address::{FAMILY_INET4, FAMILY_INET6},
    errno::Errno,
    memory::{GuestMemory, GuestRange, offset},
};
use crate::sockets::Family;

/// `ai_addrlen`: the sizes of Linux's `sockaddr_in` and `sockaddr_in6`, which guests only test for zero.
const SOCKADDR_IN_LEN: u32 = 16;
const SOCKADDR_IN6_LEN: u32 = 28;
/// `sa_data` for IPv4: port, address, eight zero bytes. Guests reserve 26 bytes and say 14, so the declared size does
/// not count, and no more than this is written.
const SA_DATA_IPV4: usize = 14;
/// `sa_data` for IPv6: port, flow, address, scope.
const SA_DATA_IPV6: usize = 26;
/// `AI_*` bits which WasmEdge knows.
const KNOWN_FLAGS: u16 = 0x7f;
const FLAG_PASSIVE: u16 = 1;
const FLAG_CANONNAME: u16 = 2;
const FLAG_NUMERICHOST: u16 = 4;
const FLAG_NUMERICSERV: u16 = 8;
/// Types and protocols, 0 being any.
const TYPE_DGRAM: u8 = 1;
const TYPE_STREAM: u8 = 2;
const PROTOCOL_TCP: u8 = 1;
const PROTOCOL_UDP: u8 = 2;
/// Guests ask for ten entries; more than this is not walked.
const MAX_ENTRIES: u32 = 64;
/// Services by name. There is no `/etc/services` here: in slim containers there is none either, and WasmEdge fails.
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

/// A decoded question.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) node: Option<String>,
    service: Option<String>,
    flags: u16,
    pub(crate) family: Family,
    socket_type: u8,
    protocol: u8,
}

/// The guest's arguments, as they come.
#[derive(Clone, Copy)]
pub(crate) struct Arguments {
    pub(crate) node: (i32, i32),
    pub(crate) service: (i32, i32),
    pub(crate) hints: i32,
    pub(crate) result: i32,
    pub(crate) max_len: i32,
    pub(crate) result_len: i32,
}

impl Question {
    /// The port of the service.
    pub(crate) fn port(&self) -> Result<u16, Errno> {
        let Some(service) = &self.service else { return Ok(0) };
        if let Ok(port) = service.parse() {
            return Ok(port);
        }
        if self.flags & FLAG_NUMERICSERV != 0 {
            return Err(Errno::AiNoName);
        }
        SERVICES.iter().find(|(name, _)| name == service).map(|(_, port)| *port).ok_or(Errno::AiService)
    }

    /// The address for a question without a node: where to listen, or this host.
    pub(crate) fn own_address(&self) -> IpAddr {
        match (self.family, self.flags & FLAG_PASSIVE != 0) {
            (Family::Inet4, true) => Ipv4Addr::UNSPECIFIED.into(),
            (Family::Inet4, false) => Ipv4Addr::LOCALHOST.into(),
            (Family::Inet6, true) => Ipv6Addr::UNSPECIFIED.into(),
            (Family::Inet6, false) => Ipv6Addr::LOCALHOST.into(),
        }
    }

    fn canonical_name(&self) -> Option<&str> {
        self.node.as_deref().filter(|_| self.flags & FLAG_CANONNAME != 0)
    }
}

/// Decodes the question, with WasmEdge's checks in WasmEdge's order.
pub(crate) fn read(memory: &GuestMemory<'_>, args: Arguments) -> Result<Question, Errno> {
    let node = text(memory, args.node)?;
    let service = text(memory, args.service)?;
    if node.is_none() && service.is_none() {
        return Err(Errno::AiNoName);
    }
    if args.max_len < 1 {
        return Err(Errno::AiMemory);
    }
    let flags = memory.u16(args.hints)?;
    let family = memory.u8(offset(args.hints, 2)?)?;
    let socket_type = memory.u8(offset(args.hints, 3)?)?;
    let protocol = memory.u8(offset(args.hints, 4)?)?;
    if flags & !KNOWN_FLAGS != 0 || (flags & FLAG_CANONNAME != 0 && node.is_none()) {
        return Err(Errno::AiBadFlag);
    }
    if family > FAMILY_INET6 {
        return Err(Errno::AiFamily);
    }
    if socket_type > TYPE_STREAM || protocol > PROTOCOL_UDP {
        return Err(Errno::NoSys);
    }
    // Checked before resolving, as WasmEdge does, so that a bad chain costs no look-up.
    let entries = entries(memory, args)?;
    let literal = node.as_deref().and_then(|node| node.parse::<IpAddr>().ok());
    if flags & FLAG_NUMERICHOST != 0 && node.is_some() && literal.is_none() {
        return Err(Errno::AiNoName);
    }
    let (socket_type, protocol) = matching(socket_type, protocol)?;
    // Published guests take IPv4 only, so that is what they get unless they ask for IPv6.
    let family = match (family, literal) {
        (FAMILY_INET4, _) | (0, None | Some(IpAddr::V4(_))) => Family::Inet4,
        _ => Family::Inet6,
    };
    if family == Family::Inet6 {
        for entry in entries {
            memory.range(entry.data, 26)?;
        }
    }
    Ok(Question { node, service, flags, family, socket_type, protocol })
}

/// Fills in a type or protocol that was left open.
fn matching(socket_type: u8, protocol: u8) -> Result<(u8, u8), Errno> {
    match (socket_type, protocol) {
        (0 | TYPE_STREAM, 0 | PROTOCOL_TCP) => Ok((TYPE_STREAM, PROTOCOL_TCP)),
        (TYPE_DGRAM, 0) | (0 | TYPE_DGRAM, PROTOCOL_UDP) => Ok((TYPE_DGRAM, PROTOCOL_UDP)),
        _ => Err(Errno::AiSockType),
    }
}

/// Fills the first entries of the guest's chain and stores how many.
pub(crate) fn write(
    memory: &mut GuestMemory<'_>,
    args: Arguments,
    question: &Question,
    addresses: &[IpAddr],
    port: u16,
) -> Result<(), Errno> {
    let entries = entries(memory, args)?;
    let mut count = 0;
    for (entry, address) in entries.iter().zip(addresses) {
        let (family, length) = write_data(memory, entry.data, *address, port)?;
        memory.write(entry.sockaddr, &[family])?;
        memory.write_u32(offset(entry.sockaddr, 4)?, length)?;
        memory.write(entry.at, &question.flags.to_le_bytes())?;
        memory.write(offset(entry.at, 2)?, &[family, question.socket_type, question.protocol])?;
        let addrlen = if address.is_ipv4() { SOCKADDR_IN_LEN } else { SOCKADDR_IN6_LEN };
        memory.write_u32(offset(entry.at, 8)?, addrlen)?;
        // Only the first entry has the name, and only if it was asked for: the pointers of others may dangle.
        if let (0, Some(name)) = (count, question.canonical_name()) {
            write_name(memory, entry, name)?;
        }
        count += 1;
    }
    memory.write_u32(args.result_len, count)
}

/// Stores port and address, and tells their family and length.
fn write_data(memory: &mut GuestMemory<'_>, data: i32, ip: IpAddr, port: u16) -> Result<(u8, u32), Errno> {
    match ip {
        IpAddr::V4(ip) => {
            let mut bytes = [0; SA_DATA_IPV4];
            bytes[..2].copy_from_slice(&port.to_be_bytes());
            bytes[2..6].copy_from_slice(&ip.octets());
            memory.write(data, &bytes)?;
            Ok((FAMILY_INET4, 14))
        }
        IpAddr::V6(ip) => {
            let mut bytes = [0; SA_DATA_IPV6];
            bytes[..2].copy_from_slice(&port.to_be_bytes());
            bytes[6..22].copy_from_slice(&ip.octets());
            memory.write(data, &bytes)?;
            Ok((FAMILY_INET6, 26))
        }
    }
}

/// Stores a name and its NUL, if there is room; without, the length is 0.
fn write_name(memory: &mut GuestMemory<'_>, entry: &Entry, name: &str) -> Result<(), Errno> {
    let fits = name.len() < entry.name.len();
    if fits {
        let bytes = memory.bytes_mut(entry.name);
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        bytes[name.len()] = 0;
    }
    let length = if fits { name.len() } else { 0 };
    memory.write_u32(offset(entry.at, 20)?, u32::try_from(length).map_err(|_| Errno::Fault)?)
}

/// One of the guest's structs, and where its pointers lead.
struct Entry {
    at: i32,
    sockaddr: i32,
    data: i32,
    name: GuestRange,
}

/// Walks the chain which `*result` points to; each entry must lead to its `sa_data`, of at least 14 bytes, and to as
/// much room for a name as it says.
fn entries(memory: &GuestMemory<'_>, args: Arguments) -> Result<Vec<Entry>, Errno> {
    let mut found = Vec::new();
    let mut at = memory.u32(args.result)?.cast_signed();
    for _ in 0..args.max_len.cast_unsigned().min(MAX_ENTRIES) {
        if at == 0 {
            break;
        }
        memory.range(at, 28)?;
        let sockaddr = memory.u32(offset(at, 12)?)?.cast_signed();
        memory.range(sockaddr, 12)?;
        let data = memory.u32(offset(sockaddr, 8)?)?.cast_signed();
        memory.range(data, memory.u32(offset(sockaddr, 4)?)?.max(14))?;
        let name = memory.range(memory.u32(offset(at, 16)?)?.cast_signed(), memory.u32(offset(at, 20)?)?)?;
        found.push(Entry { at, sockaddr, data, name });
        at = memory.u32(offset(at, 24)?)?.cast_signed();
    }
    Ok(found)
}

/// A name whose length may or may not include a trailing NUL; empty means absent.
pub(crate) fn text(memory: &GuestMemory<'_>, (pointer, length): (i32, i32)) -> Result<Option<String>, Errno> {
    let bytes = memory.read(pointer, length.cast_unsigned())?;
    let bytes = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
    match std::str::from_utf8(bytes) {
        Ok("") => Ok(None),
        // No name in DNS is longer, and what is longer would only be copied.
        Ok(text) if text.len() <= MAX_NAME => Ok(Some(text.to_owned())),
        _ => Err(Errno::AiNoName),
    }
}

/// RFC 1035, 2.3.4: 255 bytes.
const MAX_NAME: usize = 255;
