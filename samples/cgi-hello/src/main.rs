//! The smallest CGI program: one header, one line.
//!
//! It exists for benchmarks: with next to no work of its own, what is measured is the host. With the workspace's small
//! stack its whole memory is two pages.

use std::io::{self, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    // No `Result` from `main`: that would link the formatting of errors, half the program.
    match io::stdout().write_all(b"Content-Type: text/plain\n\nhello\n") {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
