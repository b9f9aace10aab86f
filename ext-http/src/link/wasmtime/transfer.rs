//! Sending and receiving on sockets, by whatever call.

use std::net::SocketAddr;

use wasmtime::{Caller, Result};

use super::{finish, parts, sockets::narrow16};
use crate::{
    abi::{address, errno::Errno, memory::GuestMemory},
    host::HostView,
    sockets::{Failure, Family, Flags},
};

const RIFLAG_PEEK: u16 = 1;
const RIFLAG_WAITALL: u16 = 2;
const ROFLAG_TRUNCATED: u16 = 1;

/// Where a receiving call is told what came, besides the bytes; each is a pointer.
#[derive(Clone, Copy)]
pub(super) struct Receiver {
    pub(super) length: i32,
    pub(super) flags: Option<i32>,
    pub(super) address: Option<i32>,
    pub(super) port: Option<i32>,
}

impl Receiver {
    pub(super) fn new(length: i32) -> Self {
        Self { length, flags: None, address: None, port: None }
    }

    /// Checks all pointers, before anything is taken from the socket.
    fn check(self, memory: &GuestMemory<'_>, family: Family) -> Result<(), Errno> {
        memory.range(self.length, 4)?;
        if let Some(flags) = self.flags {
            memory.range(flags, 2)?;
        }
        if let Some(port) = self.port {
            memory.range(port, 4)?;
        }
        match self.address.map(|address| address::target(memory, address)) {
            Some(Ok(target)) if target.len() == 4 && family == Family::Inet6 => Err(Errno::NoMem),
            Some(Err(errno)) => Err(errno),
            _ => Ok(()),
        }
    }
}

/// `sock_recv`, `sock_recv_from` and `fd_read`, which differ in what they tell.
pub(super) async fn receive<T: HostView>(
    caller: &mut Caller<'_, T>,
    fd: i32,
    (iovecs, count): (i32, i32),
    flags: i32,
    to: Receiver,
) -> Result<i32> {
    let (mut memory, host) = parts(caller)?;
    let result = async {
        let flags = narrow16(flags);
        if flags & !(RIFLAG_PEEK | RIFLAG_WAITALL) != 0 {
            return Err(Errno::Inval.into());
        }
        let flags = Flags { peek: flags & RIFLAG_PEEK != 0, wait_all: flags & RIFLAG_WAITALL != 0 };
        let ranges = memory.iovecs(iovecs, count)?;
        to.check(&memory, host.sockets.family(fd)?)?;
        let received = host.sockets.receive(fd, &mut memory, &ranges, flags).await?;
        memory.write_u32(to.length, u32::try_from(received.length).map_err(|_| Errno::Fault)?)?;
        if let Some(flags) = to.flags {
            memory.write(flags, &(if received.truncated { ROFLAG_TRUNCATED } else { 0 }).to_le_bytes())?;
        }
        if let (Some(address), Some(from)) = (to.address, received.from) {
            write_address(&mut memory, (address, None, to.port), from)?;
        }
        Ok::<(), Failure>(())
    };
    finish(result.await)
}

/// `sock_send`, `sock_send_to` and `fd_write`.
pub(super) async fn send<T: HostView>(
    caller: &mut Caller<'_, T>,
    fd: i32,
    (iovecs, count): (i32, i32),
    flags: i32,
    out: i32,
    target: Option<(i32, i32)>,
) -> Result<i32> {
    let (mut memory, host) = parts(caller)?;
    let result = async {
        // No flag is known.
        if narrow16(flags) != 0 {
            return Err(Errno::Inval.into());
        }
        let ranges = memory.iovecs(iovecs, count)?;
        memory.range(out, 4)?;
        let target = match target {
            Some((address, port)) => Some(address::read(&memory, address, port)?),
            None => None,
        };
        let sent = host.sockets.send(fd, &memory, &ranges, target).await?;
        Ok::<(), Failure>(memory.write_u32(out, u32::try_from(sent).map_err(|_| Errno::Fault)?)?)
    };
    finish(result.await)
}

/// Stores an address, and where they are asked for its V1 type and its port.
///
/// WasmEdge stores 16 bits of the port of a received datagram, in network order; its own guests read 32 in host order,
/// as the other hosts write them, and so do we.
pub(super) fn write_address(
    memory: &mut GuestMemory<'_>,
    (address, kind_out, port_out): (i32, Option<i32>, Option<i32>),
    found: SocketAddr,
) -> Result<(), Errno> {
    let target = address::target(memory, address)?;
    let kind = address::write(memory, target, found.ip())?;
    if let Some(kind_out) = kind_out {
        memory.write_u32(kind_out, kind)?;
    }
    match port_out {
        Some(port_out) => memory.write_u32(port_out, found.port().into()),
        None => Ok(()),
    }
}
