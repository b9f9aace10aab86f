//! Waiting for others: bind, listen, accept.

use std::{
    future::poll_fn,
    net::SocketAddr,
    task::{Context, Poll},
};

use super::{Bound, FIRST_SOCKET, Failure, Family, Kind, Listener, Role, Socket, Sockets, Stream, real, within};
use crate::{
    abi::errno::Errno,
    network::{Inbound, InboundRule, virtual_inbound::Acceptable},
};

/// The first port given to a virtual listener which asks for port 0: the start of the ephemeral range.
const FIRST_EPHEMERAL_PORT: u16 = 49152;

impl Sockets {
    pub(crate) fn bind(&mut self, fd: i32, address: SocketAddr) -> Result<(), Errno> {
        let socket = self.get(fd)?;
        if socket.family != Family::of(address) {
            return Err(Errno::AfNoSupport);
        }
        match &socket.role {
            Role::Fresh => self.bind_stream(fd, address),
            Role::Datagram(datagram) if !datagram.is_bound() => self.bind_datagram(fd, address),
            _ => Err(Errno::Inval),
        }
    }

    fn bind_stream(&mut self, fd: i32, address: SocketAddr) -> Result<(), Errno> {
        let taken = address.port() != 0 && self.slots.iter().flatten().any(|socket| socket.holds(address));
        let ephemeral = FIRST_EPHEMERAL_PORT.saturating_add(u16::try_from(fd - FIRST_SOCKET).unwrap_or(0));
        let reuse = self.get(fd)?.options.reuses_address();
        let (bound, local) = match &self.network.inbound {
            Inbound::Denied => {
                tracing::warn!(
                    "the guest was refused to listen on {address}\n  hint: allow it with `--allow-inbound {address}`"
                );
                return Err(Errno::Acces);
            }
            Inbound::Virtual(_) if taken => return Err(Errno::AddrInUse),
            Inbound::Virtual(_) => {
                let port = if address.port() == 0 { ephemeral } else { address.port() };
                (Bound::Virtual, SocketAddr::new(address.ip(), port))
            }
            Inbound::Real(rules) => {
                let rule = permitting(rules, address).ok_or_else(|| refused(address))?;
                let (bound, host) = real::bind(rule.host, reuse).map_err(|error| {
                    tracing::warn!("cannot bind {host}: {error}", host = rule.host);
                    Errno::from(error)
                })?;
                let port = if address.port() == 0 { host.port() } else { address.port() };
                (Bound::Real(bound), SocketAddr::new(address.ip(), port))
            }
        };
        let socket = self.get(fd)?;
        if let Bound::Real(bound) = &bound {
            socket.options.apply(bound);
        }
        socket.role = Role::Bound(bound);
        socket.local = local;
        Ok(())
    }

    /// A datagram socket which asks for any port is a client's, unless a rule names port 0: it hears only from those
    /// to whom it has sent, so it needs no permission. Any other is a server's.
    fn bind_datagram(&mut self, fd: i32, address: SocketAddr) -> Result<(), Errno> {
        let rule = match &self.network.inbound {
            Inbound::Real(rules) => {
                permitting(rules, address).filter(|rule| address.port() != 0 || rule.guest.is_some())
            }
            Inbound::Denied => None,
            Inbound::Virtual(_) if address.port() != 0 => {
                tracing::warn!(
                    "the guest was refused to receive datagrams on {address}: requests come to it over one stream \
                     each\n  hint: `prewasm run` has real sockets"
                );
                return Err(Errno::Acces);
            }
            Inbound::Virtual(_) => None,
        };
        if rule.is_none() && address.port() != 0 {
            return Err(refused(address));
        }
        let socket = self.get(fd)?;
        let Role::Datagram(datagram) = &mut socket.role else { return Err(Errno::Inval) };
        let host = match rule {
            Some(rule) => datagram.serve(rule.host, &socket.options)?,
            None => datagram.bound(socket.family, &socket.options)?.local_addr()?,
        };
        let port = if address.port() == 0 { host.port() } else { address.port() };
        socket.local = SocketAddr::new(address.ip(), port);
        Ok(())
    }

