//! Sending and receiving, between guest memory and a socket.

use std::{future::poll_fn, net::SocketAddr};

use super::{Failure, Family, Kind, Role, Sockets, Stream, real, within};
use crate::{
    abi::{
        errno::Errno,
        memory::{GuestMemory, GuestRange},
    },
    outbound::Scheme,
};

/// No datagram is longer, whatever the family; more is refused before it is copied.
const MAX_DATAGRAM: usize = 65_535;

/// How to receive.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Flags {
    /// Leave what is received where it is.
    pub(crate) peek: bool,
    /// Wait until all of the guest's buffers are full; of streams only.
    pub(crate) wait_all: bool,
}

/// What was received.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Received {
    pub(crate) length: usize,
    /// The sender; `None` for a stream at its end.
    pub(crate) from: Option<SocketAddr>,
    /// The datagram was longer than the guest's buffers.
    pub(crate) truncated: bool,
}

impl Sockets {
    /// Receives into `ranges`, waiting if the socket is a blocking one.
    pub(crate) async fn receive(
        &mut self,
        fd: i32,
        memory: &mut GuestMemory<'_>,
        ranges: &[GuestRange],
        flags: Flags,
    ) -> Result<Received, Failure> {
        match self.get(fd)?.kind() {
            Kind::Stream => {
                let length = self.receive_stream(fd, memory, ranges, flags).await?;
                Ok(Received { length, from: self.get(fd)?.peer, truncated: false })
            }
            Kind::Datagram => self.receive_datagram(fd, memory, ranges, flags.peek).await,
        }
    }

