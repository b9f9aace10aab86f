//! A connection which speaks HTTP: requests one after the other.

use prewasm_translation::{Authority, HeadScan, Named, Parsed, RequestHead};

use super::refusal::NotHttp;
use crate::{
    bindings::wasi::io::poll::Pollable,
    errno::Errno,
    exchange::{Destination, Exchange},
    queue::Queue,
    state::Settings,
};

const HTTP_PORT: u16 = 80;
const HTTPS_PORT: u16 = 443;

/// The program's side of a connection to an HTTP server.
pub(super) struct Http {
    target: Authority,
    is_https: bool,
    scan: HeadScan,
    exchange: Option<Exchange>,
    /// No request has been sent yet: the bytes could still go elsewhere.
    is_first: bool,
}

/// What a step came to.
pub(super) enum Outcome {
    GoesOn,
    /// The connection is closed after all that was sent.
    Ended,
    Failed(Errno),
    NotHttp(NotHttp),
}

impl Http {
    pub(super) fn new(target: Authority, is_https: bool) -> Self {
        Self { target, is_https, scan: HeadScan::new(), exchange: None, is_first: true }
    }

    pub(super) fn advance(
        &mut self,
        input: &mut Queue,
        output: &mut Queue,
        is_write_shut: bool,
        settings: Settings,
    ) -> Outcome {
        loop {
            let Some(exchange) = &mut self.exchange else {
                match self.begin(input, output, settings) {
                    Ok(true) => continue,
                    // Whoever says that it will send no more gets no more answers.
                    Ok(false) if is_write_shut => return Outcome::Ended,
                    Ok(false) => return Outcome::GoesOn,
                    Err(outcome) => return outcome,
                }
            };
            match exchange.advance(input, output) {
                Err(errno) => return Outcome::Failed(errno),
                Ok(false) if is_write_shut && !exchange.is_uploaded() && input.is_empty() => {
                    return Outcome::Failed(Errno::ConnReset);
                }
                Ok(false) => return Outcome::GoesOn,
                Ok(true) => {
                    let keeps_connection = exchange.keeps_connection();
                    self.exchange = None;
                    self.scan = HeadScan::new();
                    if !keeps_connection {
                        return Outcome::Ended;
                    }
                }
            }
        }
    }

    /// Starts the next request, if its head is there.
    fn begin(&mut self, input: &mut Queue, output: &mut Queue, settings: Settings) -> Result<bool, Outcome> {
        let is_full = input.room() == 0;
        if !self.scan.finds_end(input.bytes()) && !is_full {
            return Ok(false);
        }
        let (head, length) = match RequestHead::parse(input.bytes()) {
            Ok(Parsed::Complete { head, length }) => (head, length),
            // An empty line came before the head.
            Ok(Parsed::Partial) => return Ok(!is_full),
            Err(_) => return Err(Outcome::Failed(Errno::Proto)),
        };
        let refused = |why: NotHttp, is_first: bool| {
            if is_first { Outcome::NotHttp(why) } else { Outcome::Failed(why.errno()) }
        };
        if head.leaves_http() {
            return Err(refused(NotHttp::Upgrade, self.is_first));
        }
        let default_port = if self.is_https { HTTPS_PORT } else { HTTP_PORT };
        let authority = match self.target.compare(&head) {
            Ok(Named::Target) => self.target.spell(default_port),
            Ok(Named::Other(named)) if settings.uses_host_header => named,
            Ok(Named::Other(named)) => {
                let why = NotHttp::OtherHost(named);
                // Nothing else would tell, once others have been sent.
                if !self.is_first {
                    why.complain(&self.target, self.is_https);
                }
                return Err(refused(why, self.is_first));
            }
            Err(_) => return Err(Outcome::Failed(Errno::Proto)),
        };
        let body = head.body().map_err(|_| Outcome::Failed(Errno::Proto))?;
        // Answered here, since the host would take it for the connection's own.
        if head.expects_continue() && !body.is_complete() {
            output.push(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        let destination = Destination { is_https: self.is_https, authority };
        let exchange = Exchange::start(&head, body, &destination).map_err(Outcome::Failed)?;
        input.consume(length);
        self.is_first = false;
        self.exchange = Some(exchange);
        Ok(true)
    }

    /// Whether it is up to the program to send a request.
    pub(super) fn is_idle(&self) -> bool {
        self.exchange.is_none()
    }

    /// Whether the server has, or will not get, all of what was written.
    pub(super) fn is_settled(&self) -> bool {
        self.exchange.as_ref().is_none_or(Exchange::is_settled)
    }

    pub(super) fn wait(&self, output: &Queue, into: &mut Vec<Pollable>) {
        if let Some(exchange) = &self.exchange {
            exchange.wait(output, into);
        }
    }
}
