//! Datagram sockets: always the host's, whether the guest's streams are real or in memory.
//!
//! A server's socket was permitted by a rule and hears everybody. Any other hears only from those to whom it has sent:
//! UDP has no connections, and what comes unasked would be inbound traffic which nobody has allowed.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    task::{Context, Poll, Waker},
};

use tokio::net::UdpSocket;

use super::{Family, options::Options};
use crate::abi::errno::Errno;

/// The longest payload: 65,535 bytes less the headers of UDP, and of IPv4 where that counts.
const MAX_PAYLOAD_INET4: usize = 65_507;
const MAX_PAYLOAD_INET6: usize = 65_527;
/// At most this many correspondents are remembered per socket, the oldest forgotten first.
const MAX_CORRESPONDENTS: usize = 1024;

/// A datagram socket; made on the host as soon as it must have an address.
#[derive(Default)]
pub(super) struct Datagram {
    socket: Option<UdpSocket>,
    /// A rule permitted to hear everybody.
    serves: bool,
    /// Where `connect` leads.
    connected: Option<SocketAddr>,
    correspondents: Correspondents,
    /// Received, and not yet taken.
    held: Option<Arrived>,
    /// What the host told about an earlier datagram; the next call tells the guest.
    error: Option<Errno>,
    read_shut: bool,
    write_shut: bool,
}

/// A datagram.
#[derive(Clone)]
pub(super) struct Arrived {
    pub(super) bytes: Vec<u8>,
    /// The sender, as the guest knows it.
    pub(super) from: SocketAddr,
}

/// Whom a socket has exchanged datagrams with: the real address, and the one that the guest knows.
#[derive(Default)]
struct Correspondents {
    known: HashMap<SocketAddr, SocketAddr>,
    order: VecDeque<SocketAddr>,
}

impl Correspondents {
    fn add(&mut self, real: SocketAddr, guest: SocketAddr) {
        if self.known.insert(real, guest).is_some() {
            return;
        }
        self.order.push_back(real);
        if self.order.len() > MAX_CORRESPONDENTS
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

impl Datagram {
    pub(super) fn is_bound(&self) -> bool {
        self.socket.is_some()
    }

    /// Binds a server's socket, and tells the address really bound.
    pub(super) fn serve(&mut self, host: SocketAddr, options: &Options) -> Result<SocketAddr, Errno> {
        let socket = bind(host, options).inspect_err(|error| tracing::warn!("cannot bind {host}: {error}"))?;
        let local = socket.local_addr()?;
        tracing::info!(target: crate::LISTENING, address = %local, protocol = "udp");
        self.socket = Some(socket);
        self.serves = true;
        Ok(local)
    }

    /// The host's socket; a client's is made now if there is none.
    pub(super) fn bound(&mut self, family: Family, options: &Options) -> Result<&UdpSocket, Errno> {
        match &mut self.socket {
            Some(socket) => Ok(socket),
            none => Ok(none.insert(bind(family.any(), options)?)),
        }
    }

    pub(super) fn host_socket(&self) -> Option<&UdpSocket> {
        self.socket.as_ref()
    }

    /// Where a connected socket really is; others keep the address that the guest chose.
    pub(super) fn local_address(&self) -> Option<SocketAddr> {
        self.connected?;
        self.socket.as_ref()?.local_addr().ok().filter(|_| !self.serves)
    }

    /// Chooses the only peer: the host then tells errors about it, too.
    pub(super) async fn connect(
        &mut self,
        family: Family,
        options: &Options,
        target: SocketAddr,
        guest: SocketAddr,
    ) -> Result<(), Errno> {
        self.bound(family, options)?.connect(target).await?;
        self.connected = Some(target);
        self.correspondents.add(target, guest);
        self.held = None;
        Ok(())
    }

    pub(super) fn shutdown(&mut self, read: bool, write: bool) {
        self.read_shut |= read;
        self.write_shut |= write;
    }

    pub(super) fn take_error(&mut self) -> Option<Errno> {
        self.error.take()
    }

    /// Whether this address has sent to a server's socket, which may answer then.
    pub(super) fn may_answer(&self, address: SocketAddr) -> bool {
        self.serves && self.correspondents.known.contains_key(&address)
    }

    /// Sends one datagram, to `target` (the real address, and the guest's) or else to the peer.
    pub(super) fn try_send(
        &mut self,
        family: Family,
        options: &Options,
        bytes: &[u8],
        target: Option<(SocketAddr, SocketAddr)>,
    ) -> Result<usize, Errno> {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        if self.write_shut {
            return Err(Errno::Pipe);
        }
        if bytes.len() > max_payload(family) {
            return Err(Errno::MsgSize);
        }
        let connected = self.connected.is_some();
        let socket = self.bound(family, options)?;
        let Some((real, guest)) = target else {
            return if connected { Ok(socket.try_send(bytes)?) } else { Err(Errno::DestAddrReq) };
        };
        let sent = socket.try_send_to(bytes, real)?;
        self.correspondents.add(real, guest);
        Ok(sent)
    }

    pub(super) fn poll_sendable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &self.socket {
            Some(socket) if self.error.is_none() && !self.write_shut => socket.poll_send_ready(cx).map(drop),
            _ => Poll::Ready(()),
        }
    }

    /// Takes one datagram without waiting; `None` after the guest has shut down reading.
    pub(super) fn try_receive(&mut self, peek: bool) -> Result<Option<Arrived>, Errno> {
        if self.poll_receivable(&mut Context::from_waker(Waker::noop())).is_pending() {
            return Err(Errno::Again);
        }
        match (self.error.take(), peek) {
            (Some(error), _) => Err(error),
            (None, true) => Ok(self.held.clone()),
            (None, false) => Ok(self.held.take()),
        }
    }

    /// Ready when `try_receive` has something to tell. Datagrams from strangers are dropped on the way.
    pub(super) fn poll_receivable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.held.is_none() && self.error.is_none() && !self.read_shut {
            // A socket without address gets no datagram.
            let Some(socket) = &self.socket else { return Poll::Pending };
            if socket.poll_recv_ready(cx).is_pending() {
                return Poll::Pending;
            }
            let mut bytes = Vec::with_capacity(MAX_PAYLOAD_INET6 + 1);
            match socket.try_recv_buf_from(&mut bytes) {
                Ok((_, from)) => {
                    bytes.shrink_to_fit();
                    self.held = self.known_as(from).map(|from| Arrived { bytes, from });
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => self.error = Some(error.into()),
            }
        }
        Poll::Ready(())
    }

    /// The sender as the guest knows it; `None` for one who has no business here.
    fn known_as(&mut self, from: SocketAddr) -> Option<SocketAddr> {
        if self.connected.is_some_and(|peer| peer != from) {
            return None;
        }
        match self.correspondents.known.get(&from) {
            Some(&guest) => Some(guest),
            None if self.serves => {
                self.correspondents.add(from, from);
                Some(from)
            }
            None => {
                tracing::debug!("dropped a datagram from {from}, to whom the guest has not sent");
                None
            }
        }
    }
}

fn bind(address: SocketAddr, options: &Options) -> std::io::Result<UdpSocket> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::DGRAM, None)?;
    socket.set_nonblocking(true)?;
    options.apply(&socket);
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

fn max_payload(family: Family) -> usize {
    match family {
        Family::Inet4 => MAX_PAYLOAD_INET4,
        Family::Inet6 => MAX_PAYLOAD_INET6,
    }
}
