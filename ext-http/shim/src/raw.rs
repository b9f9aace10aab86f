//! A connection through `wasi:sockets`, for what is not HTTP.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use prewasm_translation::Authority;

use crate::{
    bindings::wasi::{
        io::{
            poll::Pollable,
            streams::{InputStream, OutputStream, StreamError},
        },
        sockets::{
            instance_network::instance_network,
            ip_name_lookup::{ResolveAddressStream, resolve_addresses},
            network::{
                ErrorCode, IpAddress, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress, Ipv6SocketAddress, Network,
            },
            tcp::{ShutdownType, TcpSocket},
            tcp_create_socket::create_tcp_socket,
        },
    },
    errno::Errno,
    queue::{LIMIT, Queue},
};

/// A connection of its own.
pub(crate) struct Raw {
    // In the order in which children go before their parents.
    state: State,
    /// Names that are being looked up.
    names: Option<ResolveAddressStream>,
    network: Network,
    port: u16,
}

enum State {
    /// Waits for an address to try.
    Resolving {
        last: Errno,
    },
    Connecting(TcpSocket),
    Open(Open),
    Failed(Errno),
}

struct Open {
    input: Option<InputStream>,
    output: Option<OutputStream>,
    socket: TcpSocket,
    is_flushed: bool,
}

impl Raw {
    /// Begins to connect.
    pub(crate) fn connect(target: &Authority, address: SocketAddr) -> Self {
        let network = instance_network();
        let is_literal = target.host.parse::<IpAddr>().is_ok();
        let (state, names) = if is_literal {
            let state = match start(&network, address) {
                Ok(socket) => State::Connecting(socket),
                Err(error) => State::Failed(errno(error)),
            };
            (state, None)
        } else {
            match resolve_addresses(&network, &target.host) {
                Ok(names) => (State::Resolving { last: Errno::HostUnreach }, Some(names)),
                Err(error) => (State::Failed(errno(error)), None),
            }
        };
        Self { state, names, network, port: address.port() }
    }

    /// Moves what can be moved.
    pub(crate) fn advance(&mut self, input: &mut Queue, output: &mut Queue, is_whole: bool) -> Result<(), Errno> {
        while self.get_on() {}
        match &mut self.state {
            State::Open(open) => open.advance(input, output, is_whole),
            State::Failed(errno) => Err(*errno),
            State::Resolving { .. } | State::Connecting(_) => Ok(()),
        }
    }

    /// Whether the other side will send no more than what has been taken over. It may still listen.
    pub(crate) fn has_ended(&self) -> bool {
        matches!(&self.state, State::Open(open) if open.input.is_none())
    }

    /// Gets nearer to a connection; whether there may be more to be done at once.
    fn get_on(&mut self) -> bool {
        match &self.state {
            State::Resolving { last } => {
                let Some(names) = &self.names else { return self.become_failed(*last) };
                match names.resolve_next_address() {
                    Ok(Some(ip)) => match start(&self.network, SocketAddr::new(from_host(ip), self.port)) {
                        Ok(socket) => self.state = State::Connecting(socket),
                        Err(error) => self.state = State::Resolving { last: errno(error) },
                    },
                    Ok(None) => self.names = None,
                    Err(ErrorCode::WouldBlock) => return false,
                    Err(error) => return self.become_failed(errno(error)),
                }
                true
            }
            State::Connecting(socket) => match socket.finish_connect() {
                Ok((input, output)) => {
                    let State::Connecting(socket) = std::mem::replace(&mut self.state, State::Failed(Errno::Io)) else {
                        return false;
                    };
                    let open = Open { input: Some(input), output: Some(output), socket, is_flushed: true };
                    self.state = State::Open(open);
                    false
                }
                Err(ErrorCode::WouldBlock) => false,
                Err(error) => {
                    // The name may have other addresses.
                    self.state = State::Resolving { last: errno(error) };
                    true
                }
            },
            State::Open(_) | State::Failed(_) => false,
        }
    }

    fn become_failed(&mut self, errno: Errno) -> bool {
        self.state = State::Failed(errno);
        false
    }

