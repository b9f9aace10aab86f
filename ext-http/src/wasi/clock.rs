//! Clocks: the system's, or fixed ones for reproducible snapshots.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::abi::errno::Errno;

/// What a guest's clocks tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Clock {
    /// The system's time; the monotonic clock starts at zero with each instance.
    #[default]
    System,
    /// Realtime stands still at this many nanoseconds since the Unix epoch; the monotonic clock advances by one
    /// microsecond per reading, so that loops which wait for it end.
    Fixed(u64),
}

/// The clocks of one instance.
pub(crate) struct Clocks {
    clock: Clock,
    start: Instant,
    readings: u64,
}

const REALTIME: i32 = 0;
const MONOTONIC: i32 = 1;

impl Clocks {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, start: Instant::now(), readings: 0 }
    }

    /// Nanoseconds on the clock `id` of WASI preview 1. The two CPU clocks are not provided.
    pub(crate) fn now(&mut self, id: i32) -> Result<u64, Errno> {
        match (id, self.clock) {
            (REALTIME, Clock::System) => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                Ok(nanoseconds(since))
            }
            (REALTIME, Clock::Fixed(time)) => Ok(time),
            (MONOTONIC, Clock::System) => Ok(nanoseconds(self.start.elapsed())),
            (MONOTONIC, Clock::Fixed(_)) => {
                self.readings += 1;
                Ok(self.readings * 1_000)
            }
            _ => Err(Errno::Inval),
        }
    }

    /// The resolution to report, in nanoseconds.
    pub(crate) fn resolution(&self, id: i32) -> Result<u64, Errno> {
        match (id, self.clock) {
            (REALTIME | MONOTONIC, Clock::System) => Ok(1),
            (REALTIME | MONOTONIC, Clock::Fixed(_)) => Ok(1_000),
            _ => Err(Errno::Inval),
        }
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_clocks_tell_the_same_in_every_run() {
        let mut first = Clocks::new(Clock::Fixed(7));
        let mut second = Clocks::new(Clock::Fixed(7));
        for id in [0, 1, 1, 0, 1, 2, -1] {
            assert_eq!(first.now(id), second.now(id));
        }
    }
}
