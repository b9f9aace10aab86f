//! The connection that a server accepts: it reads as the request, and what is written becomes the answer.

mod answer;
mod request;

pub(crate) use request::Pending;

use crate::{bindings::wasi::io::poll::Pollable, body::Sink, errno::Errno};

use answer::Answer;
use request::Request;

/// An accepted connection.
pub(crate) struct Server {
    request: Request,
    answer: Answer,
    is_read_shut: bool,
}

impl Server {
    pub(crate) fn new(pending: Pending) -> Self {
        let (request, answer) = pending.split();
        Self { request, answer, is_read_shut: false }
    }

    /// Does what can be done without waiting.
    pub(crate) fn advance(&mut self) {
        self.request.advance();
        self.answer.advance();
    }

    /// Whether the program has yet to answer.
    pub(crate) fn is_unfinished(&self) -> bool {
        !self.answer.is_whole()
    }

    /// What is there to read; nothing is the end. A program which waits in `recv` after the request would wait for ever,
    /// so to it the client has said all. One which does not wait would take that for a client that has left, and not
    /// answer.
    pub(crate) fn try_receive(&mut self, max: usize, peek: bool, waits: bool) -> Result<Vec<u8>, Errno> {
        let queue = self.request.readable();
        if !queue.is_empty() && !self.is_read_shut {
            return Ok(if peek { queue.peek(max) } else { queue.take(max) });
        }
        if self.is_read_shut || self.answer.is_whole() || (waits && self.request.has_ended()) {
            return Ok(Vec::new());
        }
        Err(if self.request.is_torn() { Errno::ConnReset } else { Errno::Again })
    }

    /// Whether a receiving call, which `waits` or not, would give something or the end at once.
    pub(crate) fn is_readable(&mut self, waits: bool) -> bool {
        !self.request.readable().is_empty()
            || self.is_read_shut
            || self.answer.is_whole()
            || self.request.is_torn()
            || (waits && self.request.has_ended())
    }

    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        self.answer.write(bytes)
    }

    /// How much could be sent now.
    pub(crate) fn room(&self) -> usize {
        self.answer.room()
    }

    pub(crate) fn shutdown(&mut self, read: bool, write: bool) {
        self.is_read_shut |= read;
        if write {
            self.answer.close();
        }
    }

    pub(crate) fn is_hung_up(&self) -> bool {
        self.is_read_shut && self.answer.is_closed()
    }

    /// Ends the answer where it is. What the host has yet to take of a whole one is left over.
    pub(crate) fn close(mut self) -> Option<Sink> {
        self.answer.close();
        self.answer.into_rest()
    }

    pub(crate) fn wait(&mut self, into: &mut Vec<Pollable>) {
        self.request.wait(into);
        self.answer.wait(into);
    }
}