    async fn receive_stream(
        &mut self,
        fd: i32,
        memory: &mut GuestMemory<'_>,
        ranges: &[GuestRange],
        Flags { peek, wait_all }: Flags,
    ) -> Result<usize, Failure> {
        let wait = !self.is_nonblocking(fd)?;
        let total: usize = ranges.iter().map(|range| range.len()).sum();
        let mut received = 0;
        loop {
            match self.scatter(fd, memory, ranges, received, peek) {
                Ok(0) => return Ok(received),
                Ok(length) => {
                    received += length;
                    if peek || !wait_all || received == total {
                        return Ok(received);
                    }
                }
                Err(Errno::Again) if wait => self.receivable(fd).await?,
                // What has been taken must reach the guest; the error comes again.
                Err(_) if received > 0 => return Ok(received),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Takes what is there into `ranges`, from byte `skip` of them on, up to the first short read.
    fn scatter(
        &mut self,
        fd: i32,
        memory: &mut GuestMemory<'_>,
        ranges: &[GuestRange],
        mut skip: usize,
        peek: bool,
    ) -> Result<usize, Errno> {
        let mut received = 0;
        for range in ranges {
            let bytes = memory.bytes_mut(*range);
            let used = skip.min(bytes.len());
            skip -= used;
            let bytes = &mut bytes[used..];
            if bytes.is_empty() {
                continue;
            }
            match self.try_receive(fd, bytes, peek) {
                Ok(length) => {
                    received += length;
                    // Peeking again would see the same bytes.
                    if length < bytes.len() || peek {
                        break;
                    }
                }
                Err(_) if received > 0 => break,
                Err(errno) => return Err(errno),
            }
        }
        Ok(received)
    }

    /// Takes bytes without waiting; 0 is the end of the stream.
    fn try_receive(&mut self, fd: i32, bytes: &mut [u8], peek: bool) -> Result<usize, Errno> {
        let socket = self.get(fd)?;
        let room = socket.room(bytes.len())?;
        let bytes = &mut bytes[..room];
        let length = match socket.stream()? {
            Stream::Virtual(stream) => stream.try_read(bytes, peek),
            Stream::Real(stream) => real::try_read(stream, bytes, peek),
        }?;
        if !peek {
            socket.book_bytes(length);
        }
        Ok(length)
    }

    async fn receive_datagram(
        &mut self,
        fd: i32,
        memory: &mut GuestMemory<'_>,
        ranges: &[GuestRange],
        peek: bool,
    ) -> Result<Received, Failure> {
        let wait = !self.is_nonblocking(fd)?;
        loop {
            let socket = self.get(fd)?;
            socket.room(1)?;
            let Role::Datagram(datagram) = &mut socket.role else { return Err(Errno::Inval.into()) };
            match datagram.try_receive(peek) {
                Ok(None) => return Ok(Received { length: 0, from: None, truncated: false }),
                Ok(Some(arrived)) => {
                    let length = spread(memory, ranges, &arrived.bytes);
                    socket.book_bytes(if peek { 0 } else { length });
                    let truncated = length < arrived.bytes.len();
                    return Ok(Received { length, from: Some(arrived.from), truncated });
                }
                Err(Errno::Again) if wait => self.receivable(fd).await?,
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Sends `ranges`; a datagram goes to `target`, or else to the peer. A blocking socket takes everything, as Linux
    /// does: public guests write once, without a loop.
    pub(crate) async fn send(
        &mut self,
        fd: i32,
        memory: &GuestMemory<'_>,
        ranges: &[GuestRange],
        target: Option<SocketAddr>,
    ) -> Result<usize, Failure> {
        match self.get(fd)?.kind() {
            // As on Linux, a connected stream takes no notice of another address.
            Kind::Stream => self.send_stream(fd, memory, ranges).await,
            Kind::Datagram => self.send_datagram(fd, memory, ranges, target).await,
        }
    }

    async fn send_stream(
        &mut self,
        fd: i32,
        memory: &GuestMemory<'_>,
        ranges: &[GuestRange],
    ) -> Result<usize, Failure> {
        let wait = !self.is_nonblocking(fd)?;
        let mut sent = 0;
        for range in ranges {
            let mut bytes = memory.bytes(*range);
            while !bytes.is_empty() {
                match self.try_send(fd, bytes) {
                    Ok(length) => {
                        bytes = &bytes[length..];
                        sent += length;
                    }
                    Err(Errno::Again) if wait => self.sendable(fd).await?,
                    Err(_) if sent > 0 => return Ok(sent),
                    Err(errno) => return Err(errno.into()),
                }
            }
        }
        Ok(sent)
    }

    fn try_send(&mut self, fd: i32, bytes: &[u8]) -> Result<usize, Errno> {
        let socket = self.get(fd)?;
        let bytes = &bytes[..socket.room(bytes.len())?];
        // Linux tells a sender without a connection so, and a receiver NOTCONN.
        let stream = socket.stream().map_err(|errno| if errno == Errno::NotConn { Errno::Pipe } else { errno })?;
        let length = match stream {
            Stream::Virtual(stream) => stream.try_write(bytes),
            Stream::Real(stream) => stream.try_write(bytes).map_err(Errno::from),
        }?;
        socket.book_bytes(length);
        Ok(length)
    }

    async fn send_datagram(
        &mut self,
        fd: i32,
        memory: &GuestMemory<'_>,
        ranges: &[GuestRange],
        target: Option<SocketAddr>,
    ) -> Result<usize, Failure> {
        if ranges.iter().map(|range| range.len()).sum::<usize>() > MAX_DATAGRAM {
            return Err(Errno::MsgSize.into());
        }
        let target = match target {
            Some(address) => Some((self.destination(fd, address)?, address)),
            None => None,
        };
        let bytes = ranges.iter().map(|range| memory.bytes(*range)).collect::<Vec<_>>().concat();
        let wait = !self.is_nonblocking(fd)?;
        loop {
            let socket = self.get(fd)?;
            // A datagram goes as a whole or not at all.
            if socket.room(bytes.len())? < bytes.len() {
                return Err(Errno::Acces.into());
            }
            let Role::Datagram(datagram) = &mut socket.role else { return Err(Errno::Inval.into()) };
            match datagram.try_send(socket.family, &socket.options, &bytes, target) {
                Err(Errno::Again) if wait => self.sendable(fd).await?,
                Ok(length) => {
                    socket.book_bytes(length);
                    return Ok(length);
                }
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Where a datagram to this address may go: a server answers whoever has sent to it, else the policy decides.
    fn destination(&mut self, fd: i32, address: SocketAddr) -> Result<SocketAddr, Errno> {
        let socket = self.get(fd)?;
        if socket.family != Family::of(address) {
            return Err(Errno::AfNoSupport);
        }
        if address.port() == 0 {
            return Err(Errno::Inval);
        }
        match &socket.role {
            Role::Datagram(datagram) if datagram.may_answer(address) => Ok(address),
            _ => {
                let target = self.permit(Scheme::Udp, address)?;
                self.book_connection(fd)?;
                Ok(target)
            }
        }
    }

    /// Waits until something can be received, as long as the socket's own timeout permits.
    async fn receivable(&mut self, fd: i32) -> Result<(), Failure> {
        let limit = self.get(fd)?.options.receive_timeout;
        within(limit, poll_fn(|cx| self.poll_readable(fd, cx))).await??;
        Ok(())
    }

    /// Waits until something can be sent, as long as the socket's own timeout permits.
    async fn sendable(&mut self, fd: i32) -> Result<(), Failure> {
        let limit = self.get(fd)?.options.send_timeout;
        Ok(within(limit, poll_fn(|cx| self.poll_writable(fd, cx))).await??)
    }
}

/// Copies as much as fits into `ranges`, and tells how much that is.
fn spread(memory: &mut GuestMemory<'_>, ranges: &[GuestRange], mut bytes: &[u8]) -> usize {
    let mut copied = 0;
    for range in ranges {
        let length = range.len().min(bytes.len());
        memory.bytes_mut(*range)[..length].copy_from_slice(&bytes[..length]);
        bytes = &bytes[length..];
        copied += length;
    }
    copied
}
