//! What the socket calls mean: a table of descriptors, and operations on them.
//!
//! Nothing here knows layouts or dialects. Operations which may wait are split into a `try_…` or `poll_…` part, so that
//! guest memory is never borrowed while a guest waits.

mod real;

use std::{
    collections::HashMap,
    future::poll_fn,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use crate::{
    abi::errno::Errno,
    network::{Inbound, InboundRule, Network, VirtualInbound, pipe::GuestStream, virtual_inbound::Acceptable},
    outbound::{Refusal, Scheme},
};

use real::RealListener;

/// Sockets have descriptors from here on, on every host and in every snapshot: above all files, and below
/// `FD_SETSIZE`.
pub(crate) const FIRST_SOCKET: i32 = 512;
/// At most this many sockets per instance.
const MAX_SOCKETS: usize = 512;
/// A guest that sets no timeout of its own gets an error after this long.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// Addresses handed out for names which `--resolve` maps to a port of their own: a benchmarking range (RFC 2544) that
/// no real peer has.
const SYNTHETIC_NET: [u8; 2] = [198, 18];
/// The first port given to a virtual listener which asks for port 0: the start of the ephemeral range.
const FIRST_EPHEMERAL_PORT: u16 = 49152;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Inet4,
    Inet6,
}

impl Family {
    fn unspecified(self) -> IpAddr {
        match self {
            Self::Inet4 => Ipv4Addr::UNSPECIFIED.into(),
            Self::Inet6 => Ipv6Addr::UNSPECIFIED.into(),
        }
    }
}

type Connecting = Pin<Box<dyn Future<Output = Result<TcpStream, Errno>> + Send>>;

/// What a socket is at the moment.
enum Role {
    Fresh,
    Bound(Bound),
    Listener(Listener),
    Connecting(Connecting),
    Stream(Stream),
    /// A connection attempt failed; told once by `SO_ERROR`, and by every transfer.
    Failed(Errno),
}

enum Bound {
    Virtual,
    Real(TcpSocket),
}

enum Listener {
    Virtual(VirtualInbound),
    Real(RealListener),
}

pub(crate) enum Stream {
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
    receive_timeout: Option<Duration>,
    send_timeout: Option<Duration>,
    /// Options which are remembered for `sock_getsockopt` and change nothing else.
    options: HashMap<i32, Vec<u8>>,
}

/// The sockets of one instance.
pub(crate) struct Sockets {
    slots: Vec<Option<Socket>>,
    network: Network,
    /// Which name an address was handed out for, so that the policy can judge the name on connect.
    names: HashMap<Ipv4Addr, Name>,
}

#[derive(Clone)]
struct Name {
    name: String,
    /// Where to connect instead of the address handed out.
    target: Option<SocketAddr>,
}

/// What `sock_getsockopt` answers.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum OptionValue {
    Int(i32),
    Timeout(Option<Duration>),
    Bytes(Vec<u8>),
}

/// Numbers of socket options (level `SOL_SOCKET` = 0).
pub(crate) mod option {
    pub(crate) const REUSE_ADDRESS: i32 = 0;
    pub(crate) const TYPE: i32 = 1;
    pub(crate) const ERROR: i32 = 2;
    pub(crate) const RECEIVE_TIMEOUT: i32 = 11;
    pub(crate) const SEND_TIMEOUT: i32 = 12;
    pub(crate) const ACCEPTS_CONNECTIONS: i32 = 13;
    pub(crate) const LAST: i32 = 14;
    /// The value of `TYPE` for a stream socket.
    pub(crate) const TYPE_STREAM: i32 = 2;
}

impl Sockets {
    pub(crate) fn new(network: Network) -> Self {
        Self { slots: Vec::new(), network, names: HashMap::new() }
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

    pub(crate) fn open(&mut self, family: Family) -> Result<i32, Errno> {
        self.insert(Socket::new(family))
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

    pub(crate) fn bind(&mut self, fd: i32, address: SocketAddr) -> Result<(), Errno> {
        let taken = address.port() != 0 && self.slots.iter().flatten().any(|socket| socket.holds(address));
        let ephemeral = FIRST_EPHEMERAL_PORT.saturating_add(u16::try_from(fd - FIRST_SOCKET).unwrap_or(0));
        let socket = self.get(fd)?;
        if !matches!(socket.role, Role::Fresh) {
            return Err(Errno::Inval);
        }
        if socket.family != family_of(address) {
            return Err(Errno::AfNoSupport);
        }
        let reuse = socket.options.get(&option::REUSE_ADDRESS).is_some_and(|value| value.iter().any(|&byte| byte != 0));
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
                let rule = permitting(rules, address)?;
                let (bound, host) = real::bind(rule.host, reuse).map_err(|error| {
                    tracing::warn!("cannot bind {host}: {error}", host = rule.host);
                    Errno::from(error)
                })?;
                let port = if address.port() == 0 { host.port() } else { address.port() };
                (Bound::Real(bound), SocketAddr::new(address.ip(), port))
            }
        };
        let socket = self.get(fd)?;
        socket.role = Role::Bound(bound);
        socket.local = local;
        Ok(())
    }

