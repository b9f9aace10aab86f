//! What a program prints while it is initialized: passed on line by line, up to a limit.

use std::{
    io, mem,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};

use crate::progress::{Event, Progress};

/// Longest line which is passed on in one piece.
const MAX_LINE: usize = 4096;
/// What is passed on altogether: enough to follow what goes on, too little to fill a disk.
const MAX_OUTPUT: usize = 1024 * 1024;

/// One output stream of a program; clones write to the same.
#[derive(Clone)]
pub(super) struct GuestOutput(Arc<Mutex<Lines>>);

struct Lines {
    progress: Progress,
    line: Vec<u8>,
    left: usize,
}

impl GuestOutput {
    pub(super) fn new(progress: &Progress) -> Self {
        let lines = Lines { progress: Arc::clone(progress), line: Vec::new(), left: MAX_OUTPUT };
        Self(Arc::new(Mutex::new(lines)))
    }
}

impl Lines {
    fn take(&mut self, bytes: &[u8]) {
        let kept = bytes.len().min(self.left);
        for &byte in &bytes[..kept] {
            if byte == b'\n' {
                self.emit();
            } else {
                self.line.push(byte);
                if self.line.len() == MAX_LINE {
                    self.emit();
                }
            }
        }
        if kept < bytes.len() && self.left > 0 {
            self.emit_rest();
            (self.progress)(Event::GuestOutputCut { limit: MAX_OUTPUT });
        }
        self.left -= kept;
    }

    fn emit(&mut self) {
        let line = mem::take(&mut self.line);
        // A guest must not be able to drive the user's terminal.
        let line: String = String::from_utf8_lossy(&line).chars().flat_map(printable).collect();
        (self.progress)(Event::Guest { line: &line });
    }

    fn emit_rest(&mut self) {
        if !self.line.is_empty() {
            self.emit();
        }
    }
}

/// The character, or its escape if it is a control character other than a tabulator.
fn printable(c: char) -> impl Iterator<Item = char> {
    let escape = (c.is_control() && c != '\t').then(|| c.escape_default());
    let plain = if escape.is_none() { Some(c) } else { None };
    escape.into_iter().flatten().chain(plain)
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.emit_rest();
    }
}

impl AsyncWrite for GuestOutput {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl IsTerminal for GuestOutput {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for GuestOutput {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(chunks: &[&[u8]]) -> Vec<String> {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&seen);
        let progress: Progress = Arc::new(move |event| {
            sink.lock().expect("no panic").push(match event {
                Event::Guest { line } => line.to_owned(),
                other => format!("{other:?}"),
            });
        });
        let output = GuestOutput::new(&progress);
        for chunk in chunks {
            output.0.lock().expect("no panic").take(chunk);
        }
        drop(output);
        let mut seen = seen.lock().expect("no panic");
        mem::take(&mut *seen)
    }

    #[test]
    fn lines_are_put_together_and_the_last_needs_no_end() {
        assert_eq!(printed(&[b"a", b"b\n\nc"]), ["ab", "", "c"]);
    }

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(printed(&[b"\x1b[31m\tred \"x\"\n"]), ["\\u{1b}[31m\tred \"x\""]);
    }

    #[test]
    fn output_beyond_the_limit_is_cut_once() {
        let chunk = vec![b'x'; MAX_OUTPUT / 2 + 1];
        let lines = printed(&[&chunk, &chunk, &chunk]);
        let kept: usize = lines.iter().filter(|line| line.starts_with('x')).map(String::len).sum();
        assert_eq!(kept, MAX_OUTPUT);
        assert_eq!(lines.iter().filter(|line| line.starts_with("GuestOutputCut")).count(), 1);
    }
}
