//! Sockets of a frozen program: what is kept of them, and how they come back.

use std::{
    net::SocketAddr,
    task::{Context, Waker},
};

use serde::{Deserialize, Serialize};
use tokio::net::TcpSocket;

use super::{
    Bound, FIRST_SOCKET, Family, Kind, Listener, MAX_SOCKETS, Role, Socket, Sockets,
    datagram::Datagram,
    listen::permitting,
    options::Options,
    real::{self, RealListener},
};
use crate::{
    frozen::{InvalidHostState, ResumeError, Unfreezable},
    network::{Inbound, InboundRule},
};

/// The backlog of a listener that is bound again: the guest's own is not kept, and this is what most ask for.
const BACKLOG: i32 = 128;

/// One socket of a frozen program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct FrozenSocket {
    pub(crate) fd: SocketFd,
    pub(crate) family: Family,
    pub(crate) kind: Kind,
    pub(crate) role: FrozenRole,
    pub(crate) nonblocking: bool,
    options: Options,
}

/// A descriptor that a socket can have, kept as its place in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "i32", into = "i32")]
pub(crate) struct SocketFd(u16);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum FrozenRole {
    Fresh,
    /// At the address which the guest sees.
    Bound(SocketAddr),
    Listener(SocketAddr),
}

impl TryFrom<i32> for SocketFd {
    type Error = InvalidHostState;

    fn try_from(fd: i32) -> Result<Self, Self::Error> {
        let slot = fd.checked_sub(FIRST_SOCKET).and_then(|slot| u16::try_from(slot).ok());
        let slot = slot.filter(|slot| usize::from(*slot) < MAX_SOCKETS);
        slot.map(Self).ok_or(InvalidHostState::NoSocketFd { fd })
    }
}

impl From<SocketFd> for i32 {
    fn from(fd: SocketFd) -> Self {
        FIRST_SOCKET + Self::from(fd.0)
    }
}

impl FrozenSocket {
    /// Checks that the parts fit each other.
    pub(crate) fn check(&self) -> Result<(), InvalidHostState> {
        let fd = self.fd.into();
        let Some(address) = self.address() else { return Ok(()) };
        if self.kind == Kind::Datagram {
            return Err(InvalidHostState::BoundDatagram { fd });
        }
        if self.family != Family::of(address) || address.port() == 0 {
            return Err(InvalidHostState::Address { fd, address });
        }
        Ok(())
    }

    /// Where it is bound.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        match self.role {
            FrozenRole::Fresh => None,
            FrozenRole::Bound(address) | FrozenRole::Listener(address) => Some(address),
        }
    }

    pub(crate) fn is_listener(&self) -> bool {
        matches!(self.role, FrozenRole::Listener(_))
    }

    fn resume(&self, inbound: &Inbound) -> Result<Socket, ResumeError> {
        let role = match (self.role, inbound) {
            (FrozenRole::Fresh, _) => match self.kind {
                Kind::Stream => Role::Fresh,
                Kind::Datagram => Role::Datagram(Datagram::default()),
            },
            (FrozenRole::Bound(address) | FrozenRole::Listener(address), Inbound::Denied) => {
                return Err(ResumeError::Denied { address });
            }
            (FrozenRole::Bound(_), Inbound::Virtual(_)) => Role::Bound(Bound::Virtual),
            (FrozenRole::Listener(_), Inbound::Virtual(inbound)) => Role::Listener(Listener::Virtual(inbound.clone())),
            (FrozenRole::Bound(address), Inbound::Real(rules)) => {
                Role::Bound(Bound::Real(self.bind(rules, address)?.socket))
            }
            (FrozenRole::Listener(address), Inbound::Real(rules)) => {
                let HostSocket { socket, host } = self.bind(rules, address)?;
                let listener = RealListener::listen(socket, BACKLOG);
                let listener = listener.map_err(|source| ResumeError::Bind { address, host, source })?;
                Role::Listener(Listener::Real(listener))
            }
        };
        let mut socket = Socket::new(self.family, role);
        socket.nonblocking = self.nonblocking;
        socket.options = self.options;
        if let Some(address) = self.address() {
            socket.local = address;
        }
        Ok(socket)
    }

    /// Binds where the rules say.
    fn bind(&self, rules: &[InboundRule], address: SocketAddr) -> Result<HostSocket, ResumeError> {
        let rule = permitting(rules, address).ok_or(ResumeError::Denied { address })?;
        let host = rule.host;
        let bound = real::bind(host, self.options.reuses_address());
        let (socket, _) = bound.map_err(|source| ResumeError::Bind { address, host, source })?;
        self.options.apply(&socket);
        Ok(HostSocket { socket, host })
    }
}

/// A socket, and where it was asked to be bound.
struct HostSocket {
    socket: TcpSocket,
    host: SocketAddr,
}

impl Sockets {
    /// What to keep of the sockets, and what speaks against it.
    pub(crate) fn freeze(&mut self, objections: &mut Vec<Unfreezable>) -> Vec<FrozenSocket> {
        let mut frozen = Vec::new();
        for (slot, socket) in (0..).zip(&mut self.slots) {
            let Some(socket) = socket else { continue };
            let fd = SocketFd(slot);
            match socket.freeze(fd.into()) {
                Ok(role) => frozen.push(FrozenSocket {
                    fd,
                    family: socket.family,
                    kind: socket.kind(),
                    role,
                    nonblocking: socket.nonblocking,
                    options: socket.options,
                }),
                Err(objection) => objections.push(objection),
            }
        }
        frozen
    }

    /// Puts frozen sockets, sorted by descriptor, into a table without any.
    pub(crate) fn resume(&mut self, frozen: &[FrozenSocket]) -> Result<(), ResumeError> {
        let Some(last) = frozen.last() else { return Ok(()) };
        // One more for the connection that will be accepted.
        self.slots.reserve_exact(usize::from(last.fd.0) + 2);
        for frozen in frozen {
            let socket = frozen.resume(&self.network.inbound)?;
            self.slots.resize_with(usize::from(frozen.fd.0), || None);
            self.slots.push(Some(socket));
        }
        Ok(())
    }
}

impl Socket {
    fn freeze(&mut self, fd: i32) -> Result<FrozenRole, Unfreezable> {
        self.progress();
        let (local, peer) = (self.local, self.peer);
        match &mut self.role {
            Role::Fresh => Ok(FrozenRole::Fresh),
            Role::Datagram(datagram) if !datagram.is_bound() => Ok(FrozenRole::Fresh),
            Role::Bound(_) => Ok(FrozenRole::Bound(local)),
            Role::Listener(listener) => match listener.has_connection() {
                true => Err(Unfreezable::ConnectionWaiting { fd, address: local }),
                false => Ok(FrozenRole::Listener(local)),
            },
            Role::Connecting(_) => Err(Unfreezable::Connecting { fd, peer }),
            Role::Failed { .. } => Err(Unfreezable::FailedConnection { fd, peer }),
            Role::Stream(_) => Err(Unfreezable::Connection { fd, peer }),
            Role::Datagram(_) => Err(Unfreezable::Datagram { fd, local, peer }),
        }
    }
}

impl Listener {
    fn has_connection(&mut self) -> bool {
        match self {
            Self::Virtual(inbound) => inbound.has_connection(),
            Self::Real(listener) => listener.poll_acceptable(&mut Context::from_waker(Waker::noop())).is_ready(),
        }
    }
}