    /// Starts to listen. A socket which was never bound gets a port of its own, as on Linux.
    pub(crate) fn listen(&mut self, fd: i32, backlog: i32) -> Result<(), Errno> {
        if matches!(self.get(fd)?.role, Role::Fresh) {
            let any = SocketAddr::new(self.get(fd)?.family.unspecified(), 0);
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
                RealListener::listen(bound, backlog).map(Listener::Real).map_err(Errno::from)
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
        let limit = self.get(fd)?.receive_timeout;
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
            _ => return Err(Errno::Inval.into()),
        };
        let mut socket = Socket::new(family);
        socket.role = Role::Stream(stream);
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

    /// Connects, waiting for the result unless the socket is non-blocking.
    pub(crate) async fn connect(&mut self, fd: i32, address: SocketAddr) -> Result<(), Errno> {
        let target = self.permit(address)?;
        let socket = self.get(fd)?;
        match socket.role {
            Role::Fresh | Role::Bound(_) | Role::Failed(_) => {}
            Role::Connecting(_) => return Err(Errno::Already),
            Role::Stream(_) => return Err(Errno::IsConn),
            Role::Listener(_) => return Err(Errno::Inval),
        }
        if socket.family != family_of(address) {
            return Err(Errno::AfNoSupport);
        }
        let limit = socket.send_timeout.unwrap_or(CONNECT_TIMEOUT);
        socket.role = Role::Connecting(Box::pin(async move {
            let connected = timeout(limit, real::connect(target)).await.map_err(|_| Errno::TimedOut)?;
            connected.map_err(Errno::from)
        }));
        socket.peer = Some(address);
        if socket.nonblocking {
            // The attempt starts now, though nobody waits for it yet.
            let started = poll_fn(|cx| Poll::Ready(socket.poll_connected(cx))).await;
            return match started {
                Poll::Pending => Err(Errno::InProgress),
                Poll::Ready(result) => result,
            };
        }
        poll_fn(|cx| socket.poll_connected(cx)).await
    }

    /// Asks the policy; the result is the address to dial.
    fn permit(&self, address: SocketAddr) -> Result<SocketAddr, Errno> {
        let name = match address.ip() {
            IpAddr::V4(ip) => self.names.get(&ip),
            IpAddr::V6(_) => None,
        };
        let outbound = &self.network.outbound;
        let (result, target) = match name {
            Some(Name { name, target }) => {
                let target = target.unwrap_or(address);
                // The pattern is about the port which the guest asked for, the ranges about where it really leads.
                let checked = SocketAddr::new(target.ip(), address.port());
                (outbound.check_named(Scheme::Tcp, name, checked), target)
            }
            None => (outbound.check_address(Scheme::Tcp, address), address),
        };
        match result {
            Ok(()) => Ok(target),
            // A name's address may also be allowed as such.
            Err(_) if name.is_some() && outbound.check_address(Scheme::Tcp, address).is_ok() => Ok(target),
            Err(refusal) => Err(refused(&refusal)),
        }
    }

    /// Resolves a name for a guest and remembers what its addresses stand for.
    pub(crate) async fn lookup(&mut self, name: &str) -> Result<Vec<Ipv4Addr>, Errno> {
        if let Ok(ip) = name.parse() {
            return Ok(vec![ip]);
        }
        let found = match self.network.outbound.lookup_ipv4(name).await {
            Ok(found) => found,
            Err(refusal @ Refusal::Unresolved { .. }) => {
                tracing::debug!("{refusal}");
                return Err(Errno::AiNoName);
            }
            Err(refusal) => {
                tracing::warn!("{refusal}");
                return Err(Errno::AiNoName);
            }
        };
        let fixed = self.network.outbound.resolution(name);
        match fixed.and_then(|fixed| Some(SocketAddr::new(fixed.ip, fixed.port?))) {
            Some(target) => Ok(vec![self.synthesize(name, target)?]),
            None => {
                for &ip in &found {
                    self.remember(ip, Name { name: name.to_owned(), target: None })?;
                }
                Ok(found)
            }
        }
    }

    fn synthesize(&mut self, name: &str, target: SocketAddr) -> Result<Ipv4Addr, Errno> {
        if let Some((ip, _)) = self.names.iter().find(|(_, known)| known.name == name) {
            return Ok(*ip);
        }
        let [high, low] = u16::try_from(self.names.len() + 1).map_err(|_| Errno::AiMemory)?.to_be_bytes();
        let ip = Ipv4Addr::new(SYNTHETIC_NET[0], SYNTHETIC_NET[1], high, low);
        self.remember(ip, Name { name: name.to_owned(), target: Some(target) })?;
        Ok(ip)
    }

    fn remember(&mut self, ip: Ipv4Addr, name: Name) -> Result<(), Errno> {
        /// A guest which looks up more names than this is told to try again later.
        const MAX_NAMES: usize = 4096;
        if self.names.len() >= MAX_NAMES && !self.names.contains_key(&ip) {
            return Err(Errno::AiAgain);
        }
        self.names.insert(ip, name);
        Ok(())
    }

    /// Takes bytes without waiting; 0 is the end of the stream.
    pub(crate) fn try_receive(&mut self, fd: i32, bytes: &mut [u8], peek: bool) -> Result<usize, Errno> {
        match self.get(fd)?.stream()? {
            Stream::Virtual(stream) => stream.try_read(bytes, peek),
            Stream::Real(stream) => real::try_read(stream, bytes, peek),
        }
    }

    /// Stores bytes without waiting.
    pub(crate) fn try_send(&mut self, fd: i32, bytes: &[u8]) -> Result<usize, Errno> {
        match self.get(fd)?.stream()? {
            Stream::Virtual(stream) => stream.try_write(bytes),
            Stream::Real(stream) => stream.try_write(bytes).map_err(Errno::from),
        }
    }

    /// Waits until something can be received, as long as the socket's own timeout permits.
    pub(crate) async fn receivable(&mut self, fd: i32) -> Result<(), Failure> {
        let limit = self.get(fd)?.receive_timeout;
        within(limit, poll_fn(|cx| self.poll_readable(fd, cx))).await??;
        Ok(())
    }

    /// Waits until something can be sent, as long as the socket's own timeout permits.
    pub(crate) async fn sendable(&mut self, fd: i32) -> Result<(), Failure> {
        let limit = self.get(fd)?.send_timeout;
        Ok(within(limit, poll_fn(|cx| self.poll_writable(fd, cx))).await??)
    }

    /// Whether transfers on this socket return at once with [`Errno::Again`] instead of waiting.
    pub(crate) fn is_nonblocking(&mut self, fd: i32) -> Result<bool, Errno> {
        Ok(self.get(fd)?.nonblocking)
    }

    pub(crate) fn set_nonblocking(&mut self, fd: i32, nonblocking: bool) -> Result<(), Errno> {
        self.get(fd)?.nonblocking = nonblocking;
        Ok(())
    }

    /// Whether the socket came from `accept`, which its rights tell.
    pub(crate) fn is_accepted(&mut self, fd: i32) -> Result<bool, Errno> {
        Ok(self.get(fd)?.accepted)
    }

    /// Whether the guest polls a virtual listener which will never have a connection again.
    pub(crate) fn is_served_out(&mut self, fd: i32, cx: &mut Context<'_>) -> bool {
        matches!(self.poll_listener(fd, cx), Some(Poll::Ready(Acceptable::NeverAgain)))
    }

    fn poll_listener(&mut self, fd: i32, cx: &mut Context<'_>) -> Option<Poll<Acceptable>> {
        match &self.get(fd).ok()?.role {
            Role::Listener(Listener::Virtual(inbound)) => Some(inbound.poll_acceptable(cx)),
            _ => None,
        }
    }

    /// Ready when a read, an accept or the report of an error would not wait.
    pub(crate) fn poll_readable(&mut self, fd: i32, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        let socket = self.get(fd)?;
        match &mut socket.role {
            Role::Listener(Listener::Virtual(inbound)) => match inbound.poll_acceptable(cx) {
                Poll::Ready(Acceptable::Connection) => Poll::Ready(Ok(())),
                // Not an event: whoever polls asks `is_served_out` when nothing else is ready.
                Poll::Ready(Acceptable::NeverAgain) | Poll::Pending => Poll::Pending,
            },
            Role::Listener(Listener::Real(listener)) => listener.poll_acceptable(cx).map(Ok),
            Role::Stream(Stream::Virtual(stream)) => stream.poll_readable(cx).map(Ok),
            Role::Stream(Stream::Real(stream)) => real::poll_readable(stream, cx).map(Ok),
            // Only a failure makes an unconnected socket readable; success makes it writable.
            Role::Connecting(_) => match socket.poll_connected(cx) {
                Poll::Ready(Err(_)) => Poll::Ready(Ok(())),
                Poll::Ready(Ok(())) => self.poll_readable(fd, cx),
                Poll::Pending => Poll::Pending,
            },
            Role::Failed(_) => Poll::Ready(Ok(())),
            Role::Fresh | Role::Bound(_) => Poll::Ready(Ok(())),
        }
    }

    /// Ready when a write or the report of an error would not wait; a listener never is.
    pub(crate) fn poll_writable(&mut self, fd: i32, cx: &mut Context<'_>) -> Poll<Result<(), Errno>> {
        let socket = self.get(fd)?;
        match &mut socket.role {
            Role::Listener(_) => Poll::Pending,
            Role::Stream(Stream::Virtual(stream)) => stream.poll_writable(cx).map(Ok),
            Role::Stream(Stream::Real(stream)) => stream.poll_write_ready(cx).map(|_| Ok(())),
            // A failed attempt is an event too; the next transfer tells what failed.
            Role::Connecting(_) => socket.poll_connected(cx).map(|_| Ok(())),
            Role::Failed(_) | Role::Fresh | Role::Bound(_) => Poll::Ready(Ok(())),
        }
    }

    /// Bytes which can be sent without waiting (a hint), and whether both directions are closed.
    pub(crate) fn stream_state(&mut self, fd: i32) -> (u64, bool) {
        match self.get(fd).map(|socket| &socket.role) {
            Ok(Role::Stream(Stream::Virtual(stream))) => (stream.room() as u64, stream.is_hung_up()),
            Ok(Role::Stream(Stream::Real(_))) => (1, false),
            _ => (0, false),
        }
    }

    pub(crate) fn shutdown(&mut self, fd: i32, read: bool, write: bool) -> Result<(), Errno> {
        match &self.get(fd)?.role {
            Role::Stream(Stream::Virtual(stream)) => {
                stream.shutdown(read, write);
                Ok(())
            }
            Role::Stream(Stream::Real(stream)) => real::shutdown(stream, read, write).map_err(Errno::from),
            _ => Err(Errno::NotConn),
        }
    }

    pub(crate) fn local_address(&mut self, fd: i32) -> Result<SocketAddr, Errno> {
        let socket = self.get(fd)?;
        match &socket.role {
            Role::Stream(Stream::Real(stream)) if !socket.accepted => stream.local_addr().map_err(Errno::from),
            _ => Ok(socket.local),
        }
    }

    pub(crate) fn peer_address(&mut self, fd: i32) -> Result<SocketAddr, Errno> {
        let socket = self.get(fd)?;
        match socket.role {
            Role::Stream(_) => socket.peer.ok_or(Errno::NotConn),
            _ => Err(Errno::NotConn),
        }
    }

    pub(crate) fn option(&mut self, fd: i32, number: i32) -> Result<OptionValue, Errno> {
        let socket = self.get(fd)?;
        Ok(match number {
            option::TYPE => OptionValue::Int(option::TYPE_STREAM),
            option::ERROR => OptionValue::Int(socket.take_error().map_or(0, Errno::code)),
            option::ACCEPTS_CONNECTIONS => OptionValue::Int(matches!(socket.role, Role::Listener(_)).into()),
            option::RECEIVE_TIMEOUT => OptionValue::Timeout(socket.receive_timeout),
            option::SEND_TIMEOUT => OptionValue::Timeout(socket.send_timeout),
            0..=option::LAST => match socket.options.get(&number) {
                Some(bytes) => OptionValue::Bytes(bytes.clone()),
                None => OptionValue::Int(0),
            },
            _ => return Err(Errno::Inval),
        })
    }

    /// Sets an option. Those without a meaning here are remembered, so that they read back.
    pub(crate) fn set_option(&mut self, fd: i32, number: i32, bytes: &[u8]) -> Result<(), Errno> {
        let socket = self.get(fd)?;
        match number {
            option::RECEIVE_TIMEOUT => socket.receive_timeout = timeval(bytes)?,
            option::SEND_TIMEOUT => socket.send_timeout = timeval(bytes)?,
            option::TYPE | option::ERROR | option::ACCEPTS_CONNECTIONS => return Err(Errno::NoProtoOpt),
            0..=option::LAST => {
                if bytes.len() < 4 {
                    return Err(Errno::Inval);
                }
                socket.options.insert(number, bytes[..bytes.len().min(16)].to_vec());
            }
            _ => return Err(Errno::Inval),
        }
        Ok(())
    }
}

impl Socket {
    fn new(family: Family) -> Self {
        Self {
            role: Role::Fresh,
            family,
            nonblocking: false,
            accepted: false,
            local: SocketAddr::new(family.unspecified(), 0),
            peer: None,
            receive_timeout: None,
            send_timeout: None,
            options: HashMap::new(),
        }
    }

