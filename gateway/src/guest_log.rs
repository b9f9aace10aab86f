//! What guests print goes to our log, a line per event, up to a limit per request.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use prewasm_ext_http::Output;
use tokio::io::AsyncWrite;

use crate::record::Record;

/// Longest line which is logged in one piece.
const MAX_LINE: usize = 4096;

const LIMIT_REACHED: &str = "the guest's log limit is reached; the rest of its output is dropped";

/// Which stream of a guest.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

/// Whose output it is.
#[derive(Clone)]
pub(crate) enum Origin {
    /// An instance that serves one request.
    Request(Arc<Record>),
    /// An instance that outlives requests: the app's name.
    App(Arc<str>),
}

/// How much an instance may still write to one stream. It belongs to the stream and not to a sink: a component may open
/// a stream as often as it likes, and each time has a sink of its own.
#[derive(Clone)]
pub(crate) struct Allowance(Arc<Mutex<Left>>);

struct Left {
    bytes: usize,
    /// It has been said that something was dropped.
    is_told: bool,
}

/// What is done with bytes that a guest has written.
struct Share {
    /// So many of them are logged.
    kept: usize,
    /// The rest is dropped, which has not been said yet.
    is_news: bool,
}

impl Allowance {
    /// Up to `limit` bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self(Arc::new(Mutex::new(Left { bytes: limit, is_told: false })))
    }

    fn take(&self, wanted: usize) -> Share {
        let mut left = self.lock();
        let kept = wanted.min(left.bytes);
        left.bytes -= kept;
        let is_news = kept < wanted && !left.is_told;
        left.is_told |= is_news;
        Share { kept, is_news }
    }

    /// No code runs under the lock that can panic.
    fn lock(&self) -> MutexGuard<'_, Left> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A sink for one stream of one instance.
pub(crate) struct GuestLog {
    stream: Stream,
    line: Vec<u8>,
    allowance: Allowance,
    origin: Origin,
}

impl GuestLog {
    /// A guest's output which is logged, up to `limit` bytes.
    pub(crate) fn output(stream: Stream, limit: usize, origin: Origin) -> Output {
        Output::Stream(Box::new(Self::new(stream, Allowance::new(limit), origin)))
    }

    /// A sink which logs as much as is allowed.
    pub(crate) fn new(stream: Stream, allowance: Allowance, origin: Origin) -> Self {
        Self { stream, line: Vec::new(), allowance, origin }
    }

    fn take(&mut self, bytes: &[u8]) {
        let Share { kept, is_news } = self.allowance.take(bytes.len());
        for &byte in &bytes[..kept] {
            if byte == b'\n' || self.line.len() >= MAX_LINE {
                self.emit();
            }
            if byte != b'\n' {
                self.line.push(byte);
            }
        }
        if is_news {
            self.emit();
            match &self.origin {
                Origin::Request(record) => record.warn(LIMIT_REACHED),
                Origin::App(app) => tracing::warn!(app = &**app, "{LIMIT_REACHED}"),
            }
        }
    }

    fn emit(&mut self) {
        if self.line.is_empty() {
            return;
        }
        // Escapes control characters: a guest must not be able to write to the operator's terminal.
        let text = String::from_utf8_lossy(&self.line).escape_debug().to_string().replace("\\\"", "\"");
        let stream = match self.stream {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        };
        match &self.origin {
            Origin::Request(record) => {
                tracing::info!(target: "guest", stream, app = record.app(), request = %record.id(), "{text}");
            }
            Origin::App(app) => tracing::info!(target: "guest", stream, app = &**app, "{text}"),
        }
        self.line.clear();
    }
}

impl Drop for GuestLog {
    fn drop(&mut self) {
        self.emit();
    }
}

impl AsyncWrite for GuestLog {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.take(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
