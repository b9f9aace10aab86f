//! The program's sockets, and what they are before any bytes flow.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::{
    address::{FAMILY_INET4, FAMILY_INET6, Family},
    client::Client,
    errno::{Errno, Failure},
    options::{self, Facts, Options},
    server::Server,
    state::{Leftover, Run},
};

/// Sockets have descriptors from here on, as in snapshots and on the native host.
pub(crate) const FIRST_SOCKET: i32 = 512;
const MAX_SOCKETS: usize = 512;
/// At most so much is remembered for the host to take after a close; of what a program leaves behind beyond it, the host
/// need not take any.
const MAX_LEFTOVERS: usize = 64;
/// The first port given to a listener which asks for port 0: the start of the ephemeral range.
const FIRST_EPHEMERAL_PORT: u16 = 49152;
/// The port of whoever sent the request; hosts do not tell.
const CLIENT_PORT: u16 = FIRST_EPHEMERAL_PORT;

pub(crate) const FLAG_NONBLOCK: u32 = 4;
/// In what `get-flags` gives.
const FLAG_ACCEPTED: u32 = 1 << 16;
const SHUTDOWN_READ: u32 = 1;
const SHUTDOWN_WRITE: u32 = 2;

const FAMILY_UNSPEC: u8 = 0;
const FAMILY_UNIX: u8 = 3;
const TYPE_DGRAM: u8 = 1;
const TYPE_STREAM: u8 = 2;
/// Until 0.9, `INET4` was 0 and `STREAM` 1. Newer programs never send family 0.
const OLD_TYPE_STREAM: u8 = 1;

/// What a socket is at the moment.
pub(crate) enum Role {
    Fresh,
    Bound,
    Listener,
    Server(Box<Server>),
    Client(Box<Client>),
}

/// One socket.
pub(crate) struct Socket {
    pub(crate) role: Role,
    family: Family,
    pub(crate) is_nonblocking: bool,
    is_accepted: bool,
    local: SocketAddr,
    peer: Option<SocketAddr>,
    pub(crate) options: Options,
}

impl Socket {
    pub(crate) fn new(family: Family, role: Role) -> Self {
        Self {
            role,
            family,
            is_nonblocking: false,
            is_accepted: false,
            local: family.any(),
            peer: None,
            options: Options::default(),
        }
    }

    pub(crate) fn at(mut self, local: SocketAddr, flags: u32) -> Self {
        self.local = local;
        self.is_nonblocking = flags & FLAG_NONBLOCK != 0;
        self
    }
}

/// All of them.
pub(crate) struct Sockets(Vec<Option<Socket>>);

impl Sockets {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    fn index(fd: i32) -> Option<usize> {
        usize::try_from(fd.checked_sub(FIRST_SOCKET)?).ok()
    }

    pub(crate) fn get(&mut self, fd: i32) -> Result<&mut Socket, Errno> {
        let slot = Self::index(fd).and_then(|index| self.0.get_mut(index));
        slot.and_then(Option::as_mut).ok_or(Errno::BadF)
    }

    fn insert(&mut self, socket: Socket) -> Result<i32, Errno> {
        let index = self.0.iter().position(Option::is_none).unwrap_or(self.0.len());
        let fd = i32::try_from(index).map_err(|_| Errno::MFile)? + FIRST_SOCKET;
        self.place(fd, socket)?;
        Ok(fd)
    }

    /// Puts a socket where a frozen program expects it.
    pub(crate) fn place(&mut self, fd: i32, socket: Socket) -> Result<(), Errno> {
        let index = Self::index(fd).filter(|index| *index < MAX_SOCKETS).ok_or(Errno::MFile)?;
        while self.0.len() <= index {
            self.0.push(None);
        }
        self.0[index] = Some(socket);
        Ok(())
    }

