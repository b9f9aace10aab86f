//! Bodies of the host's messages, read and written without waiting.

use crate::{
    bindings::wasi::{
        http::types::{ErrorCode, IncomingBody, OutgoingBody, http_error_code},
        io::{
            poll::Pollable,
            streams::{InputStream, OutputStream, StreamError},
        },
    },
    errno::Errno,
    queue::{LIMIT, Queue},
};

/// A body that is being written.
pub(crate) struct Sink {
    // Before the body, whose child it is: fields are dropped in order.
    stream: Option<OutputStream>,
    body: Option<OutgoingBody>,
    pending: Queue,
    is_flushed: bool,
    /// Nothing will follow what is pending.
    is_whole: bool,
}

/// The host takes no more of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gone;

impl Sink {
    pub(crate) fn new(body: OutgoingBody) -> Option<Self> {
        let stream = body.write().ok()?;
        Some(Self {
            stream: Some(stream),
            body: Some(body),
            pending: Queue::default(),
            is_flushed: true,
            is_whole: false,
        })
    }

    /// How much may be pushed.
    pub(crate) fn room(&self) -> usize {
        self.pending.room()
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.pending.push(bytes);
    }

    pub(crate) fn end(&mut self) {
        self.is_whole = true;
    }

    /// Writes what the host takes now, and finishes the body if that was all of it. A body which is dropped before is
    /// torn off, which its reader notices.
    pub(crate) fn advance(&mut self) -> Result<(), Gone> {
        let Some(stream) = &self.stream else { return Ok(()) };
        while !self.pending.is_empty() {
            let room = stream.check_write().map_err(|_| Gone)?;
            let room = usize::try_from(room).unwrap_or(usize::MAX).min(LIMIT);
            if room == 0 {
                return Ok(());
            }
            let bytes = self.pending.bytes();
            let length = bytes.len().min(room);
            stream.write(&bytes[..length]).map_err(|_| Gone)?;
            self.pending.consume(length);
            self.is_flushed = false;
        }
        if !self.is_flushed {
            stream.flush().map_err(|_| Gone)?;
            self.is_flushed = true;
        }
        // While a flush is under way, nothing can be written.
        if self.is_whole && stream.check_write().map_err(|_| Gone)? > 0 {
            self.stream = None;
            let finished = self.body.take().map(|body| OutgoingBody::finish(body, None));
            return finished.unwrap_or(Ok(())).map_err(|_| Gone);
        }
        Ok(())
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.body.is_none()
    }

    /// What to wait for, if there is anything to be done then.
    pub(crate) fn wait(&self, into: &mut Vec<Pollable>) {
        if let Some(stream) = &self.stream
            && (!self.pending.is_empty() || self.is_whole)
        {
            into.push(stream.subscribe());
        }
    }
}

/// A body that is being read.
pub(crate) struct Source {
    // Before the body, whose child it is.
    stream: Option<InputStream>,
    _body: IncomingBody,
}

/// What a body has now.
pub(crate) enum Read {
    Bytes(Vec<u8>),
    Nothing,
    End,
    Failed(Errno),
}

impl Source {
    pub(crate) fn new(body: IncomingBody) -> Option<Self> {
        Some(Self { stream: Some(body.stream().ok()?), _body: body })
    }

    /// What is there now, of at most `max` bytes. The end comes once.
    pub(crate) fn read(&mut self, max: usize) -> Read {
        let Some(stream) = &self.stream else { return Read::End };
        match stream.read(max as u64) {
            Ok(bytes) if bytes.is_empty() => Read::Nothing,
            Ok(bytes) => Read::Bytes(bytes),
            Err(StreamError::Closed) => {
                self.stream = None;
                Read::End
            }
            Err(StreamError::LastOperationFailed(error)) => {
                let errno = http_error_code(&error).as_ref().map_or(Errno::ConnReset, torn);
                self.stream = None;
                Read::Failed(errno)
            }
        }
    }

    pub(crate) fn wait(&self, into: &mut Vec<Pollable>) {
        into.extend(self.stream.as_ref().map(InputStream::subscribe));
    }
}

/// An error in the middle of a body that says nothing in particular is a connection that broke.
fn torn(error: &ErrorCode) -> Errno {
    match Errno::from(error) {
        Errno::Io => Errno::ConnReset,
        errno => errno,
    }
}
