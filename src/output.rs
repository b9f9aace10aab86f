//! Standard output carries the result, standard error everything else.

use std::{
    fmt,
    io::{self, IsTerminal as _, Write as _},
    path::Path,
};

use prewasm_artifact::write_whole;

use crate::exit::{Class, Failure};

/// Tells the user something. If nobody reads it, there is nobody to complain to either.
pub fn message(text: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "prewasm: {text}");
}

/// Prints a line about a guest.
pub fn guest(line: &str) {
    let _ = writeln!(io::stderr(), "guest: {line}");
}

/// Prints the result. A reader that has gone is no error.
pub fn result(text: &str) -> Result<(), Failure> {
    to_stdout(text.as_bytes())
}

/// Writes a binary to a file, or to standard output for `-`.
pub fn binary(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    if path == Path::new("-") {
        return to_stdout(bytes);
    }
    Ok(write_whole(path, bytes)?)
}

/// Refuses to write a binary to a terminal, before any work is done for it.
pub fn check_binary(path: &Path) -> Result<(), Failure> {
    if path == Path::new("-") && io::stdout().is_terminal() {
        return Err(Failure::usage(
            "a binary is not written to a terminal\n  hint: name a file with `-o`, or redirect standard output",
        ));
    }
    Ok(())
}

fn to_stdout(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Class::Ours, anyhow::Error::new(error).context("cannot write to standard output")))
        }
        _ => Ok(()),
    }
}
