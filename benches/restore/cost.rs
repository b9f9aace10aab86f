//! What the system says that this thread has cost.

use std::{fs, time::Duration};

use anyhow::Context as _;

/// Processor time and page faults.
#[derive(Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) processor: Duration,
    pub(crate) faults: u64,
}

impl Cost {
    /// Up to now.
    pub(crate) fn so_far() -> anyhow::Result<Self> {
        let word = |file: &str, text: &str, index: usize| -> anyhow::Result<u64> {
            let word = text.split_whitespace().nth(index).with_context(|| format!("{file}: `{text}`"))?;
            Ok(word.parse()?)
        };
        // The first number is nanoseconds on a processor.
        let file = "/proc/thread-self/schedstat";
        let processor = word(file, &fs::read_to_string(file)?, 0)?;
        // The name is in parentheses, and may hold spaces; minor faults are the tenth field, major ones the twelfth.
        let file = "/proc/thread-self/stat";
        let stat = fs::read_to_string(file)?;
        let (_, fields) = stat.rsplit_once(')').with_context(|| format!("{file}: `{stat}`"))?;
        let faults = word(file, fields, 7)? + word(file, fields, 9)?;
        Ok(Self { processor: Duration::from_nanos(processor), faults })
    }

    /// Since then, for each of some rounds: microseconds and faults.
    pub(crate) fn per_round(&self, rounds: usize) -> anyhow::Result<(f64, f64)> {
        let now = Self::so_far()?;
        let processor = now.processor.saturating_sub(self.processor).as_secs_f64() * 1e6;
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let (faults, rounds) = ((now.faults - self.faults) as f64, rounds as f64);
        Ok((processor / rounds, faults / rounds))
    }
}