    fn remove(&mut self, fd: i32) -> Result<Socket, Errno> {
        let slot = Self::index(fd).and_then(|index| self.0.get_mut(index));
        slot.and_then(Option::take).ok_or(Errno::BadF)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Socket> {
        self.0.iter_mut().flatten()
    }

    /// Whether the program has yet to answer on some connection.
    pub(crate) fn has_unfinished(&self) -> bool {
        let is_unfinished = |socket: &Socket| matches!(&socket.role, Role::Server(server) if server.is_unfinished());
        self.0.iter().flatten().any(is_unfinished)
    }

    pub(crate) fn has_listener(&self) -> bool {
        self.0.iter().flatten().any(|socket| matches!(socket.role, Role::Listener))
    }

    pub(crate) fn open(&mut self, family: i32, kind: i32) -> Result<i32, Errno> {
        let family = family_of(narrow(family), narrow(kind))?;
        self.insert(Socket::new(family, Role::Fresh))
    }

    pub(crate) fn bind(&mut self, fd: i32, address: SocketAddr) -> Result<(), Errno> {
        let socket = self.get(fd)?;
        if socket.family != Family::of(address.ip()) {
            return Err(Errno::AfNoSupport);
        }
        if !matches!(socket.role, Role::Fresh) {
            return Err(Errno::Inval);
        }
        let holds = |socket: &Socket| {
            matches!(socket.role, Role::Bound | Role::Listener) && socket.local.port() == address.port()
        };
        if address.port() != 0 && self.0.iter().flatten().any(holds) {
            return Err(Errno::AddrInUse);
        }
        let number = u16::try_from(fd - FIRST_SOCKET).unwrap_or(0);
        let port = if address.port() == 0 { FIRST_EPHEMERAL_PORT.saturating_add(number) } else { address.port() };
        let socket = self.get(fd)?;
        socket.local = SocketAddr::new(address.ip(), port);
        socket.role = Role::Bound;
        Ok(())
    }

    /// A socket which was never bound gets a port of its own, as on Linux.
    pub(crate) fn listen(&mut self, fd: i32) -> Result<(), Errno> {
        let socket = self.get(fd)?;
        if matches!(socket.role, Role::Fresh) {
            let any = socket.family.any();
            self.bind(fd, any)?;
        }
        let socket = self.get(fd)?;
        if !matches!(socket.role, Role::Bound | Role::Listener) {
            return Err(Errno::Inval);
        }
        socket.role = Role::Listener;
        Ok(())
    }

    pub(crate) fn flags(&mut self, fd: i32) -> Result<i32, Errno> {
        let socket = self.get(fd)?;
        let nonblocking = if socket.is_nonblocking { FLAG_NONBLOCK } else { 0 };
        let accepted = if socket.is_accepted { FLAG_ACCEPTED } else { 0 };
        Ok((nonblocking | accepted).cast_signed())
    }

    pub(crate) fn set_flags(&mut self, fd: i32, flags: u32) -> Result<(), Errno> {
        self.get(fd)?.is_nonblocking = flags & FLAG_NONBLOCK != 0;
        Ok(())
    }

    pub(crate) fn shutdown(&mut self, fd: i32, how: u32) -> Result<(), Errno> {
        let [how, ..] = how.to_le_bytes();
        let how = u32::from(how);
        let socket = self.get(fd)?;
        if how & !(SHUTDOWN_READ | SHUTDOWN_WRITE) != 0 {
            return Err(Errno::Inval);
        }
        // 0 is what Linux calls SHUT_RD.
        let (read, write) = (how & SHUTDOWN_READ != 0 || how == 0, how & SHUTDOWN_WRITE != 0);
        match &mut socket.role {
            Role::Server(server) => server.shutdown(read, write),
            Role::Client(client) => client.shutdown(read, write),
            Role::Fresh | Role::Bound | Role::Listener => return Err(Errno::NotConn),
        }
        Ok(())
    }

    /// Of side 0, the local one, or 1, the peer's.
    pub(crate) fn address(&mut self, fd: i32, side: u32) -> Result<SocketAddr, Errno> {
        let socket = self.get(fd)?;
        match (side, &socket.role) {
            (0, _) => Ok(socket.local),
            (_, Role::Client(client)) if client.has_failed() => Err(Errno::NotConn),
            (_, Role::Server(_) | Role::Client(_)) => socket.peer.ok_or(Errno::NotConn),
            _ => Err(Errno::NotConn),
        }
    }

    pub(crate) fn option(&mut self, fd: i32, level: i32, name: i32) -> Result<Vec<u8>, Errno> {
        let socket = self.get(fd)?;
        if options::is_error(level, name) {
            let error = match &mut socket.role {
                Role::Client(client) => client.take_error(),
                _ => None,
            };
            return Ok(options::int(error.map_or(0, |errno| errno.code().into())));
        }
        let facts = Facts { is_listener: matches!(socket.role, Role::Listener) };
        socket.options.get(level, name, &facts)
    }

    pub(crate) fn set_option(&mut self, fd: i32, level: i32, name: i32, value: &[u8]) -> Result<(), Errno> {
        self.get(fd)?.options.set(level, name, value)
    }
}

impl Run {
    /// The one connection there is; after it there is nothing more to wait for.
    pub(crate) fn accept(&mut self, fd: i32, flags: u32) -> Result<i32, Failure> {
        let listener = self.sockets.get(fd)?;
        if !matches!(listener.role, Role::Listener) {
            return Err(Errno::Inval.into());
        }
        let (family, local, is_nonblocking) = (listener.family, listener.local, listener.is_nonblocking);
        let Some(pending) = self.pending.take() else {
            let waits_for_others = is_nonblocking && self.sockets.has_unfinished();
            return Err(if waits_for_others { Errno::Again.into() } else { Failure::Leave });
        };
        let mut socket = Socket::new(family, Role::Server(Box::new(Server::new(pending)))).at(local, flags);
        socket.is_accepted = true;
        socket.peer = Some(SocketAddr::new(peer(family), CLIENT_PORT));
        Ok(self.sockets.insert(socket)?)
    }