    /// Starts to listen. A socket which was never bound gets a port of its own, as on Linux.
    pub(crate) fn listen(&mut self, fd: i32, backlog: i32) -> Result<(), Errno> {
        let socket = self.get(fd)?;
        if socket.kind() == Kind::Datagram {
            return Err(Errno::NotSup);
        }
        if matches!(socket.role, Role::Fresh) {
            let any = socket.family.any();
            self.bind(fd, any)?;
        }
        let inbound = match &self.network.inbound {
            Inbound::Virtual(inbound) => Some(inbound.clone()),
            Inbound::Denied | Inbound::Real(_) => None,
        };
        let socket = self.get(fd)?;
        let listener = match (std::mem::replace(&mut socket.role, Role::Fresh), inbound) {
            (Role::Bound(Bound::Virtual), Some(inbound)) => Ok(Listener::Virtual(inbound)),
            (Role::Bound(Bound::Real(bound)), _) => {
                real::RealListener::listen(bound, backlog).map(Listener::Real).map_err(Errno::from)
            }
            // Again on a listener changes its backlog, which has no effect here.
            (Role::Listener(listener), _) => Ok(listener),
            (role, _) => {
                socket.role = role;
                return Err(Errno::Inval);
            }
        };
        socket.role = Role::Listener(listener?);
        Ok(())
    }

    /// Accepts a connection, waiting for one unless the listener is non-blocking.
    pub(crate) async fn accept(&mut self, fd: i32, nonblocking: bool) -> Result<i32, Failure> {
        let wait = !self.get(fd)?.nonblocking;
        let limit = self.get(fd)?.options.receive_timeout;
        loop {
            match self.try_accept(fd, nonblocking) {
                Err(Failure::Errno(Errno::Again)) if wait => {}
                result => return result,
            }
            within(limit, poll_fn(|cx| self.poll_acceptable(fd, cx))).await??;
        }
    }

    fn try_accept(&mut self, fd: i32, nonblocking: bool) -> Result<i32, Failure> {
        let listener = self.get(fd)?;
        let (family, local) = (listener.family, listener.local);
        let (stream, local, peer) = match &mut listener.role {
            Role::Listener(Listener::Virtual(inbound)) => {
                let (stream, peer) = inbound.accept().ok_or(Errno::Again)?;
                (Stream::Virtual(stream), local, family.fit(peer))
            }
            Role::Listener(Listener::Real(listener)) => {
                let (stream, peer) = listener.try_accept()?;
                let local = SocketAddr::new(stream.local_addr().map_or(local.ip(), |real| real.ip()), local.port());
                (Stream::Real(stream), local, peer)
            }
            Role::Datagram(_) => return Err(Errno::NotSup.into()),
            _ => return Err(Errno::Inval.into()),
        };
        let mut socket = Socket::new(family, Role::Stream(stream));
        socket.local = local;
        socket.peer = Some(peer);
        socket.nonblocking = nonblocking;
        socket.accepted = true;
        Ok(self.insert(socket)?)
    }

    fn poll_acceptable(&mut self, fd: i32, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        match &mut self.get(fd)?.role {
            Role::Listener(Listener::Virtual(inbound)) => inbound.poll_acceptable(cx).map(|found| match found {
                Acceptable::Connection => Ok(()),
                Acceptable::NeverAgain => Err(Failure::ServedOut),
            }),
            Role::Listener(Listener::Real(listener)) => listener.poll_acceptable(cx).map(Ok),
            _ => Poll::Ready(Err(Errno::Inval.into())),
        }
    }
}

impl Socket {
    fn holds(&self, address: SocketAddr) -> bool {
        matches!(self.role, Role::Bound(_) | Role::Listener(_)) && self.local.port() == address.port()
    }
}

/// The rule for this address; one which names the guest's address goes before one for any.
pub(super) fn permitting(rules: &[InboundRule], address: SocketAddr) -> Option<InboundRule> {
    rules.iter().filter(|rule| rule.permits(address)).min_by_key(|rule| rule.guest.is_none()).copied()
}

fn refused(address: SocketAddr) -> Errno {
    tracing::warn!(
        "the guest was refused to listen on {address}\n  hint: allow it with `--allow-inbound {address}={address}`"
    );
    Errno::Acces
}
