//! What the socket calls mean: a table of descriptors, and operations on them.
//!
//! Nothing here knows layouts or dialects. An operation which may wait has a part that only tries, and one that only
//! waits.

mod connect;
mod datagram;
pub(crate) mod frozen;
mod listen;
mod metered;
mod names;
pub(crate) mod options;
mod readiness;
mod real;
mod transfer;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::{
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use crate::{
    abi::errno::Errno,
    network::{Network, VirtualInbound, pipe::GuestStream},
    outbound::{Call, Usage},
};

use datagram::Datagram;
use names::Names;
use options::Options;
use real::RealListener;

pub(crate) use transfer::Flags;

/// Sockets have descriptors from here on, on every host and in every snapshot: above all files, and below
/// `FD_SETSIZE`.
pub(crate) const FIRST_SOCKET: i32 = 512;
/// At most this many sockets per instance.
const MAX_SOCKETS: usize = 512;

/// Why an operation did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The guest is told so.
    Errno(Errno),
    /// The guest waits for a connection which will never come: it has served all there was.
    ServedOut,
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

/// Address family of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Family {
    Inet4,
    Inet6,
}

/// What a socket carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Kind {
    Stream,
    Datagram,
}

type Connecting = Pin<Box<dyn Future<Output = Result<TcpStream, Errno>> + Send>>;

/// What a socket is at the moment.
enum Role {
    /// A stream socket without address.
    Fresh,
    Bound(Bound),
    Listener(Listener),
    Connecting(Connecting),
    Stream(Stream),
    /// A connection attempt failed: every transfer tells, `SO_ERROR` the first time only.
    Failed {
        errno: Errno,
        told: bool,
    },
    Datagram(Datagram),
}

enum Bound {
    Virtual,
    Real(TcpSocket),
}

enum Listener {
    Virtual(VirtualInbound),
    Real(RealListener),
}

enum Stream {
    Virtual(GuestStream),
    Real(TcpStream),
}

/// One socket.
struct Socket {
    role: Role,
    family: Family,
    nonblocking: bool,
    accepted: bool,
    /// As the guest sees it, which for virtual and mapped listeners is not what the host bound.
    local: SocketAddr,
    peer: Option<SocketAddr>,
    options: Options,
    /// Of a socket that calls out.
    call: Option<Call>,
}

/// The sockets of one instance.
pub(crate) struct Sockets {
    slots: Vec<Option<Socket>>,
    network: Network,
    names: Names,
    usage: Usage,
}

impl Sockets {
    pub(crate) fn new(network: Network, usage: Usage) -> Self {
        Self { slots: Vec::new(), network, names: Names::default(), usage }
    }

    fn get(&mut self, fd: i32) -> Result<&mut Socket, Errno> {
        let slot = usize::try_from(fd.checked_sub(FIRST_SOCKET).ok_or(Errno::BadF)?).map_err(|_| Errno::BadF)?;
        self.slots.get_mut(slot).and_then(Option::as_mut).ok_or(Errno::BadF)
    }

    fn insert(&mut self, socket: Socket) -> Result<i32, Errno> {
        let slot = match self.slots.iter().position(Option::is_none) {
            Some(free) => free,
            None if self.slots.len() < MAX_SOCKETS => {
                self.slots.push(None);
                self.slots.len() - 1
            }
            None => return Err(Errno::MFile),
        };
        self.slots[slot] = Some(socket);
        i32::try_from(slot).map(|slot| FIRST_SOCKET + slot).map_err(|_| Errno::MFile)
    }

    pub(crate) fn open(&mut self, family: Family, kind: Kind) -> Result<i32, Errno> {
        self.insert(Socket::new(
            family,
            match kind {
                Kind::Stream => Role::Fresh,
                Kind::Datagram => Role::Datagram(Datagram::default()),
            },
        ))
    }

    pub(crate) fn close(&mut self, fd: i32) -> Result<(), Errno> {
        self.get(fd)?;
        let slot = usize::try_from(fd - FIRST_SOCKET).map_err(|_| Errno::BadF)?;
        self.slots[slot] = None;
        Ok(())
    }

    /// Moves a socket to another descriptor, closing what was there.
    pub(crate) fn renumber(&mut self, from: i32, to: i32) -> Result<(), Errno> {
        self.get(from)?;
        self.get(to)?;
        if from != to {
            let index = |fd: i32| usize::try_from(fd - FIRST_SOCKET).map_err(|_| Errno::BadF);
            self.slots[index(to)?] = self.slots[index(from)?].take();
        }
        Ok(())
    }

    /// Whether transfers on this socket return at once with [`Errno::Again`] instead of waiting.
    pub(crate) fn is_nonblocking(&mut self, fd: i32) -> Result<bool, Errno> {
        Ok(self.get(fd)?.nonblocking)
    }

    pub(crate) fn set_nonblocking(&mut self, fd: i32, nonblocking: bool) -> Result<(), Errno> {
        self.get(fd)?.nonblocking = nonblocking;
        Ok(())
    }

