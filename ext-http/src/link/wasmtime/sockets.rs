//! WasmEdge's socket extension.
//!
//! The generations of a call differ in their arguments only; the layout of an address goes by the length of its buffer
//! in all of them, so that the Go guests, which mix both, are understood too.

use wasmtime::{Caller, Linker, Result};

use super::{
    finish, finish_waiting, parts,
    transfer::{Receiver, receive, send, write_address},
};
use crate::{
    abi::{
        address::{self, FAMILY_INET4, FAMILY_INET6},
        addrinfo,
        errno::Errno,
        sockopt,
    },
    host::HostView,
    imports::{Entry, SocketCall},
    sockets::{Failure, Family, Kind},
};

const FDFLAG_NONBLOCK: u16 = 4;
const SDFLAG_RD: u8 = 1;
const SDFLAG_WR: u8 = 2;
/// Values of family and type since WasmEdge 0.10.
const FAMILY_UNSPEC: u8 = 0;
const FAMILY_UNIX: u8 = 3;
const TYPE_DGRAM: u8 = 1;
const TYPE_STREAM: u8 = 2;
/// Until 0.9, `INET4` was 0 and `STREAM` 1. Newer guests never send family 0.
const OLD_TYPE_STREAM: u8 = 1;

pub(super) fn define<T: HostView>(linker: &mut Linker<T>, entry: &'static Entry, call: SocketCall) -> Result<()> {
    match call {
        SocketCall::Open => now!(linker, entry, |memory, host, family: i32, kind: i32, out: i32| {
            let (family, kind) = socket_kind(narrow8(family), narrow8(kind))?;
            memory.range(out, 4)?;
            memory.write_u32(out, host.sockets.open(family, kind)?.cast_unsigned())
        }),
        SocketCall::Bind => now!(linker, entry, |memory, host, fd: i32, address: i32, port: i32| {
            let address = address::read(&memory, address, port)?;
            host.sockets.bind(fd, address)
        }),
        SocketCall::Listen => {
            now!(linker, entry, |memory, host, fd: i32, backlog: i32| host.sockets.listen(fd, backlog))
        }
        SocketCall::AcceptV1 => {
            later!(linker, entry, |caller, fd: i32, out: i32| accept(&mut caller, fd, 0, out).await)
        }
        SocketCall::AcceptV2 => {
            later!(linker, entry, |caller, fd: i32, flags: i32, out: i32| accept(&mut caller, fd, flags, out).await)
        }
        SocketCall::Connect => later!(linker, entry, |caller, fd: i32, address: i32, port: i32| {
            let (memory, host) = parts(&mut caller)?;
            let result = match address::read(&memory, address, port) {
                Ok(address) => host.sockets.connect(fd, address).await,
                Err(errno) => Err(errno),
            };
            finish(result.map_err(Failure::from))
        }),
        SocketCall::Recv => {
            later!(linker, entry, |caller, fd: i32, iovecs: i32, count: i32, flags: i32, out: i32, flags_out: i32| {
                let to = Receiver { flags: Some(flags_out), ..Receiver::new(out) };
                receive(&mut caller, fd, (iovecs, count), flags, to).await
            })
        }
        SocketCall::RecvFromV1 => {
            later!(linker, entry, |caller,
                                   fd: i32,
                                   iovecs: i32,
                                   count: i32,
                                   address: i32,
                                   flags: i32,
                                   out: i32,
                                   flags_out: i32| {
                let to = Receiver { flags: Some(flags_out), address: Some(address), ..Receiver::new(out) };
                receive(&mut caller, fd, (iovecs, count), flags, to).await
            })
        }
        SocketCall::RecvFromV2 => {
            later!(linker, entry, |caller,
                                   fd: i32,
                                   iovecs: i32,
                                   count: i32,
                                   address: i32,
                                   flags: i32,
                                   port: i32,
                                   out: i32,
                                   flags_out: i32| {
                let to = Receiver { length: out, flags: Some(flags_out), address: Some(address), port: Some(port) };
                receive(&mut caller, fd, (iovecs, count), flags, to).await
            })
        }
        SocketCall::Send => later!(linker, entry, |caller, fd: i32, iovecs: i32, count: i32, flags: i32, out: i32| {
            send(&mut caller, fd, (iovecs, count), flags, out, None).await
        }),
        SocketCall::SendTo => later!(linker, entry, |caller,
                                                     fd: i32,
                                                     iovecs: i32,
                                                     count: i32,
                                                     address: i32,
                                                     port: i32,
                                                     flags: i32,
                                                     out: i32| {
            send(&mut caller, fd, (iovecs, count), flags, out, Some((address, port))).await
        }),
        SocketCall::Shutdown => now!(linker, entry, |memory, host, fd: i32, how: i32| {
            let how = narrow8(how);
            if how & !(SDFLAG_RD | SDFLAG_WR) != 0 {
                return Err(Errno::Inval);
            }
            // 0 is what Linux calls SHUT_RD.
            host.sockets.shutdown(fd, how & SDFLAG_RD != 0 || how == 0, how & SDFLAG_WR != 0)
        }),
        SocketCall::GetlocaladdrV1 => {
            now!(linker, entry, |memory, host, fd: i32, address: i32, kind: i32, port: i32| {
                write_address(&mut memory, (address, Some(kind), Some(port)), host.sockets.local_address(fd)?)
            })
        }
        SocketCall::GetlocaladdrV2 => now!(linker, entry, |memory, host, fd: i32, address: i32, port: i32| {
            write_address(&mut memory, (address, None, Some(port)), host.sockets.local_address(fd)?)
        }),
        SocketCall::GetpeeraddrV1 => {
            now!(linker, entry, |memory, host, fd: i32, address: i32, kind: i32, port: i32| {
                write_address(&mut memory, (address, Some(kind), Some(port)), host.sockets.peer_address(fd)?)
            })
        }
        SocketCall::GetpeeraddrV2 => now!(linker, entry, |memory, host, fd: i32, address: i32, port: i32| {
            write_address(&mut memory, (address, None, Some(port)), host.sockets.peer_address(fd)?)
        }),
        SocketCall::Getsockopt => {
            now!(linker, entry, |memory, host, fd: i32, level: i32, name: i32, value: i32, length: i32| {
                let option = sockopt::option(level, name)?;
                // Before the value is asked for: reading an error also clears it.
                memory.range(value, memory.u32(length)?)?;
                sockopt::write_value(&mut memory, host.sockets.option(fd, option)?, value, length)
            })
        }
        SocketCall::Setsockopt => {
            now!(linker, entry, |memory, host, fd: i32, level: i32, name: i32, value: i32, length: i32| {
                let option = sockopt::option(level, name)?;
                let value = sockopt::read_value(memory.read(value, length.cast_unsigned())?, option)?;
                host.sockets.set_option(fd, option, value)
            })
        }
        SocketCall::Getaddrinfo => {
            later!(linker, entry, |caller,
                                   node: i32,
                                   node_length: i32,
                                   service: i32,
                                   service_length: i32,
                                   hints: i32,
                                   result: i32,
                                   max_len: i32,
                                   result_len: i32| {
                let arguments = addrinfo::Arguments {
                    node: (node, node_length),
                    service: (service, service_length),
                    hints,
                    result,
                    max_len,
                    result_len,
                };
                getaddrinfo(&mut caller, arguments).await
            })
        }
        SocketCall::LookupIp => {
            later!(linker, entry, |caller, name: i32, length: i32, family: i32, out: i32, room: i32, count: i32| {
                lookup_ip(&mut caller, (name, length), family, (out, room), count).await
            })
        }
    }?;
    Ok(())
}

