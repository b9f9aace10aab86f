//! What the benchmark runs on.

use std::{fs, num::NonZeroUsize, thread};

/// Processor, cores and kind of build, for the line of conditions.
pub(crate) fn describe() -> String {
    let build = if cfg!(debug_assertions) { "UNOPTIMIZED BUILD" } else { "optimized build" };
    format!("{}, cores: {}; {build}", cpu(), cores())
}

/// Cores which this process may use.
pub(crate) fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

fn cpu() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    model.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned())
}