    fn holds(&self, address: SocketAddr) -> bool {
        matches!(self.role, Role::Bound(_) | Role::Listener(_)) && self.local.port() == address.port()
    }

    fn stream(&mut self) -> Result<&mut Stream, Errno> {
        match &mut self.role {
            Role::Stream(stream) => Ok(stream),
            Role::Connecting(_) => Err(Errno::Again),
            Role::Failed(errno) => Err(*errno),
            Role::Fresh | Role::Bound(_) | Role::Listener(_) => Err(Errno::NotConn),
        }
    }

    fn poll_connected(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Errno>> {
        let Role::Connecting(attempt) = &mut self.role else { return Poll::Ready(Ok(())) };
        attempt.as_mut().poll(cx).map(|result| match result {
            Ok(stream) => {
                self.role = Role::Stream(Stream::Real(stream));
                Ok(())
            }
            Err(errno) => {
                self.role = Role::Failed(errno);
                Err(errno)
            }
        })
    }

    fn take_error(&mut self) -> Option<Errno> {
        match &mut self.role {
            Role::Failed(errno) => Some(*errno),
            Role::Stream(Stream::Real(stream)) => stream.take_error().ok().flatten().map(Errno::from),
            _ => None,
        }
    }
}

impl Family {
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

fn family_of(address: SocketAddr) -> Family {
    if address.is_ipv4() { Family::Inet4 } else { Family::Inet6 }
}

fn permitting(rules: &[InboundRule], address: SocketAddr) -> Result<InboundRule, Errno> {
    // A rule which names the guest's address goes before one for any.
    let mut fitting: Vec<_> = rules.iter().filter(|rule| rule.permits(address)).collect();
    fitting.sort_by_key(|rule| rule.guest.is_none());
    fitting.first().map(|rule| **rule).ok_or_else(|| {
        tracing::warn!(
            "the guest was refused to listen on {address}\n  hint: allow it with `--allow-inbound {address}={address}`"
        );
        Errno::Acces
    })
}

fn refused(refusal: &Refusal) -> Errno {
    tracing::warn!("{refusal}");
    Errno::Acces
}

/// Waits for `future` within the limit which the guest set by `SO_RCVTIMEO` or `SO_SNDTIMEO`.
async fn within<T>(limit: Option<Duration>, future: impl Future<Output = T>) -> Result<T, Errno> {
    match limit {
        None => Ok(future.await),
        // Linux reports an elapsed socket timeout as EAGAIN.
        Some(limit) => timeout(limit, future).await.map_err(|_| Errno::Again),
    }
}

/// `i64` seconds, `i64` microseconds; zero means no limit.
fn timeval(bytes: &[u8]) -> Result<Option<Duration>, Errno> {
    let field = |range: std::ops::Range<usize>| -> Result<u64, Errno> {
        let bytes = bytes.get(range).and_then(|bytes| <[u8; 8]>::try_from(bytes).ok()).ok_or(Errno::Inval)?;
        u64::try_from(i64::from_le_bytes(bytes)).map_err(|_| Errno::Inval)
    };
    let duration = Duration::from_secs(field(0..8)?).saturating_add(Duration::from_micros(field(8..16)?));
    Ok((!duration.is_zero()).then_some(duration))
}
