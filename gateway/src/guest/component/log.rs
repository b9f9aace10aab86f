//! What components print.

use wasmtime_wasi::{
    WasiCtxBuilder,
    cli::{IsTerminal, StdoutStream},
};

use crate::guest_log::{Allowance, GuestLog, Origin, Stream};

/// Lets a component print to the log, up to `limit` bytes on each stream.
pub(super) fn to_log(wasi: &mut WasiCtxBuilder, limit: usize, origin: &Origin) {
    let stream = |stream| LogStream { stream, allowance: Allowance::new(limit), origin: origin.clone() };
    wasi.stdout(stream(Stream::Stdout)).stderr(stream(Stream::Stderr));
}

/// One output stream of a component, for the log.
struct LogStream {
    stream: Stream,
    /// Shared by all that opened the stream.
    allowance: Allowance,
    origin: Origin,
}

impl IsTerminal for LogStream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for LogStream {
    fn async_stream(&self) -> Box<dyn tokio::io::AsyncWrite + Send + Sync> {
        Box::new(GuestLog::new(self.stream, self.allowance.clone(), self.origin.clone()))
    }
}