    /// Succeeds at once: nothing is known before the first bytes are written.
    pub(crate) fn connect(&mut self, fd: i32, address: SocketAddr) -> Result<(), Errno> {
        let socket = self.sockets.get(fd)?;
        match &socket.role {
            Role::Fresh | Role::Bound => {}
            Role::Client(client) if client.has_failed() => {}
            Role::Client(_) | Role::Server(_) | Role::Listener => return Err(Errno::IsConn),
        }
        if socket.family != Family::of(address.ip()) {
            return Err(Errno::AfNoSupport);
        }
        let target = self.names.target(address)?;
        #[cfg(not(feature = "sockets"))]
        if address.port() == crate::names::DNS_PORT {
            crate::complain::complain(&[
                "the program was refused to ask a name server of its own at `",
                &target.host,
                "`: names are resolved by the host; hint: unset DNS_SERVER in its environment",
            ]);
            return Err(Errno::Acces);
        }
        if socket.local.port() == 0 {
            let number = u16::try_from(fd - FIRST_SOCKET).unwrap_or(0);
            socket.local = SocketAddr::new(socket.family.loopback(), FIRST_EPHEMERAL_PORT.saturating_add(number));
        }
        socket.peer = Some(address);
        socket.role = Role::Client(Box::new(Client::new(target, address)));
        Ok(())
    }

    pub(crate) fn close(&mut self, fd: i32) -> Result<(), Errno> {
        let socket = self.sockets.remove(fd)?;
        self.discard(socket);
        Ok(())
    }

    /// Lets a socket go, but for what the host has yet to take of what was written to it.
    fn discard(&mut self, socket: Socket) {
        match socket.role {
            Role::Server(server) => self.leftovers.extend(server.close().map(Leftover::Body)),
            Role::Client(mut client) => {
                let (_, mut around) = self.split();
                let is_left = client.close();
                client.advance(&mut around);
                if is_left && self.leftovers.len() < MAX_LEFTOVERS {
                    self.leftovers.push(Leftover::Client(client));
                }
            }
            Role::Fresh | Role::Bound | Role::Listener => {}
        }
    }

