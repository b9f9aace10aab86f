//! What the user hears of a build while it runs.

use std::{
    fmt,
    io::{self, IsTerminal as _},
    sync::Arc,
};

use prewasm_snapshot::{Event, Progress};

use crate::output;

/// On a terminal, somebody waits.
pub(super) fn progress(quiet: bool) -> Progress {
    let is_watched = !quiet && io::stderr().is_terminal();
    let tell = move |text: fmt::Arguments<'_>| match is_watched {
        true => output::message(text),
        false => tracing::debug!("{text}"),
    };
    Arc::new(move |event| match event {
        Event::Compiling => tell(format_args!("compiling")),
        Event::Calling { function } => tell(format_args!("calling `{function}`")),
        Event::Repeating => tell(format_args!("running it again, to see what depends on random bytes and on the time")),
        Event::Checking => tell(format_args!("comparing the result with what was stopped")),
        Event::Guest { line } => output::guest(line),
        Event::GuestOutputCut { limit } => {
            tracing::warn!("the guest has printed more than {limit} bytes; the rest is dropped");
        }
    })
}
