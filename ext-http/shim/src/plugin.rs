//! WasmEdge's HTTP plugin: one HTTPS request at a time, its answer kept for reading.
//!
//! The program hands over a complete HTTP/1.x request, head and body, and gets back a complete answer, spelled with an
//! exact length, which every published program understands. There are no error codes: failures trap, as in WasmEdge.

use prewasm_translation::{Authority, Framing, MessageError, Parsed, RequestHead, ResponseHead, Version};

use crate::{
    bindings::wasi::{
        http::types::{FutureIncomingResponse, IncomingResponse},
        io::poll::{self, Pollable},
    },
    body::{Read, Sink, Source},
    complain::complain,
    errno::Errno,
    exchange::{self, Destination},
    fields,
    names::is_name,
    queue::LIMIT,
    state::Run,
};

const HTTPS_PORT: u16 = 443;
/// The largest answer: it is held in memory, here and by the program.
const MAX_ANSWER: usize = 64 * 1024 * 1024;

/// Why there is no answer.
enum PluginError {
    Host,
    Port,
    Malformed(MessageError),
    Cut,
    TooLarge,
    Failed(Errno),
}

impl Run {
    /// Sends what the program spells to `host`, and keeps the answer.
    pub(crate) fn send_data(&mut self, host: &[u8], port: u32, request: &[u8]) {
        // Programs may or may not count the NUL in.
        let host = host.split(|byte| *byte == 0).next().unwrap_or_default();
        let name = String::from_utf8_lossy(host);
        match send(&name, port, request) {
            Ok(answer) => self.answer = answer,
            Err(error) => {
                complain(&["the program's HTTPS request to `", &name, "` failed: ", &error.text()]);
                trap();
            }
        }
    }
}

/// What comes before the first NUL: the first version took a request for a C string.
pub(crate) fn until_nul(request: &[u8]) -> &[u8] {
    request.split(|byte| *byte == 0).next().unwrap_or_default()
}

impl PluginError {
    fn text(&self) -> String {
        match self {
            Self::Host => "the host is no name".to_owned(),
            Self::Port => "the port is none".to_owned(),
            Self::Malformed(error) => error.to_string(),
            Self::Cut => "the request is cut off".to_owned(),
            Self::TooLarge => "the answer is too large".to_owned(),
            Self::Failed(errno) => "errno ".to_owned() + &fields::decimal(errno.code().into()),
        }
    }
}

fn send(host: &str, port: u32, request: &[u8]) -> Result<Vec<u8>, PluginError> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if !is_name(host) && host.parse::<std::net::IpAddr>().is_err() {
        return Err(PluginError::Host);
    }
    let port = u16::try_from(port).map_err(|_| PluginError::Port)?;
    let (head, length) = match RequestHead::parse(request) {
        Ok(Parsed::Complete { head, length }) => (head, length),
        Ok(Parsed::Partial) => return Err(PluginError::Cut),
        Err(error) => return Err(PluginError::Malformed(error)),
    };
    // The body goes out as it was given, with the length that it has.
    let body = &request[length..];
    let has_length = head.fields.first("content-length").is_some();
    let framing = if body.is_empty() && !has_length { Framing::None } else { Framing::Length(body.len() as u64) };
    let authority = Authority { host: host.to_owned(), port }.spell(HTTPS_PORT);
    let destination = Destination { is_https: true, authority };
    let (response, sink) = exchange::hand_over(&head, &destination, framing).map_err(PluginError::Failed)?;
    let response = upload(&response, sink, body).map_err(PluginError::Failed)?;
    download(&response, &head.method)
}

/// Writes the body, and waits for the answer's head.
fn upload(response: &FutureIncomingResponse, sink: Sink, mut body: &[u8]) -> Result<IncomingResponse, Errno> {
    let mut sink = Some(sink);
    loop {
        if let Some(writing) = &mut sink {
            while !body.is_empty() && writing.room() > 0 {
                let (piece, rest) = body.split_at(body.len().min(writing.room()));
                writing.push(piece);
                body = rest;
                if writing.advance().is_err() {
                    break;
                }
            }
            if body.is_empty() {
                writing.end();
            }
            if writing.advance().is_err() || writing.is_finished() {
                sink = None;
            }
        }
        if let Some(answer) = exchange::answer(response) {
            return answer;
        }
        let mut pollables = vec![response.subscribe()];
        if let Some(sink) = &sink {
            sink.wait(&mut pollables);
        }
        wait(&pollables);
    }
}

fn download(response: &IncomingResponse, method: &str) -> Result<Vec<u8>, PluginError> {
    let mut body = Vec::new();
    let mut source = response.consume().ok().and_then(Source::new).ok_or(PluginError::Failed(Errno::Io))?;
    loop {
        match source.read(LIMIT) {
            Read::Bytes(bytes) if body.len() + bytes.len() > MAX_ANSWER => return Err(PluginError::TooLarge),
            Read::Bytes(bytes) => body.extend_from_slice(&bytes),
            Read::End => break,
            Read::Failed(errno) => return Err(PluginError::Failed(errno)),
            Read::Nothing => {
                let mut pollables = Vec::new();
                source.wait(&mut pollables);
                wait(&pollables);
            }
        }
    }
    Ok(spell(response, method, &body))
}

fn spell(response: &IncomingResponse, method: &str, body: &[u8]) -> Vec<u8> {
    let mut head = ResponseHead { status: response.status(), version: Version::Http11, fields: Default::default() };
    for (name, value) in fields::received(&response.headers()).iter().filter(|(name, _)| *name != "content-length") {
        head.fields.push(name, value);
    }
    // Without a length, programs would take what follows the head for the body of an answer to HEAD too.
    if method != "HEAD" {
        head.fields.push("content-length", fields::decimal(body.len() as u64).as_bytes());
    }
    let mut answer = head.spell();
    if method != "HEAD" {
        answer.extend_from_slice(body);
    }
    answer
}

fn wait(pollables: &[Pollable]) {
    if !pollables.is_empty() {
        poll::poll(&pollables.iter().collect::<Vec<_>>());
    }
}

/// Ends the program.
fn trap() -> ! {
    std::process::abort()
}
