//! `sock_getaddrinfo`: what the guest asks, and the structs it pre-allocated for the answer.

use std::net::Ipv4Addr;

use super::{
    address::{FAMILY_INET4, FAMILY_INET6},
    errno::Errno,
    memory::{GuestMemory, offset},
};

/// `ai_addrlen` of an IPv4 entry: the size of Linux's `sockaddr_in`, which guests only test for zero.
const SOCKADDR_IN_LEN: u32 = 16;
/// Bytes of `sa_data` for IPv4: port, address, eight zero bytes.
const SA_DATA_IPV4: usize = 14;
/// `AI_*` bits which WasmEdge knows.
const KNOWN_FLAGS: u16 = 0x7f;
const FLAG_CANONNAME: u16 = 2;
/// Guests ask for ten entries; more than this is not walked.
const MAX_ENTRIES: u32 = 64;

/// A decoded question.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) node: Option<String>,
    pub(crate) service: Option<String>,
    pub(crate) socket_type: u8,
    pub(crate) protocol: u8,
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
    /// The port of the service: a number, or one of the names which guests use. There is no `/etc/services` here.
    pub(crate) fn port(&self) -> Result<u16, Errno> {
        match self.service.as_deref() {
            None => Ok(0),
            Some("http") => Ok(80),
            Some("https") => Ok(443),
            Some("domain") => Ok(53),
            Some(number) => number.parse().map_err(|_| Errno::AiService),
        }
    }
}

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
    if socket_type > 2 || protocol > 2 {
        return Err(Errno::NoSys);
    }
    // Checked before resolving, as WasmEdge does, so that a bad chain costs no look-up.
    entries(memory, args)?;
    if family == FAMILY_INET6 {
        // Answers are IPv4 only: that is all that published guests take.
        return Err(Errno::AiNoData);
    }
    Ok(Question { node, service, socket_type, protocol })
}

/// Fills the first entries of the guest's chain and stores how many.
pub(crate) fn write(
    memory: &mut GuestMemory<'_>,
    args: Arguments,
    question: &Question,
    addresses: &[Ipv4Addr],
    port: u16,
) -> Result<(), Errno> {
    let entries = entries(memory, args)?;
    let mut count = 0;
    for (&entry, address) in entries.iter().zip(addresses) {
        let sockaddr = memory.u32(offset(entry, 12)?)?.cast_signed();
        let data = memory.u32(offset(sockaddr, 8)?)?.cast_signed();
        let mut bytes = [0; SA_DATA_IPV4];
        bytes[..2].copy_from_slice(&port.to_be_bytes());
        bytes[2..6].copy_from_slice(&address.octets());
        memory.write(data, &bytes)?;
        memory.write(sockaddr, &[FAMILY_INET4])?;
        memory.write_u32(offset(sockaddr, 4)?, 14)?;
        memory.write(offset(entry, 2)?, &[FAMILY_INET4, question.socket_type, question.protocol])?;
        memory.write_u32(offset(entry, 8)?, SOCKADDR_IN_LEN)?;
        count += 1;
    }
    memory.write_u32(args.result_len, count)
}

/// Walks the chain which `*result` points to; each entry must lead to at least 14 bytes of `sa_data`.
fn entries(memory: &GuestMemory<'_>, args: Arguments) -> Result<Vec<i32>, Errno> {
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
        memory.range(data, 14)?;
        found.push(at);
        at = memory.u32(offset(at, 24)?)?.cast_signed();
    }
    Ok(found)
}

/// A name whose length may or may not include a trailing NUL; empty means absent.
fn text(memory: &GuestMemory<'_>, (pointer, length): (i32, i32)) -> Result<Option<String>, Errno> {
    let bytes = memory.read(pointer, length.cast_unsigned())?;
    let bytes = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
    match std::str::from_utf8(bytes) {
        Ok("") => Ok(None),
        Ok(text) => Ok(Some(text.to_owned())),
        Err(_) => Err(Errno::AiNoName),
    }
}