    pub(crate) fn wait(&self, input: &Queue, output: &Queue, into: &mut Vec<Pollable>) {
        match &self.state {
            State::Resolving { .. } => into.extend(self.names.as_ref().map(ResolveAddressStream::subscribe)),
            State::Connecting(socket) => into.push(socket.subscribe()),
            State::Open(open) => {
                if !input.is_empty() {
                    into.extend(open.output.as_ref().map(OutputStream::subscribe));
                }
                if output.room() > 0 {
                    into.extend(open.input.as_ref().map(InputStream::subscribe));
                }
            }
            State::Failed(_) => {}
        }
    }
}

impl Open {
    fn advance(&mut self, input: &mut Queue, output: &mut Queue, is_whole: bool) -> Result<(), Errno> {
        self.write(input)?;
        if is_whole && input.is_empty() && self.output.take().is_some() {
            let _ = self.socket.shutdown(ShutdownType::Send);
        }
        while let Some(stream) = &self.input
            && output.room() > 0
        {
            match stream.read(output.room() as u64) {
                Ok(bytes) if bytes.is_empty() => break,
                Ok(bytes) => output.push(&bytes),
                Err(StreamError::Closed) => self.input = None,
                Err(StreamError::LastOperationFailed(_)) => return Err(Errno::ConnReset),
            }
        }
        Ok(())
    }

    fn write(&mut self, input: &mut Queue) -> Result<(), Errno> {
        let Some(stream) = &self.output else { return Ok(()) };
        while !input.is_empty() {
            let room = stream.check_write().map_err(|_| Errno::Pipe)?;
            let room = usize::try_from(room).unwrap_or(usize::MAX).min(LIMIT).min(input.len());
            if room == 0 {
                return Ok(());
            }
            stream.write(&input.bytes()[..room]).map_err(|_| Errno::Pipe)?;
            input.consume(room);
            self.is_flushed = false;
        }
        if !self.is_flushed {
            stream.flush().map_err(|_| Errno::Pipe)?;
            self.is_flushed = true;
        }
        Ok(())
    }
}

fn start(network: &Network, address: SocketAddr) -> Result<TcpSocket, ErrorCode> {
    let family = if address.is_ipv4() { IpAddressFamily::Ipv4 } else { IpAddressFamily::Ipv6 };
    let socket = create_tcp_socket(family)?;
    socket.start_connect(network, to_host(address))?;
    Ok(socket)
}

fn to_host(address: SocketAddr) -> IpSocketAddress {
    match address {
        SocketAddr::V4(v4) => {
            let [a, b, c, d] = v4.ip().octets();
            IpSocketAddress::Ipv4(Ipv4SocketAddress { port: v4.port(), address: (a, b, c, d) })
        }
        SocketAddr::V6(v6) => {
            let [a, b, c, d, e, f, g, h] = v6.ip().segments();
            let address = (a, b, c, d, e, f, g, h);
            IpSocketAddress::Ipv6(Ipv6SocketAddress { port: v6.port(), flow_info: 0, address, scope_id: 0 })
        }
    }
}

fn from_host(ip: IpAddress) -> IpAddr {
    match ip {
        IpAddress::Ipv4((a, b, c, d)) => Ipv4Addr::new(a, b, c, d).into(),
        IpAddress::Ipv6((a, b, c, d, e, f, g, h)) => Ipv6Addr::new(a, b, c, d, e, f, g, h).into(),
    }
}

fn errno(error: ErrorCode) -> Errno {
    match error {
        ErrorCode::AccessDenied => Errno::Acces,
        ErrorCode::NotSupported => Errno::NotSup,
        ErrorCode::InvalidArgument | ErrorCode::InvalidState => Errno::Inval,
        ErrorCode::Timeout => Errno::TimedOut,
        ErrorCode::NewSocketLimit => Errno::MFile,
        ErrorCode::RemoteUnreachable
        | ErrorCode::NameUnresolvable
        | ErrorCode::TemporaryResolverFailure
        | ErrorCode::PermanentResolverFailure => Errno::HostUnreach,
        ErrorCode::ConnectionRefused => Errno::ConnRefused,
        ErrorCode::ConnectionReset | ErrorCode::ConnectionAborted => Errno::ConnReset,
        _ => Errno::Io,
    }
}
