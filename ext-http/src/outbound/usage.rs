//! What one instance uses of the network: connections open at a time, and bytes in both directions.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use super::{Outbound, Refusal};

/// What an instance's calls out may use up, and how long they may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutboundLimits {
    /// Connections and requests at the same time.
    pub connections: u32,
    /// Bytes sent and received on all connections, without heads of HTTP messages; `None` does not count.
    pub bytes: Option<u64>,
    /// Time to connect, TLS handshake of ours included. A guest's socket may have a shorter one.
    pub connect: Duration,
    /// Time from a connection until the head of the answer, for HTTP requests.
    pub first_byte: Duration,
    /// The longest silence within an answer, for HTTP requests. What sockets wait for is the guest's affair.
    pub idle: Duration,
}

/// Connections: far below the 1024 descriptors which most systems give a process, so that one instance cannot take them
/// all. Times: together above the 30 s that a request of `serve` has by default, so that its own limit is told first.
impl Default for OutboundLimits {
    fn default() -> Self {
        Self {
            connections: 64,
            bytes: None,
            connect: Duration::from_secs(10),
            first_byte: Duration::from_secs(30),
            idle: Duration::from_secs(30),
        }
    }
}

/// The account of one instance.
#[derive(Clone, Debug)]
pub struct Usage(Arc<Account>);

#[derive(Debug)]
struct Account {
    limits: OutboundLimits,
    connections: AtomicU32,
    bytes: AtomicU64,
}

impl Usage {
    /// A new account for an instance behind this door.
    pub fn of(outbound: &Outbound) -> Self {
        let limits = outbound.limits();
        Self(Arc::new(Account { limits, connections: AtomicU32::new(0), bytes: AtomicU64::new(0) }))
    }

    pub(crate) fn limits(&self) -> &OutboundLimits {
        &self.0.limits
    }

    /// Books a connection; it counts until the result is dropped.
    pub(crate) fn connect(&self) -> Result<Call, Refusal> {
        let limit = self.0.limits.connections;
        let book = |open: u32| (open < limit).then_some(open + 1);
        match self.0.connections.fetch_update(Ordering::Relaxed, Ordering::Relaxed, book) {
            Ok(_) => Ok(Call(Arc::clone(&self.0))),
            Err(_) => Err(Refusal::TooManyConnections { limit }),
        }
    }
}

/// One booked connection.
#[derive(Debug)]
pub(crate) struct Call(Arc<Account>);

impl Call {
    /// How many of `wanted` bytes may still be transferred; not none.
    pub(crate) fn room(&self, wanted: usize) -> Result<usize, Refusal> {
        let Some(limit) = self.0.limits.bytes else { return Ok(wanted) };
        let left = limit.saturating_sub(self.0.bytes.load(Ordering::Relaxed));
        if left == 0 {
            return Err(Refusal::TooManyBytes { limit });
        }
        Ok(usize::try_from(left).map_or(wanted, |left| wanted.min(left)))
    }

    /// Books bytes which were transferred.
    pub(crate) fn book(&self, bytes: usize) {
        self.0.bytes.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Books a piece which is transferred as a whole or not at all.
    pub(crate) fn book_whole(&self, bytes: usize) -> Result<(), Refusal> {
        match self.room(bytes)? {
            room if room < bytes => Err(Refusal::TooManyBytes { limit: self.0.limits.bytes.unwrap_or(u64::MAX) }),
            _ => {
                self.book(bytes);
                Ok(())
            }
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OutboundPolicy;

    fn usage(limits: OutboundLimits) -> Usage {
        Usage::of(&Outbound::new(Arc::new(OutboundPolicy { limits, ..OutboundPolicy::default() })))
    }

    #[test]
    fn connections_count_while_they_are_open() {
        let usage = usage(OutboundLimits { connections: 2, ..OutboundLimits::default() });
        let first = usage.connect().expect("room");
        let _second = usage.connect().expect("room");
        assert_eq!(usage.connect().err(), Some(Refusal::TooManyConnections { limit: 2 }));
        drop(first);
        assert!(usage.connect().is_ok());
    }

    #[test]
    fn bytes_of_all_connections_are_added_up() {
        let usage = usage(OutboundLimits { bytes: Some(10), ..OutboundLimits::default() });
        let (one, other) = (usage.connect().expect("room"), usage.connect().expect("room"));
        one.book(one.room(6).expect("room"));
        assert_eq!(other.room(6), Ok(4));
        assert!(other.book_whole(6).is_err());
        other.book(4);
        assert_eq!(one.room(1), Err(Refusal::TooManyBytes { limit: 10 }));
    }
}
