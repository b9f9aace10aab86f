//! What a poll tells about a socket.

use std::task::{Context, Poll};

use super::{Failure, Listener, Role, Sockets, Stream, real};
use crate::{abi::errno::Errno, network::virtual_inbound::Acceptable};

impl Sockets {
    /// Whether the guest polls a virtual listener which will never have a connection again.
    pub(crate) fn is_served_out(&mut self, fd: i32, cx: &mut Context<'_>) -> bool {
        match self.get(fd).map(|socket| &socket.role) {
            Ok(Role::Listener(Listener::Virtual(inbound))) => {
                inbound.poll_acceptable(cx) == Poll::Ready(Acceptable::NeverAgain)
            }
            _ => false,
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
            Role::Datagram(datagram) => datagram.poll_receivable(cx).map(Ok),
            Role::Failed { .. } | Role::Fresh | Role::Bound(_) => Poll::Ready(Ok(())),
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
            Role::Datagram(datagram) => datagram.poll_sendable(cx).map(Ok),
            Role::Failed { .. } | Role::Fresh | Role::Bound(_) => Poll::Ready(Ok(())),
        }
    }

    /// Bytes which can be sent without waiting (a hint), and whether both directions are closed.
    pub(crate) fn stream_state(&mut self, fd: i32) -> (u64, bool) {
        match self.get(fd).map(|socket| &socket.role) {
            Ok(Role::Stream(Stream::Virtual(stream))) => (stream.room() as u64, stream.is_hung_up()),
            Ok(Role::Stream(Stream::Real(stream))) => (1, real::is_hung_up(stream)),
            Ok(Role::Datagram(_)) => (1, false),
            _ => (0, false),
        }
    }
}
