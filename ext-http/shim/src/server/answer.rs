//! From bytes to the host's response.

use prewasm_translation::{BodyDecoder, Framing, HeadScan, Parsed, Protocol, ResponseHead, sniff_answer};

use crate::{
    bindings::wasi::{
        http::types::{ErrorCode, OutgoingResponse, ResponseOutparam},
        io::poll::Pollable,
    },
    body::Sink,
    complain::complain,
    errno::Errno,
    fields,
    queue::Queue,
};

/// What the program answers.
pub(super) struct Answer {
    /// Of the request: an answer to `HEAD` has no body.
    method: String,
    input: Queue,
    state: State,
    sink: Option<Sink>,
    is_closed: bool,
}

enum State {
    Head(ResponseOutparam, HeadScan),
    Body(BodyDecoder),
    /// Whatever is written further goes nowhere, without an error: programs that end a connection write farewells.
    Whole,
}

impl Answer {
    pub(super) fn new(method: String, response: ResponseOutparam) -> Self {
        let state = State::Head(response, HeadScan::new());
        Self { method, input: Queue::default(), state, sink: None, is_closed: false }
    }

    /// Whether there is nothing to wait for from the program: its answer is complete, or cannot become so.
    pub(super) fn is_whole(&self) -> bool {
        matches!(self.state, State::Whole)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    pub(super) fn room(&self) -> usize {
        match self.state {
            State::Whole => crate::queue::LIMIT,
            _ => self.input.room(),
        }
    }

    /// Takes bytes; how many, which may be less than offered.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        if self.is_closed {
            return Err(Errno::Pipe);
        }
        if self.is_whole() || bytes.is_empty() {
            return Ok(bytes.len());
        }
        // Before anything is refused: the host may have made room since.
        self.advance();
        if self.is_whole() {
            return Ok(bytes.len());
        }
        let taken = self.input.push_up_to_limit(bytes);
        self.advance();
        if taken == 0 { Err(Errno::Again) } else { Ok(taken) }
    }

    /// Moves what can be moved. The host may take something at any moment: bytes stay in the input only if, after it was
    /// asked, there was no room behind them; so there is something to wait for.
    pub(super) fn advance(&mut self) {
        loop {
            self.advance_sink();
            let mut has_moved = false;
            while self.step() {
                has_moved = true;
            }
            if self.is_whole() {
                // Perhaps just now.
                return self.advance_sink();
            }
            if !has_moved {
                return;
            }
        }
    }

    fn advance_sink(&mut self) {
        if let Some(sink) = &mut self.sink
            && (sink.advance().is_err() || sink.is_finished())
        {
            // Either all is done, or the client has gone and wants none of it.
            self.sink = None;
            self.become_whole();
        }
    }

    /// Takes something from the input; whether there may be more to take.
    fn step(&mut self) -> bool {
        match &mut self.state {
            State::Head(_, scan) => {
                match sniff_answer(self.input.bytes()) {
                    Protocol::Unknown => return false,
                    Protocol::Http1 => {}
                    _ => return self.give_up("is not HTTP"),
                }
                let is_full = self.input.room() == 0;
                if !scan.finds_end(self.input.bytes()) && !is_full {
                    return false;
                }
                match ResponseHead::parse(self.input.bytes()) {
                    Ok(Parsed::Partial) if is_full => self.give_up("has a head which is too large"),
                    Ok(Parsed::Partial) => true,
                    Ok(Parsed::Complete { head, length }) => {
                        self.input.consume(length);
                        // There is one more to come, and no way to pass this one on.
                        if head.is_informational() {
                            *scan = HeadScan::new();
                            return true;
                        }
                        self.respond(&head)
                    }
                    Err(_) => self.give_up("is malformed HTTP"),
                }
            }
            State::Body(decoder) => {
                let Some(sink) = &mut self.sink else { return self.become_whole() };
                let bytes = self.input.bytes();
                let room = sink.room().min(bytes.len());
                let Ok(decoded) = decoder.decode(&bytes[..room]) else { return self.tear("has a malformed chunk") };
                sink.push(decoded.content);
                let taken = decoded.taken;
                self.input.consume(taken);
                if decoder.is_complete() {
                    sink.end();
                    return self.become_whole();
                }
                taken > 0
            }
            State::Whole => false,
        }
    }

    /// Hands the head to the host, and makes ready for the body.
    fn respond(&mut self, head: &ResponseHead) -> bool {
        let Ok(decoder) = head.body(&self.method) else { return self.give_up("has a body of unclear length") };
        if head.status == 101 {
            return self.give_up("changes to another protocol, which no host of `wasi:http` can do");
        }
        let length = match decoder.framing() {
            Framing::Length(length) => Some(length),
            // How long the body would be. Hosts whose HTTP is hyper's only let this stand in an answer to HEAD.
            Framing::None if self.method == "HEAD" => {
                head.fields.first("content-length").and_then(|value| std::str::from_utf8(value).ok()?.parse().ok())
            }
            _ => None,
        };
        let response = OutgoingResponse::new(fields::sent(&head.fields, length));
        let _ = response.set_status_code(head.status);
        let body = response.body().ok();
        let State::Head(param, _) = std::mem::replace(&mut self.state, State::Whole) else { return false };
        ResponseOutparam::set(param, Ok(response));
        self.sink = body.and_then(Sink::new);
        match &mut self.sink {
            // Even of an answer without a body: some hosts wait for its end.
            Some(sink) if decoder.is_complete() => sink.end(),
            Some(_) => self.state = State::Body(decoder),
            None => {}
        }
        true
    }

    /// There is no answer that could be passed on.
    fn give_up(&mut self, why: &str) -> bool {
        complain(&["what the program answers ", why]);
        self.fail(why)
    }

    fn fail(&mut self, why: &str) -> bool {
        if let State::Head(param, _) = std::mem::replace(&mut self.state, State::Whole) {
            let mut text = String::from("the program's answer ");
            text.push_str(why);
            ResponseOutparam::set(param, Err(ErrorCode::InternalError(Some(text))));
        }
        self.become_whole()
    }

    /// The rest of the body cannot come.
    fn tear(&mut self, why: &str) -> bool {
        complain(&["what the program answers ", why]);
        self.sink = None;
        self.become_whole()
    }

    fn become_whole(&mut self) -> bool {
        self.state = State::Whole;
        self.input.clear();
        false
    }

    /// The program writes no more: the answer is as it is.
    pub(super) fn close(&mut self) {
        // What there was no room for comes first, whatever its length: the program has been told that it was taken.
        self.flush_input();
        self.is_closed = true;
        match &self.state {
            State::Head(..) => {
                self.fail("is missing");
            }
            State::Body(decoder) => {
                if decoder.may_end() {
                    if let Some(sink) = &mut self.sink {
                        sink.end();
                    }
                } else {
                    self.sink = None;
                }
                self.become_whole();
            }
            State::Whole => {}
        }
        self.advance();
    }

    fn flush_input(&mut self) {
        self.advance();
        while let (State::Body(decoder), Some(sink)) = (&mut self.state, &mut self.sink) {
            let Ok(decoded) = decoder.decode(self.input.bytes()) else { break };
            sink.push(decoded.content);
            let taken = decoded.taken;
            self.input.consume(taken);
            if decoder.is_complete() {
                sink.end();
                self.become_whole();
            }
            if taken == 0 {
                break;
            }
        }
    }

    pub(super) fn into_rest(self) -> Option<Sink> {
        self.sink
    }

    pub(super) fn wait(&self, into: &mut Vec<Pollable>) {
        if let Some(sink) = &self.sink {
            sink.wait(into);
        }
    }
}