    pub(crate) fn close_all(&mut self) {
        let all = std::mem::replace(&mut self.sockets, Sockets::new());
        for socket in all.0.into_iter().flatten() {
            self.discard(socket);
        }
    }

    /// Moves a socket to another descriptor, closing what was there.
    pub(crate) fn renumber(&mut self, from: i32, to: i32) -> Result<(), Errno> {
        self.sockets.get(from)?;
        self.sockets.get(to)?;
        if from != to {
            self.close(to)?;
            let socket = self.sockets.remove(from)?;
            self.sockets.place(to, socket)?;
        }
        Ok(())
    }
}

/// Whoever sent the request, as a socket of this family sees it; hosts do not tell who that is.
fn peer(family: Family) -> IpAddr {
    match family {
        Family::Inet4 => Ipv4Addr::LOCALHOST.into(),
        Family::Inet6 => Ipv4Addr::LOCALHOST.to_ipv6_mapped().into(),
    }
}

/// Family and type are 8 bits wide; what is above them does not count.
fn narrow(value: i32) -> u8 {
    value.to_le_bytes()[0]
}

fn family_of(family: u8, kind: u8) -> Result<Family, Errno> {
    match (family, kind) {
        (FAMILY_UNSPEC, OLD_TYPE_STREAM) => Ok(Family::Inet4),
        (_, kind) if kind != TYPE_DGRAM && kind != TYPE_STREAM => Err(Errno::Inval),
        (FAMILY_INET4 | FAMILY_INET6, TYPE_DGRAM) => Err(Errno::ProtoNoSupport),
        (FAMILY_INET4, _) => Ok(Family::Inet4),
        (FAMILY_INET6, _) => Ok(Family::Inet6),
        // As WasmEdge says unless it is told to allow them.
        (FAMILY_UNIX, _) => Err(Errno::NoSys),
        _ => Err(Errno::Inval),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_the_lowest_free_ones_and_bounded() {
        let mut sockets = Sockets::new();
        for number in 0..512 {
            assert_eq!(sockets.open(1, 2), Ok(FIRST_SOCKET + number));
        }
        assert_eq!(sockets.open(1, 2), Err(Errno::MFile));
        sockets.remove(600).expect("open");
        assert_eq!(sockets.open(1, 2), Ok(600));
        for fd in [-1, 0, 511, 1024, i32::MAX, i32::MIN] {
            assert_eq!(sockets.listen(fd), Err(Errno::BadF));
        }
    }

    #[test]
    fn families_and_types_are_those_of_the_native_host() {
        assert_eq!(family_of(0, 1), Ok(Family::Inet4), "before 0.10");
        assert_eq!(family_of(2, 2), Ok(Family::Inet6));
        assert_eq!(family_of(1, 1), Err(Errno::ProtoNoSupport));
        assert_eq!(family_of(3, 2), Err(Errno::NoSys));
        for (family, kind) in [(0, 2), (1, 0), (4, 2), (1, 3)] {
            assert_eq!(family_of(family, kind), Err(Errno::Inval));
        }
    }

    #[test]
    fn a_port_is_bound_once() {
        let mut sockets = Sockets::new();
        let address = "0.0.0.0:80".parse().expect("valid");
        let (one, two) = (sockets.open(1, 2).expect("room"), sockets.open(1, 2).expect("room"));
        assert_eq!(sockets.bind(one, address), Ok(()));
        assert_eq!(sockets.bind(two, address), Err(Errno::AddrInUse));
        assert_eq!(sockets.bind(one, address), Err(Errno::Inval));
        assert_eq!(sockets.listen(two), Ok(()));
        assert_eq!(sockets.address(two, 0), Ok("0.0.0.0:49153".parse().expect("valid")));
        assert_eq!(sockets.address(two, 1), Err(Errno::NotConn));
        assert_eq!(sockets.shutdown(two, 3), Err(Errno::NotConn));
    }
}
