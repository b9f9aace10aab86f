//! From the host's request to bytes.

use prewasm_translation::{Fields, LAST_CHUNK, RequestHead, Version, encode_chunk};

use super::answer::Answer;
use crate::{
    bindings::wasi::{
        http::types::{IncomingRequest, ResponseOutparam},
        io::poll::Pollable,
    },
    body::{Read, Source},
    fields,
    queue::{LIMIT, Queue},
};

/// So much of a body is gathered before the program sees anything: published programs take the first short read for the
/// whole request. The gateway does the same.
const GATHER: usize = LIMIT;

/// A request that has not been accepted yet.
pub(crate) struct Pending {
    request: IncomingRequest,
    response: ResponseOutparam,
}

impl Pending {
    pub(crate) fn new(request: IncomingRequest, response: ResponseOutparam) -> Self {
        Self { request, response }
    }

    pub(super) fn split(self) -> (Request, Answer) {
        let head = head(&self.request);
        let answer = Answer::new(head.method.clone(), self.response);
        // The program's own choice is to read it or not; without a body there is nothing to gather.
        let source = self.request.consume().ok().and_then(Source::new);
        let request = Request { state: State::Gathering(head, Vec::new()), source, readable: Queue::default() };
        (request, answer)
    }

    /// Nobody has accepted the request.
    pub(crate) fn refuse(self) {
        Answer::new(String::new(), self.response).close();
    }
}

fn head(request: &IncomingRequest) -> RequestHead {
    let mut all = Fields::new();
    // Hosts take this field out.
    all.push("host", request.authority().as_deref().unwrap_or("localhost").as_bytes());
    for (name, value) in fields::received(&request.headers()).iter() {
        all.push(name, value);
    }
    RequestHead {
        method: fields::method_name(&request.method()).to_owned(),
        target: request.path_with_query().filter(|path| !path.is_empty()).unwrap_or_else(|| "/".to_owned()),
        version: Version::Http11,
        fields: all,
    }
}

/// A request that reads as bytes.
pub(super) struct Request {
    state: State,
    source: Option<Source>,
    readable: Queue,
}

enum State {
    /// Nothing is readable yet.
    Gathering(RequestHead, Vec<u8>),
    Streaming {
        is_chunked: bool,
    },
    Ended,
    /// The client has gone in the middle of it.
    Torn,
}

impl Request {
    pub(super) fn readable(&mut self) -> &mut Queue {
        &mut self.readable
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    pub(super) fn is_torn(&self) -> bool {
        matches!(self.state, State::Torn)
    }

    pub(super) fn advance(&mut self) {
        while self.wants_more() {
            let read = match &mut self.source {
                Some(source) => source.read(LIMIT),
                None => Read::End,
            };
            match read {
                Read::Nothing => return,
                Read::Bytes(bytes) => self.take(&bytes),
                Read::End => self.end(),
                Read::Failed(_) => {
                    self.spell_head(None);
                    self.state = State::Torn;
                    self.source = None;
                }
            }
        }
    }

    fn wants_more(&self) -> bool {
        match self.state {
            State::Gathering(..) => true,
            State::Streaming { .. } => self.readable.room() > 0,
            State::Ended | State::Torn => false,
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        match &mut self.state {
            State::Gathering(_, gathered) => {
                gathered.extend_from_slice(bytes);
                if gathered.len() >= GATHER {
                    self.spell_head(None);
                }
            }
            State::Streaming { is_chunked: true } => self.readable.push_with(|into| encode_chunk(bytes, into)),
            _ => self.readable.push(bytes),
        }
    }

    fn end(&mut self) {
        if let State::Gathering(_, gathered) = &self.state {
            let length = gathered.len() as u64;
            self.spell_head(Some(length));
        }
        if matches!(self.state, State::Streaming { is_chunked: true }) {
            self.readable.push(LAST_CHUNK);
        }
        self.state = State::Ended;
        self.source = None;
    }

    /// Spells the head, and what was gathered. The length is the one that the client gave, else that of the whole body if
    /// it was gathered, else unknown.
    fn spell_head(&mut self, whole: Option<u64>) {
        let State::Gathering(head, gathered) = &mut self.state else { return };
        let is_length_given = head.fields.first("content-length").is_some();
        let is_chunked = !is_length_given && whole.is_none();
        match whole {
            // None is told of a body that the client has not announced: there are programs which then wait for it.
            Some(length) if !is_length_given && length > 0 => {
                head.fields.push("content-length", fields::decimal(length).as_bytes());
            }
            None if is_chunked => head.fields.push("transfer-encoding", b"chunked"),
            _ => {}
        }
        head.fields.push("connection", b"close");
        self.readable.push(&head.spell());
        if is_chunked {
            self.readable.push_with(|into| encode_chunk(gathered, into));
        } else {
            self.readable.push(gathered);
        }
        self.state = State::Streaming { is_chunked };
    }

    pub(super) fn wait(&self, into: &mut Vec<Pollable>) {
        if self.wants_more()
            && let Some(source) = &self.source
        {
            source.wait(into);
        }
    }
}
