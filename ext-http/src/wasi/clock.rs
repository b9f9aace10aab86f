//! Clocks: the system's, or fixed ones for reproducible snapshots.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::abi::errno::Errno;

/// What a guest's clocks tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Clock {
    /// The system's time; the monotonic clock starts at zero with each instance.
    #[default]
    System,
    /// Realtime stands still at this many nanoseconds since the Unix epoch; the monotonic clock advances with each
    /// reading, so that loops which wait for it end, and jumps over what the guest sleeps.
    Fixed(u64),
}

/// The clocks of one instance.
pub(crate) struct Clocks {
    clock: Clock,
    start: Instant,
    /// The monotonic clock: at `start` of the system's, and now of a fixed one.
    monotonic: u64,
    /// What the realtime clock told when the poll was frozen which the guest makes first.
    polling_since: Option<u64>,
}

const REALTIME: i32 = 0;
const MONOTONIC: i32 = 1;
/// A fixed monotonic clock advances by one nanosecond per reading at first: a program which was frozen after a few of
/// them will not see time go backwards on a host that starts at zero. From here on it advances by
/// [`LATER_STEP`], so that a loop which waits for a while ends soon. The step depends on the time alone, for the same
/// readings to follow a freeze.
const FIRST_STEPS_END: u64 = 1_000;
const LATER_STEP: u64 = 1_000;
/// 146 years: what sleeps beyond it sleeps for ever, and no frozen program has run for so long.
pub(crate) const LATEST_MONOTONIC: u64 = 1 << 62;

impl Clocks {
    pub(crate) fn new(clock: Clock) -> Self {
        Self::resumed(clock, 0, None)
    }

    /// Clocks whose monotonic one goes on from `monotonic`. The first poll has begun when the realtime clock told
    /// `polling_since`.
    pub(crate) fn resumed(clock: Clock, monotonic: u64, polling_since: Option<u64>) -> Self {
        Self { clock, start: Instant::now(), monotonic, polling_since }
    }

    /// How much later it is on the realtime clock than the poll which begins now believes; only the first one can be
    /// mistaken.
    pub(crate) fn take_delay(&mut self) -> u64 {
        let since = self.polling_since.take();
        since.map_or(0, |since| self.peek(REALTIME).map_or(0, |now| now.saturating_sub(since)))
    }

    /// Nanoseconds on the clock `id` of WASI preview 1, as a guest reads it. The two CPU clocks are not provided.
    pub(crate) fn now(&mut self, id: i32) -> Result<u64, Errno> {
        if let (MONOTONIC, Clock::Fixed(_)) = (id, self.clock) {
            let step = if self.monotonic < FIRST_STEPS_END { 1 } else { LATER_STEP };
            self.monotonic = self.monotonic.saturating_add(step);
        }
        self.peek(id)
    }

    /// The same, without advancing it.
    pub(crate) fn peek(&self, id: i32) -> Result<u64, Errno> {
        match (id, self.clock) {
            (REALTIME, Clock::System) => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                Ok(nanoseconds(since))
            }
            (REALTIME, Clock::Fixed(time)) => Ok(time),
            (MONOTONIC, _) => Ok(self.monotonic()),
            _ => Err(Errno::Inval),
        }
    }

    /// What the monotonic clock tells.
    pub(crate) fn monotonic(&self) -> u64 {
        match self.clock {
            Clock::System => self.monotonic.saturating_add(nanoseconds(self.start.elapsed())),
            Clock::Fixed(_) => self.monotonic,
        }
    }

    /// When it will be `duration` later on the monotonic clock, if that may be jumped to: the system's clocks do not
    /// jump, and what would wait for ever does so.
    pub(crate) fn jump_target(&self, duration: Duration) -> Option<u64> {
        match self.clock {
            Clock::System => None,
            Clock::Fixed(_) => {
                let target = self.monotonic.saturating_add(nanoseconds(duration));
                (target <= LATEST_MONOTONIC).then_some(target)
            }
        }
    }

    /// Moves a fixed monotonic clock forward.
    pub(crate) fn jump(&mut self, target: u64) {
        self.monotonic = self.monotonic.max(target);
    }

    /// The resolution to report, in nanoseconds.
    pub(crate) fn resolution(&self, id: i32) -> Result<u64, Errno> {
        match id {
            REALTIME | MONOTONIC => Ok(1),
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

    #[test]
    fn a_clock_goes_on_where_it_was() {
        let mut first = Clocks::new(Clock::Fixed(7));
        for _ in 0..1_500 {
            first.now(MONOTONIC).expect("known");
        }
        assert_eq!(first.monotonic(), 1_000 + 500 * 1_000, "short steps first");
        let mut second = Clocks::resumed(Clock::Fixed(9), first.monotonic(), None);
        assert_eq!(second.now(MONOTONIC), first.now(MONOTONIC));
        let system = Clocks::resumed(Clock::System, 5_000_000_000_000, None);
        assert!(system.peek(MONOTONIC).expect("known") >= 5_000_000_000_000);
    }

    #[test]
    fn the_first_poll_after_a_freeze_is_late() {
        let mut clocks = Clocks::resumed(Clock::Fixed(70), 0, Some(50));
        assert_eq!((clocks.take_delay(), clocks.take_delay()), (20, 0));
        assert_eq!(Clocks::resumed(Clock::Fixed(70), 0, Some(90)).take_delay(), 0);
        assert_eq!(Clocks::new(Clock::Fixed(70)).take_delay(), 0);
    }

    #[test]
    fn only_a_fixed_clock_jumps_and_never_for_ever() {
        let sleep = Duration::from_secs(3600);
        assert_eq!(Clocks::new(Clock::System).jump_target(sleep), None);
        let mut fixed = Clocks::new(Clock::Fixed(7));
        assert_eq!(fixed.jump_target(Duration::MAX), None);
        let target = fixed.jump_target(sleep).expect("within reach");
        fixed.jump(target);
        fixed.jump(1);
        assert_eq!(fixed.monotonic(), 3_600_000_000_000, "and never backwards");
    }
}
