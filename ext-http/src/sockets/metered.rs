//! What a socket uses of the instance's limits for calls out. Accepted connections are no calls, and use nothing.

use super::{Socket, Sockets};
use crate::{abi::errno::Errno, outbound::Refusal};

impl Sockets {
    /// Counts a socket that calls out among the instance's connections, until it is closed.
    pub(super) fn book_connection(&mut self, fd: i32) -> Result<(), Errno> {
        if self.get(fd)?.call.is_none() {
            // As with any other descriptor of which a program has too many.
            let call = self.usage.connect().map_err(|refusal| told(&refusal, Errno::MFile))?;
            self.get(fd)?.call = Some(call);
        }
        Ok(())
    }
}

impl Socket {
    /// How many of `wanted` bytes this socket may still transfer.
    pub(super) fn room(&self, wanted: usize) -> Result<usize, Errno> {
        match &self.call {
            Some(call) => call.room(wanted).map_err(|refusal| told(&refusal, Errno::Acces)),
            None => Ok(wanted),
        }
    }

    pub(super) fn book_bytes(&self, bytes: usize) {
        if let Some(call) = &self.call {
            call.book(bytes);
        }
    }
}

fn told(refusal: &Refusal, errno: Errno) -> Errno {
    tracing::warn!("{refusal}");
    errno
}
