//! What a build tells while it runs.

use std::sync::Arc;

/// Something that happened during a build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// The program is about to be compiled, which takes most of the time.
    Compiling,
    /// A function of the program is about to be called.
    Calling {
        /// Its name.
        function: &'a str,
    },
    /// The program is about to be run again, to see what depends on random bytes and on the time.
    Repeating,
    /// The frozen program is about to be compared with what was stopped.
    Checking,
    /// The program printed a line, to standard output or error; control characters are escaped.
    Guest {
        /// The line without its end.
        line: &'a str,
    },
    /// The program printed more than is passed on; the rest is dropped.
    GuestOutputCut {
        /// How much was passed on, in bytes.
        limit: usize,
    },
}

/// Receives the events of a build.
pub type Progress = Arc<dyn Fn(Event<'_>) + Send + Sync>;

/// Receives events and tells nobody.
pub fn silent() -> Progress {
    Arc::new(|_| {})
}
