//! The connection that a program makes.
//!
//! It is not made until the program has written something: then it turns out whether that is HTTP, and for whom.

mod http;
mod refusal;

use std::net::SocketAddr;

use prewasm_translation::{Authority, Protocol, sniff_request};

#[cfg(feature = "sockets")]
use crate::raw::Raw;
use crate::{
    bindings::wasi::io::poll::Pollable, codec::Codecs, errno::Errno, queue::Queue, record::begins_with_record,
    state::Settings, tunnel::Tunnel,
};

use http::{Http, Outcome};
use refusal::NotHttp;

/// A connection to somebody.
pub(crate) struct Client {
    target: Authority,
    /// As the program gave it.
    #[cfg_attr(not(feature = "sockets"), expect(dead_code, reason = "addresses are for sockets"))]
    address: SocketAddr,
    mode: Mode,
    /// Sent by the program, without records.
    input: Queue,
    /// To be received by the program, without records.
    output: Queue,
    tunnel: Option<Tunnel>,
    is_read_shut: bool,
    is_write_shut: bool,
}

enum Mode {
    /// Nothing, or too little, has been written.
    Undecided,
    Http(Box<Http>),
    #[cfg(feature = "sockets")]
    Raw(Raw),
    /// The other side has closed.
    Ended,
    /// Each transfer tells, `SO_ERROR` the first time only.
    Failed {
        errno: Errno,
        is_told: bool,
    },
}

/// What a step may look at.
pub(crate) struct Surroundings<'a> {
    pub(crate) codecs: &'a mut Codecs,
    pub(crate) settings: Settings,
}

impl Client {
    pub(crate) fn new(target: Authority, address: SocketAddr) -> Self {
        Self {
            target,
            address,
            mode: Mode::Undecided,
            input: Queue::default(),
            output: Queue::default(),
            tunnel: None,
            is_read_shut: false,
            is_write_shut: false,
        }
    }

    /// Whether another attempt may be made on the same socket.
    pub(crate) fn has_failed(&self) -> bool {
        matches!(self.mode, Mode::Failed { .. })
    }

    pub(crate) fn take_error(&mut self) -> Option<Errno> {
        match &mut self.mode {
            Mode::Failed { errno, is_told } => (!std::mem::replace(is_told, true)).then_some(*errno),
            _ => None,
        }
    }

    pub(crate) fn try_send(&mut self, bytes: &[u8], around: &mut Surroundings<'_>) -> Result<usize, Errno> {
        // Before anything is refused: the host may have made room since.
        if self.room() == 0 {
            self.advance(around);
        }
        match self.mode {
            Mode::Failed { errno, .. } => return Err(errno),
            _ if self.is_write_shut => return Err(Errno::Pipe),
            Mode::Ended => return Ok(bytes.len()),
            _ => {}
        }
        let taken = match &mut self.tunnel {
            Some(tunnel) if tunnel.has_room() => {
                let received = tunnel.receive(bytes, around.codecs);
                if received.is_err() {
                    self.refuse(NotHttp::StrayRecord);
                }
                bytes.len()
            }
            Some(_) => 0,
            None => {
                if begins_with_record(bytes) == Some(true) && !self.is_untouched() {
                    self.refuse(NotHttp::StrayRecord);
                }
                self.input.push_up_to_limit(bytes)
            }
        };
        self.advance(around);
        match self.mode {
            Mode::Failed { errno, .. } => Err(errno),
            _ if taken == 0 && !bytes.is_empty() => Err(Errno::Again),
            _ => Ok(taken),
        }
    }

    fn is_untouched(&self) -> bool {
        matches!(self.mode, Mode::Undecided) && self.input.is_empty()
    }

    /// Bytes that are there; none is the end.
    pub(crate) fn try_receive(&mut self, max: usize, peek: bool) -> Result<Vec<u8>, Errno> {
        let queue = match &mut self.tunnel {
            Some(tunnel) => &mut tunnel.wire,
            None => &mut self.output,
        };
        if !queue.is_empty() && !self.is_read_shut {
            return Ok(if peek { queue.peek(max) } else { queue.take(max) });
        }
        match self.mode {
            Mode::Failed { errno, .. } => Err(errno),
            _ if self.is_read_shut || self.has_ended() => Ok(Vec::new()),
            _ => Err(Errno::Again),
        }
    }

    pub(crate) fn is_readable(&self) -> bool {
        let queue = self.tunnel.as_ref().map_or(&self.output, |tunnel| &tunnel.wire);
        !queue.is_empty() || self.is_read_shut || self.has_ended() || self.has_failed()
    }

    /// Whether the other side will send no more.
    fn has_ended(&self) -> bool {
        match &self.mode {
            #[cfg(feature = "sockets")]
            Mode::Raw(raw) => raw.has_ended(),
            mode => matches!(mode, Mode::Ended),
        }
    }

    pub(crate) fn is_writable(&self) -> bool {
        self.is_write_shut || matches!(self.mode, Mode::Ended | Mode::Failed { .. }) || self.room() > 0
    }

    /// How much could be sent now.
    pub(crate) fn room(&self) -> usize {
        match &self.tunnel {
            Some(tunnel) if !tunnel.has_room() => 0,
            Some(_) => crate::queue::LIMIT,
            None => self.input.room(),
        }
    }

    pub(crate) fn shutdown(&mut self, read: bool, write: bool) {
        self.is_read_shut |= read;
        self.is_write_shut |= write;
    }

