//! Subscriptions and events of `poll_oneoff`, in the layouts of WASI preview 1.

use crate::errno::Errno;

const SUBSCRIPTION_SIZE: usize = 48;
const EVENT_SIZE: usize = 32;
/// As many as the native host takes.
const MAX_SUBSCRIPTIONS: usize = 4096;

const CLOCK_REALTIME: u32 = 0;
const CLOCK_MONOTONIC: u32 = 1;
const FLAG_ABSOLUTE: u8 = 1;
const FLAG_HANGUP: u16 = 1;

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Subscription {
    pub(crate) userdata: u64,
    pub(crate) interest: Interest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interest {
    Timeout(Timeout),
    Read(i32),
    Write(i32),
    /// A clock which does not exist, or a kind of subscription which does not.
    Invalid(u8),
}

/// When a clock subscription is due, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timeout {
    Relative(u64),
    AbsoluteRealtime(u64),
    AbsoluteMonotonic(u64),
}

/// What a due subscription tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Ready { bytes: u64, hangup: bool },
    Error(Errno),
}

impl Interest {
    fn tag(self) -> u8 {
        match self {
            Self::Timeout(_) => 0,
            Self::Read(_) => 1,
            Self::Write(_) => 2,
            Self::Invalid(tag) => tag,
        }
    }

    fn descriptor(self) -> Option<i32> {
        match self {
            Self::Read(fd) | Self::Write(fd) => Some(fd),
            _ => None,
        }
    }
}

/// Decodes the program's list.
pub(crate) fn decode(bytes: &[u8]) -> Result<Vec<Subscription>, Errno> {
    let (subscriptions, rest) = bytes.as_chunks::<SUBSCRIPTION_SIZE>();
    if subscriptions.is_empty() || !rest.is_empty() || subscriptions.len() > MAX_SUBSCRIPTIONS {
        return Err(Errno::Inval);
    }
    Ok(subscriptions.iter().map(decode_one).collect())
}

fn decode_one(bytes: &[u8; SUBSCRIPTION_SIZE]) -> Subscription {
    let number = u32::from_le_bytes([bytes[16], bytes[17], bytes[18], bytes[19]]);
    let interest = match bytes[8] {
        0 => {
            let nanoseconds = u64_at(bytes, 24);
            match (number, bytes[40] & FLAG_ABSOLUTE != 0) {
                (CLOCK_REALTIME | CLOCK_MONOTONIC, false) => Interest::Timeout(Timeout::Relative(nanoseconds)),
                (CLOCK_REALTIME, true) => Interest::Timeout(Timeout::AbsoluteRealtime(nanoseconds)),
                (CLOCK_MONOTONIC, true) => Interest::Timeout(Timeout::AbsoluteMonotonic(nanoseconds)),
                _ => Interest::Invalid(0),
            }
        }
        1 => Interest::Read(number.cast_signed()),
        2 => Interest::Write(number.cast_signed()),
        tag => Interest::Invalid(tag),
    };
    Subscription { userdata: u64_at(bytes, 0), interest }
}

fn u64_at(bytes: &[u8; SUBSCRIPTION_SIZE], at: usize) -> u64 {
    let field = bytes.get(at..at + 8).and_then(|bytes| <[u8; 8]>::try_from(bytes).ok());
    u64::from_le_bytes(field.unwrap_or_default())
}

/// Adds the event of a subscription.
pub(crate) fn encode(subscription: &Subscription, state: State, into: &mut Vec<u8>) {
    let (errno, nbytes, hangup) = match state {
        State::Ready { bytes, hangup } => (0, bytes, hangup),
        State::Error(errno) => (errno.code(), 0, false),
    };
    let mut event = [0; EVENT_SIZE];
    event[0..8].copy_from_slice(&subscription.userdata.to_le_bytes());
    event[8..10].copy_from_slice(&errno.to_le_bytes());
    event[10] = subscription.interest.tag();
    event[16..24].copy_from_slice(&nbytes.to_le_bytes());
    event[24..26].copy_from_slice(&(if hangup { FLAG_HANGUP } else { 0 }).to_le_bytes());
    into.extend_from_slice(&event);
}

/// Which subscriptions wait for what another one before waits for already.
pub(crate) fn repeated(subscriptions: &[Subscription]) -> Vec<bool> {
    let mut keys: Vec<_> = subscriptions
        .iter()
        .enumerate()
        .filter_map(|(index, subscription)| {
            let fd = subscription.interest.descriptor()?;
            Some((subscription.interest.tag(), fd, index))
        })
        .collect();
    keys.sort_unstable();
    let mut repeated = vec![false; subscriptions.len()];
    for pair in keys.windows(2) {
        if (pair[0].0, pair[0].1) == (pair[1].0, pair[1].1) {
            repeated[pair[1].2] = true;
        }
    }
    repeated
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscription(tag: u8, number: u32, timeout: u64, flags: u8) -> Vec<u8> {
        let mut bytes = vec![0; SUBSCRIPTION_SIZE];
        bytes[0] = 7;
        bytes[8] = tag;
        bytes[16..20].copy_from_slice(&number.to_le_bytes());
        bytes[24..32].copy_from_slice(&timeout.to_le_bytes());
        bytes[40] = flags;
        bytes
    }

    #[test]
    fn subscriptions_are_read_and_events_written() {
        let bytes = [subscription(0, 0, 9, 1), subscription(1, 512, 0, 0), subscription(2, 512, 0, 0)].concat();
        let list = decode(&bytes).expect("three");
        assert_eq!(list[0].interest, Interest::Timeout(Timeout::AbsoluteRealtime(9)));
        assert_eq!((list[1].interest, list[2].interest), (Interest::Read(512), Interest::Write(512)));
        let mut events = Vec::new();
        encode(&list[2], State::Ready { bytes: 3, hangup: true }, &mut events);
        assert_eq!(events.len(), EVENT_SIZE);
        assert_eq!((events[0], events[8], events[10], events[16], events[24]), (7, 0, 2, 3, 1));
    }

    #[test]
    fn wrong_lists_and_kinds_are_told() {
        assert_eq!(decode(&[]), Err(Errno::Inval));
        assert_eq!(decode(&[0; 47]), Err(Errno::Inval));
        assert_eq!(decode(&vec![0; 48 * 4097]), Err(Errno::Inval));
        let list = decode(&[subscription(0, 2, 0, 0), subscription(9, 0, 0, 0)].concat()).expect("two");
        assert_eq!((list[0].interest, list[1].interest), (Interest::Invalid(0), Interest::Invalid(9)));
    }

    #[test]
    fn the_second_of_the_same_is_repeated() {
        let bytes: Vec<u8> = [(1, 5), (2, 5), (1, 5), (1, 6), (0, 0), (0, 0), (2, 5)]
            .iter()
            .flat_map(|(tag, fd)| subscription(*tag, *fd, 0, 0))
            .collect();
        let expected = [false, false, true, false, false, false, true];
        assert_eq!(repeated(&decode(&bytes).expect("seven")), expected);
    }
}
