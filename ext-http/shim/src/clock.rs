//! Clocks: the host's, and what a frozen program takes them for.

use crate::{
    bindings::wasi::clocks::{monotonic_clock, wall_clock},
    subscription::Timeout,
};

const NANOSECONDS_PER_SECOND: u64 = 1_000_000_000;

/// How the program's clocks differ from the host's.
#[derive(Debug)]
pub(crate) struct Clock {
    /// To be added to the host's monotonic clock.
    offset: i64,
    /// When, on the realtime clock, the program was stopped in a poll.
    polling_since: Option<u64>,
}

impl Clock {
    pub(crate) const fn new() -> Self {
        Self { offset: 0, polling_since: None }
    }

    /// Goes on where a frozen program's clock was; gives what is to be added to the host's.
    pub(crate) fn resume(&mut self, monotonic: u64, polling_since: u64) -> i64 {
        self.offset = monotonic.wrapping_sub(now()).cast_signed();
        self.polling_since = (polling_since != 0).then_some(polling_since);
        self.offset
    }

    /// How much later it is on the realtime clock than the poll which begins now believes; only the first one can be
    /// mistaken.
    pub(crate) fn take_delay(&mut self) -> u64 {
        self.polling_since.take().map_or(0, |since| realtime().saturating_sub(since))
    }

    /// When this is due on the host's monotonic clock.
    pub(crate) fn deadline(&self, timeout: Timeout, delay: u64) -> u64 {
        match timeout {
            Timeout::Relative(duration) => now().saturating_add(duration),
            Timeout::AbsoluteRealtime(at) => now().saturating_add(at.saturating_add(delay).saturating_sub(realtime())),
            Timeout::AbsoluteMonotonic(at) => shifted(at, self.offset),
        }
    }
}

/// What the host's clock will tell when the program's tells `at`.
fn shifted(at: u64, offset: i64) -> u64 {
    match offset {
        0.. => at.saturating_sub(offset.unsigned_abs()),
        _ => at.saturating_add(offset.unsigned_abs()),
    }
}

/// The host's monotonic clock.
pub(crate) fn now() -> u64 {
    monotonic_clock::now()
}

fn realtime() -> u64 {
    let now = wall_clock::now();
    now.seconds.saturating_mul(NANOSECONDS_PER_SECOND).saturating_add(now.nanoseconds.into())
}

#[cfg(test)]
mod tests {
    use super::shifted;

    #[test]
    fn deadlines_are_moved_to_the_hosts_clock() {
        assert_eq!(shifted(100, 30), 70);
        assert_eq!(shifted(100, -30), 130);
        assert_eq!(shifted(10, 30), 0);
        assert_eq!(shifted(u64::MAX, i64::MIN), u64::MAX);
    }
}