    pub(crate) fn is_hung_up(&self) -> bool {
        self.is_write_shut && (self.is_read_shut || self.has_ended())
    }

    /// Does what can be done without waiting.
    pub(crate) fn advance(&mut self, around: &mut Surroundings<'_>) {
        loop {
            let before = self.input.len();
            self.decide(around);
            if let Some(tunnel) = &mut self.tunnel {
                tunnel.fetch(around.codecs, &mut self.input);
                self.is_write_shut |= tunnel.has_said_farewell();
            }
            self.step(around);
            // What a tunnel still holds may fit in now.
            let took_some = self.input.len() < before;
            if !(took_some && self.tunnel.is_some()) {
                break;
            }
        }
        let has_ended = matches!(self.mode, Mode::Ended);
        if let Some(tunnel) = &mut self.tunnel {
            tunnel.leave(around.codecs, &mut self.output, has_ended);
        }
    }

    /// Finds out from the first bytes what they are.
    fn decide(&mut self, around: &mut Surroundings<'_>) {
        if !matches!(self.mode, Mode::Undecided) {
            return;
        }
        if self.tunnel.is_none() {
            match begins_with_record(self.input.bytes()) {
                None => return,
                Some(false) => {}
                Some(true) => {
                    let mut tunnel = Tunnel::default();
                    let received = tunnel.receive(self.input.bytes(), around.codecs);
                    self.input.clear();
                    if received.is_err() {
                        return self.refuse(NotHttp::StrayRecord);
                    }
                    tunnel.fetch(around.codecs, &mut self.input);
                    self.tunnel = Some(tunnel);
                }
            }
        }
        match sniff_request(self.input.bytes()) {
            Protocol::Unknown => {}
            Protocol::Http1 => self.mode = Mode::Http(Box::new(Http::new(self.target(), self.tunnel.is_some()))),
            Protocol::Tls => self.leave_http(NotHttp::Tls),
            Protocol::Http2 => self.leave_http(NotHttp::Http2),
            Protocol::Other => self.leave_http(NotHttp::Other),
        }
    }

    /// Whom to talk to: with a codec that is whom the codec verifies.
    fn target(&self) -> Authority {
        match &self.tunnel {
            Some(tunnel) => Authority { host: tunnel.name().to_owned(), port: self.target.port },
            None => self.target.clone(),
        }
    }

    fn step(&mut self, around: &Surroundings<'_>) {
        let outcome = match &mut self.mode {
            Mode::Http(http) => http.advance(&mut self.input, &mut self.output, self.is_write_shut, around.settings),
            #[cfg(feature = "sockets")]
            Mode::Raw(raw) => match raw.advance(&mut self.input, &mut self.output, self.is_write_shut) {
                Ok(()) => Outcome::GoesOn,
                Err(errno) => Outcome::Failed(errno),
            },
            Mode::Ended | Mode::Failed { .. } => {
                self.input.clear();
                return;
            }
            Mode::Undecided => return,
        };
        match outcome {
            Outcome::GoesOn => {}
            Outcome::Ended => self.mode = Mode::Ended,
            Outcome::Failed(errno) => self.fail(errno),
            Outcome::NotHttp(why) => self.leave_http(why),
        }
    }

    fn fail(&mut self, errno: Errno) {
        self.mode = Mode::Failed { errno, is_told: false };
        self.input.clear();
    }

    /// What was written can go as it is through a socket, where there are any.
    fn leave_http(&mut self, why: NotHttp) {
        #[cfg(feature = "sockets")]
        if self.tunnel.is_none() && why.can_be_sent() {
            self.mode = Mode::Raw(Raw::connect(&self.target, self.address));
            return;
        }
        self.refuse(why);
    }

    fn refuse(&mut self, why: NotHttp) {
        why.complain(&self.target(), self.tunnel.is_some());
        self.fail(why.errno());
    }

    /// The program waits for bytes, and nothing is under way that could bring any. Whether that has changed now.
    pub(crate) fn starve(&mut self) -> bool {
        match &self.mode {
            Mode::Undecided if self.input.is_empty() => self.leave_http(NotHttp::SpeaksSecond),
            Mode::Undecided => self.leave_http(NotHttp::Other),
            // A server would close an idle connection at some time.
            Mode::Http(http) if http.is_idle() => self.mode = Mode::Ended,
            _ => return false,
        }
        true
    }

    /// The program has closed its side. Whether something is left to be done: what it wrote was taken for sent, and goes
    /// out.
    pub(crate) fn close(&mut self) -> bool {
        self.shutdown(true, true);
        !self.is_settled()
    }

    /// Whether everything has gone out that was written before a close.
    pub(crate) fn is_settled(&self) -> bool {
        match &self.mode {
            Mode::Http(http) => http.is_settled(),
            #[cfg(feature = "sockets")]
            Mode::Raw(_) => self.input.is_empty(),
            Mode::Undecided | Mode::Ended | Mode::Failed { .. } => true,
        }
    }

    /// Whether the program has not said a word.
    #[cfg(feature = "sockets")]
    pub(crate) fn is_silent(&self) -> bool {
        self.is_untouched() && self.tunnel.is_none()
    }

    pub(crate) fn wait(&self, into: &mut Vec<Pollable>) {
        match &self.mode {
            Mode::Http(http) => http.wait(&self.output, into),
            #[cfg(feature = "sockets")]
            Mode::Raw(raw) => raw.wait(&self.input, &self.output, into),
            Mode::Undecided | Mode::Ended | Mode::Failed { .. } => {}
        }
    }
}
