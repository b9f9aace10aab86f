//! `poll_oneoff`: subscriptions in, events out (the layouts of WASI preview 1).

use super::{
    errno::Errno,
    memory::{GuestMemory, offset},
};

const SUBSCRIPTION_SIZE: u32 = 48;
const EVENT_SIZE: u32 = 32;
/// A bound of ours: no guest can have more than 1024 descriptors (512 files, 512 sockets), twice each, and timers.
const MAX_SUBSCRIPTIONS: u32 = 4096;

const CLOCK_REALTIME: u32 = 0;
const CLOCK_MONOTONIC: u32 = 1;
const FLAG_ABSOLUTE: u16 = 1;
const FLAG_HANGUP: u16 = 1;

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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) userdata: u64,
    pub(crate) errno: Option<Errno>,
    /// The tag of the subscription: 0 clock, 1 read, 2 write.
    pub(crate) kind: u8,
    /// Bytes which can be read or written without waiting; a hint.
    pub(crate) bytes: u64,
    /// Both directions are closed.
    pub(crate) hangup: bool,
}

impl Interest {
    pub(crate) fn tag(self) -> u8 {
        match self {
            Self::Timeout(_) => 0,
            Self::Read(_) => 1,
            Self::Write(_) => 2,
            Self::Invalid(tag) => tag,
        }
    }
}

pub(crate) fn read_subscriptions(
    memory: &GuestMemory<'_>,
    pointer: i32,
    count: i32,
) -> Result<Vec<Subscription>, Errno> {
    let count = count.cast_unsigned();
    if count == 0 || count > MAX_SUBSCRIPTIONS {
        return Err(Errno::Inval);
    }
    memory.range(pointer, count * SUBSCRIPTION_SIZE)?;
    (0..count).map(|i| read_subscription(memory, offset(pointer, i * SUBSCRIPTION_SIZE)?)).collect()
}

fn read_subscription(memory: &GuestMemory<'_>, at: i32) -> Result<Subscription, Errno> {
    let fd = || Ok::<i32, Errno>(memory.u32(offset(at, 16)?)?.cast_signed());
    let interest = match memory.u8(offset(at, 8)?)? {
        0 => {
            let nanoseconds = memory.u64(offset(at, 24)?)?;
            let absolute = memory.u16(offset(at, 40)?)? & FLAG_ABSOLUTE != 0;
            match (memory.u32(offset(at, 16)?)?, absolute) {
                (CLOCK_REALTIME | CLOCK_MONOTONIC, false) => Interest::Timeout(Timeout::Relative(nanoseconds)),
                (CLOCK_REALTIME, true) => Interest::Timeout(Timeout::AbsoluteRealtime(nanoseconds)),
                (CLOCK_MONOTONIC, true) => Interest::Timeout(Timeout::AbsoluteMonotonic(nanoseconds)),
                _ => Interest::Invalid(0),
            }
        }
        1 => Interest::Read(fd()?),
        2 => Interest::Write(fd()?),
        tag => Interest::Invalid(tag),
    };
    Ok(Subscription { userdata: memory.u64(at)?, interest })
}

/// Checks, before anything is waited for, that `count` events can be stored.
pub(crate) fn check_events(memory: &GuestMemory<'_>, pointer: i32, count: i32) -> Result<(), Errno> {
    memory.range(pointer, count.cast_unsigned().checked_mul(EVENT_SIZE).ok_or(Errno::Fault)?).map(drop)
}

pub(crate) fn write_events(memory: &mut GuestMemory<'_>, pointer: i32, events: &[Event]) -> Result<(), Errno> {
    let mut at = pointer;
    for event in events {
        let mut bytes = [0; EVENT_SIZE as usize];
        bytes[0..8].copy_from_slice(&event.userdata.to_le_bytes());
        bytes[8..10].copy_from_slice(&event.errno.map_or(0, |errno| errno as u16).to_le_bytes());
        bytes[10] = event.kind;
        bytes[16..24].copy_from_slice(&event.bytes.to_le_bytes());
        bytes[24..26].copy_from_slice(&(if event.hangup { FLAG_HANGUP } else { 0 }).to_le_bytes());
        memory.write(at, &bytes)?;
        at = offset(at, EVENT_SIZE)?;
    }
    Ok(())
}
