//! Lines on standard error: what a program cannot be told by an errno.

use crate::bindings::wasi::cli::stderr::get_stderr;

/// The most that is written at once.
const MAX_WRITE: usize = 4096;

/// Writes these parts as one line. A host without standard error loses it.
pub(crate) fn complain(parts: &[&str]) {
    let mut line = String::from("prewasm: ");
    for part in parts {
        line.push_str(part);
    }
    // Names come from the program: they must not end the line.
    let mut bytes: Vec<u8> = line.bytes().map(|byte| if byte.is_ascii_control() { b' ' } else { byte }).collect();
    bytes.truncate(MAX_WRITE - 1);
    bytes.push(b'\n');
    let _ = get_stderr().blocking_write_and_flush(&bytes);
}
