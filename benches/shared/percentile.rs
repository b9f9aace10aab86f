//! Figures which stand for many.

use std::time::Duration;

/// The middle one of some times.
pub(crate) fn median(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    percentile(&times, 50)
}

/// The time below which `percent` of the times are.
pub(crate) fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let index = sorted.len() * percent / 100;
    sorted.get(index.min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
}