/// Family, type and directions are 8 bits wide in the interface; what is above them does not count.
fn narrow8(value: i32) -> u8 {
    value.to_le_bytes()[0]
}

/// Flags are 16 bits wide.
pub(super) fn narrow16(value: i32) -> u16 {
    let [low, high, ..] = value.to_le_bytes();
    u16::from_le_bytes([low, high])
}

fn socket_kind(family: u8, kind: u8) -> Result<(Family, Kind), Errno> {
    let kind = match (family, kind) {
        (FAMILY_UNSPEC, OLD_TYPE_STREAM) => return Ok((Family::Inet4, Kind::Stream)),
        (_, TYPE_DGRAM) => Kind::Datagram,
        (_, TYPE_STREAM) => Kind::Stream,
        _ => return Err(Errno::Inval),
    };
    match family {
        FAMILY_INET4 => Ok((Family::Inet4, kind)),
        FAMILY_INET6 => Ok((Family::Inet6, kind)),
        // As WasmEdge says unless it is told to allow them.
        FAMILY_UNIX => Err(Errno::NoSys),
        _ => Err(Errno::Inval),
    }
}

async fn accept<T: HostView>(caller: &mut Caller<'_, T>, fd: i32, flags: i32, out: i32) -> Result<i32> {
    loop {
        let (mut memory, host) = parts(caller)?;
        let result = async {
            memory.range(out, 4)?;
            let accepted = host.sockets.accept(fd, narrow16(flags) & FDFLAG_NONBLOCK != 0).await?;
            Ok::<(), Failure>(memory.write_u32(out, accepted.cast_unsigned())?)
        };
        let result = result.await;
        if let Some(errno) = finish_waiting(caller, result)? {
            return Ok(errno);
        }
    }
}

async fn getaddrinfo<T: HostView>(caller: &mut Caller<'_, T>, arguments: addrinfo::Arguments) -> Result<i32> {
    let (mut memory, host) = parts(caller)?;
    let result = async {
        let question = addrinfo::read(&memory, arguments)?;
        memory.range(arguments.result_len, 4)?;
        let port = question.port()?;
        let addresses = match &question.node {
            Some(node) => host.sockets.lookup(node, question.family).await?,
            None => vec![question.own_address()],
        };
        addrinfo::write(&mut memory, arguments, &question, &addresses, port)
    };
    finish(result.await.map_err(Failure::from))
}

/// `sock_lookup_ip` of WasmEdge's Rust host: addresses one behind the other, as many as there is room for.
async fn lookup_ip<T: HostView>(
    caller: &mut Caller<'_, T>,
    name: (i32, i32),
    family: i32,
    (out, room): (i32, i32),
    count_out: i32,
) -> Result<i32> {
    let (mut memory, host) = parts(caller)?;
    let result = async {
        let family = match narrow8(family) {
            FAMILY_INET4 => Family::Inet4,
            FAMILY_INET6 => Family::Inet6,
            _ => return Err(Errno::Inval),
        };
        let name = addrinfo::text(&memory, name)?.ok_or(Errno::AiNoName)?;
        let target = memory.range(out, room.cast_unsigned())?;
        memory.range(count_out, 4)?;
        let found = host.sockets.lookup(&name, family).await?;
        let size = if family == Family::Inet4 { 4 } else { 16 };
        let mut count = 0;
        for (place, ip) in memory.bytes_mut(target).chunks_exact_mut(size).zip(found) {
            match ip {
                std::net::IpAddr::V4(ip) => place.copy_from_slice(&ip.octets()),
                std::net::IpAddr::V6(ip) => place.copy_from_slice(&ip.octets()),
            }
            count += 1;
        }
        memory.write_u32(count_out, count)
    };
    finish(result.await.map_err(Failure::from))
}
