//! Calling others: connect.

use std::{future::poll_fn, net::SocketAddr, task::Poll};

use tokio::time::timeout;

use super::{Bound, Family, Role, Sockets, real};
use crate::{abi::errno::Errno, outbound::Scheme};

impl Sockets {
    /// Connects, waiting for the result unless the socket is non-blocking.
    pub(crate) async fn connect(&mut self, fd: i32, address: SocketAddr) -> Result<(), Errno> {
        let socket = self.get(fd)?;
        socket.progress();
        let scheme = match socket.role {
            Role::Fresh | Role::Bound(_) | Role::Failed { .. } => Scheme::Tcp,
            Role::Datagram(_) => Scheme::Udp,
            Role::Connecting(_) => return Err(Errno::Already),
            Role::Stream(_) => return Err(Errno::IsConn),
            Role::Listener(_) => return Err(Errno::IsConn),
        };
        if socket.family != Family::of(address) {
            return Err(Errno::AfNoSupport);
        }
        let target = self.permit(scheme, address)?;
        self.book_connection(fd)?;
        let limit = self.usage.limits().connect;
        let socket = self.get(fd)?;
        if let Role::Datagram(datagram) = &mut socket.role {
            datagram.connect(socket.family, &socket.options, target, address).await?;
            socket.peer = Some(address);
            return Ok(());
        }
        let limit = socket.options.send_timeout.map_or(limit, |own| own.min(limit));
        let bound = match std::mem::replace(&mut socket.role, Role::Fresh) {
            Role::Bound(Bound::Real(bound)) => Some(bound),
            _ => None,
        };
        socket.role = Role::Connecting(Box::pin(async move {
            let connected = timeout(limit, real::connect(bound, target)).await.map_err(|_| Errno::TimedOut)?;
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
}