    pub(crate) fn family(&mut self, fd: i32) -> Result<Family, Errno> {
        Ok(self.get(fd)?.family)
    }

    /// Whether the socket came from `accept`, which its rights tell.
    pub(crate) fn is_accepted(&mut self, fd: i32) -> Result<bool, Errno> {
        Ok(self.get(fd)?.accepted)
    }

    pub(crate) fn shutdown(&mut self, fd: i32, read: bool, write: bool) -> Result<(), Errno> {
        let socket = self.get(fd)?;
        match &mut socket.role {
            Role::Stream(Stream::Virtual(stream)) => {
                stream.shutdown(read, write);
                Ok(())
            }
            Role::Stream(Stream::Real(stream)) => real::shutdown(stream, read, write).map_err(Errno::from),
            Role::Datagram(datagram) if socket.peer.is_some() => {
                datagram.shutdown(read, write);
                Ok(())
            }
            _ => Err(Errno::NotConn),
        }
    }

    pub(crate) fn local_address(&mut self, fd: i32) -> Result<SocketAddr, Errno> {
        let socket = self.get(fd)?;
        match &socket.role {
            Role::Stream(Stream::Real(stream)) if !socket.accepted => stream.local_addr().map_err(Errno::from),
            Role::Datagram(datagram) => Ok(datagram.local_address().unwrap_or(socket.local)),
            _ => Ok(socket.local),
        }
    }

    pub(crate) fn peer_address(&mut self, fd: i32) -> Result<SocketAddr, Errno> {
        let socket = self.get(fd)?;
        socket.progress();
        match socket.role {
            Role::Stream(_) | Role::Datagram(_) => socket.peer.ok_or(Errno::NotConn),
            _ => Err(Errno::NotConn),
        }
    }
}

impl Socket {
    fn new(family: Family, role: Role) -> Self {
        Self {
            role,
            family,
            nonblocking: false,
            accepted: false,
            local: family.any(),
            peer: None,
            options: Options::default(),
            call: None,
        }
    }

    fn kind(&self) -> Kind {
        match self.role {
            Role::Datagram(_) => Kind::Datagram,
            _ => Kind::Stream,
        }
    }

    fn stream(&mut self) -> Result<&mut Stream, Errno> {
        self.progress();
        match &mut self.role {
            Role::Stream(stream) => Ok(stream),
            Role::Connecting(_) => Err(Errno::Again),
            Role::Failed { errno, .. } => Err(*errno),
            Role::Fresh | Role::Bound(_) | Role::Listener(_) | Role::Datagram(_) => Err(Errno::NotConn),
        }
    }

    /// Takes notice of a connection attempt which has ended meanwhile: a guest may try without ever polling.
    fn progress(&mut self) {
        let _ = self.poll_connected(&mut Context::from_waker(Waker::noop()));
    }

    fn poll_connected(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Errno>> {
        let Role::Connecting(attempt) = &mut self.role else { return Poll::Ready(Ok(())) };
        attempt.as_mut().poll(cx).map(|result| match result {
            Ok(stream) => {
                self.options.apply(&stream);
                self.role = Role::Stream(Stream::Real(stream));
                Ok(())
            }
            Err(errno) => {
                self.role = Role::Failed { errno, told: false };
                Err(errno)
            }
        })
    }
}

impl Family {
    /// Any port of any address.
    pub(crate) fn any(self) -> SocketAddr {
        SocketAddr::new(self.unspecified(), 0)
    }

    fn unspecified(self) -> IpAddr {
        match self {
            Self::Inet4 => Ipv4Addr::UNSPECIFIED.into(),
            Self::Inet6 => Ipv6Addr::UNSPECIFIED.into(),
        }
    }

    fn of(address: SocketAddr) -> Self {
        if address.is_ipv4() { Self::Inet4 } else { Self::Inet6 }
    }

    /// A peer's address as a socket of this family sees it.
    fn fit(self, peer: SocketAddr) -> SocketAddr {
        match (self, peer.ip()) {
            (Self::Inet4, IpAddr::V6(ip)) => {
                let ip = ip.to_ipv4_mapped().unwrap_or(Ipv4Addr::UNSPECIFIED);
                SocketAddr::new(ip.into(), peer.port())
            }
            (Self::Inet6, IpAddr::V4(ip)) => SocketAddr::new(ip.to_ipv6_mapped().into(), peer.port()),
            _ => peer,
        }
    }
}

/// Waits for `future` within the limit which the guest set by `SO_RCVTIMEO` or `SO_SNDTIMEO`.
async fn within<T>(limit: Option<Duration>, future: impl Future<Output = T>) -> Result<T, Errno> {
    match limit {
        None => Ok(future.await),
        // Linux reports an elapsed socket timeout as EAGAIN.
        Some(limit) => timeout(limit, future).await.map_err(|_| Errno::Again),
    }
}
