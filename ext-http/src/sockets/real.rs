//! Sockets of the host, through tokio.

use std::{
    io,
    net::{Shutdown, SocketAddr},
    os::fd::{AsFd, BorrowedFd},
    pin::pin,
    task::{Context, Poll, Waker},
};

use socket2::SockRef;
use tokio::{
    io::{Interest, ReadBuf},
    net::{TcpListener, TcpSocket, TcpStream},
};

use crate::abi::errno::Errno;

/// The smallest backlog: guests which ask for none would lose connections that Linux would have kept.
const MIN_BACKLOG: u32 = 16;

fn socket_for(address: SocketAddr) -> io::Result<TcpSocket> {
    if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }
}

/// Binds, and tells the address really bound.
pub(super) fn bind(address: SocketAddr, reuse: bool) -> io::Result<(TcpSocket, SocketAddr)> {
    let socket = socket_for(address)?;
    socket.set_reuseaddr(reuse)?;
    socket.bind(address)?;
    let local = socket.local_addr()?;
    Ok((socket, local))
}

/// Connects, from the address that `bound` has, if any.
pub(super) async fn connect(bound: Option<TcpSocket>, address: SocketAddr) -> io::Result<TcpStream> {
    let socket = match bound {
        Some(bound) => bound,
        None => socket_for(address)?,
    };
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A listening socket which accepts ahead by one connection: tokio tells only by accepting whether there is one.
pub(super) struct RealListener {
    listener: TcpListener,
    accepted: Option<(TcpStream, SocketAddr)>,
}

impl RealListener {
    pub(super) fn listen(socket: TcpSocket, backlog: i32) -> io::Result<Self> {
        let listener = socket.listen(u32::try_from(backlog).unwrap_or(0).max(MIN_BACKLOG))?;
        tracing::info!(target: crate::LISTENING, address = %listener.local_addr()?);
        Ok(Self { listener, accepted: None })
    }

    pub(super) fn try_accept(&mut self) -> Result<(TcpStream, SocketAddr), Errno> {
        if let Some(accepted) = self.accepted.take() {
            return Ok(accepted);
        }
        match self.listener.poll_accept(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => Ok(without_delay(result?)),
            Poll::Pending => Err(Errno::Again),
        }
    }

    /// Ready when `try_accept` would succeed. A failed attempt is not an event: the peer has gone.
    pub(super) fn poll_acceptable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.accepted.is_none() {
            match self.listener.poll_accept(cx) {
                Poll::Ready(Ok(accepted)) => self.accepted = Some(without_delay(accepted)),
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(())
    }
}

impl AsFd for RealListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

/// Guests write answers in pieces; with Nagle's algorithm each piece waits for the client's delayed ACK.
fn without_delay((stream, peer): (TcpStream, SocketAddr)) -> (TcpStream, SocketAddr) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!("cannot set TCP_NODELAY: {error}");
    }
    (stream, peer)
}

pub(super) fn try_read(stream: &TcpStream, bytes: &mut [u8], peek: bool) -> Result<usize, Errno> {
    if !peek {
        return stream.try_read(bytes).map_err(Errno::from);
    }
    match stream.poll_peek(&mut Context::from_waker(Waker::noop()), &mut ReadBuf::new(bytes)) {
        Poll::Ready(result) => result.map_err(Errno::from),
        Poll::Pending => Err(Errno::Again),
    }
}

/// Ready when a read would not wait. Peeking makes sure: readiness alone may be a false alarm.
pub(super) fn poll_readable(stream: &TcpStream, cx: &mut Context<'_>) -> Poll<()> {
    stream.poll_peek(cx, &mut ReadBuf::new(&mut [0])).map(drop)
}

/// Whether both directions are closed, which is `EPOLLHUP` on Linux. A peer which has only finished sending has not hung
/// up: guests drop a socket that has.
pub(super) fn is_hung_up(stream: &TcpStream) -> bool {
    let ready = pin!(stream.ready(Interest::READABLE | Interest::WRITABLE));
    match ready.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(ready)) => ready.is_read_closed() && ready.is_write_closed(),
        Poll::Ready(Err(_)) | Poll::Pending => false,
    }
}

pub(super) fn shutdown(stream: &TcpStream, read: bool, write: bool) -> io::Result<()> {
    let how = match (read, write) {
        (true, true) => Shutdown::Both,
        (false, true) => Shutdown::Write,
        // WasmEdge passes 0 on to Linux, where it is SHUT_RD.
        (_, false) => Shutdown::Read,
    };
    SockRef::from(stream).shutdown(how)
}
