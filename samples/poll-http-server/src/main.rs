//! An HTTP server for several clients at a time without a runtime: `wasmedge_wasi_socket`'s `poll` over non-blocking
//! sockets, keep-alive included. It can be asked to call another server, over a blocking socket.
//!
//! It exists because such a program polls its listener together with its connections, asks to be told when it can write,
//! and hears of the end of a request by having nothing to read: what a host of single requests must imitate.
//!
//! Listens on 1239. `POST /echo` sends the body back, `GET /via/HOST:PORT/PATH` passes on what that server answers to
//! `GET /PATH`, `GET /count` tells how many requests this process has seen, and anything else is greeted.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use wasmedge_wasi_socket::poll::{EventType, Subscription, poll};
use wasmedge_wasi_socket::{TcpListener, TcpStream};

/// The listener's number; clients count from 1.
const LISTENER: u64 = 0;

fn main() -> io::Result<()> {
    let listener = TcpListener::bind("0.0.0.0:1239", true)?;
    let mut clients: BTreeMap<u64, Client> = BTreeMap::new();
    let mut last = LISTENER;
    let mut requests = 0;
    loop {
        let mut subscriptions = vec![Subscription::io(LISTENER, &listener, true, false, None)];
        for (number, client) in &clients {
            let writes = !client.output.is_empty();
            subscriptions.push(Subscription::io(*number, &client.stream, !writes, writes, None));
        }
        for event in poll(&subscriptions)? {
            if let EventType::Error(error) = event.event_type {
                return Err(error);
            }
            if event.userdata == LISTENER {
                let (stream, _) = listener.accept(true)?;
                last += 1;
                clients.insert(last, Client { stream, input: Vec::new(), output: Vec::new(), is_last: false });
            } else if let Some(client) = clients.get_mut(&event.userdata) {
                match client.go_on(&mut requests) {
                    Ok(true) => {}
                    Ok(false) => drop(clients.remove(&event.userdata)),
                    Err(error) => {
                        eprintln!("client {}: {error}", event.userdata);
                        clients.remove(&event.userdata);
                    }
                }
            }
        }
    }
}

struct Client {
    stream: TcpStream,
    /// What came, as far as it is not answered.
    input: Vec<u8>,
    /// What is to be sent.
    output: Vec<u8>,
    /// The connection ends with what is being sent.
    is_last: bool,
}

impl Client {
    /// Reads, answers and writes as far as it goes. `false`: the connection is over.
    fn go_on(&mut self, requests: &mut u64) -> io::Result<bool> {
        let mut buffer = [0; 4096];
        while self.output.is_empty() {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Ok(false),
                Ok(length) => self.input.extend_from_slice(&buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
            if let Some((length, answer)) = answer(&self.input, requests)? {
                self.input.drain(..length);
                self.output = answer.bytes;
                self.is_last = answer.is_last;
            }
        }
        while !self.output.is_empty() {
            match self.stream.write(&self.output) {
                Ok(length) => drop(self.output.drain(..length)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(error),
            }
            if self.output.is_empty() && self.is_last {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

struct Answer {
    bytes: Vec<u8>,
    is_last: bool,
}

/// The answer to a request, and the request's length; `None` while it is not complete.
fn answer(input: &[u8], requests: &mut u64) -> io::Result<Option<(usize, Answer)>> {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut fields);
    let httparse::Status::Complete(head) = request.parse(input).map_err(invalid)? else { return Ok(None) };
    let field = |name: &str| {
        let field = request.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(field.value).ok()
    };
    let Some((length, body)) = body(&input[head..], field("transfer-encoding"), field("content-length"))? else {
        return Ok(None);
    };
    *requests += 1;
    let path = request.path.unwrap_or("/");
    let (status, content) = match (request.method, path) {
        (Some("POST"), "/echo") => ("200 OK", body),
        (Some("GET"), "/count") => ("200 OK", requests.to_string().into_bytes()),
        (Some("GET"), path) if path.starts_with("/via/") => match call(&path["/via/".len()..]) {
            Ok(content) => ("200 OK", content),
            Err(error) => ("502 Bad Gateway", format!("{error}\n").into_bytes()),
        },
        _ => ("200 OK", b"polled\n".to_vec()),
    };
    let is_last = field("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    let connection = if is_last { "close" } else { "keep-alive" };
    let mut bytes = format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/plain\r\ncontent-length: {}\r\nconnection: {connection}\r\n\r\n",
        content.len()
    )
    .into_bytes();
    if request.method != Some("HEAD") {
        bytes.extend(content);
    }
    Ok(Some((head + length, Answer { bytes, is_last })))
}

/// A body, and how many bytes it takes in its coding.
fn body(input: &[u8], coding: Option<&str>, length: Option<&str>) -> io::Result<Option<(usize, Vec<u8>)>> {
    if coding.is_none() {
        let length = length.map_or(Ok(0), str::parse).map_err(invalid)?;
        return Ok(input.get(..length).map(|body| (length, body.to_vec())));
    }
    let mut body = Vec::new();
    let mut at = 0;
    loop {
        let httparse::Status::Complete((line, size)) =
            httparse::parse_chunk_size(&input[at..]).map_err(|_| invalid("not a chunk"))?
        else {
            return Ok(None);
        };
        at += line;
        let size = usize::try_from(size).map_err(invalid)?;
        let Some(chunk) = input.get(at..at + size + 2) else { return Ok(None) };
        body.extend_from_slice(&chunk[..size]);
        at += size + 2;
        if size == 0 {
            return Ok(Some((at, body)));
        }
    }
}

/// What the server in `HOST:PORT/PATH` answers.
fn call(target: &str) -> io::Result<Vec<u8>> {
    let (authority, path) = target.split_once('/').unwrap_or((target, ""));
    let mut stream = TcpStream::connect(authority)?;
    write!(stream, "GET /{path} HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\n\r\n")?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(head) = response.parse(&bytes).map_err(invalid)? else {
        return Err(invalid("half an answer"));
    };
    let is_chunked = response.headers.iter().any(|field| field.name.eq_ignore_ascii_case("transfer-encoding"));
    let coding = is_chunked.then_some("chunked");
    let length = (bytes.len() - head).to_string();
    let (_, content) = body(&bytes[head..], coding, Some(&length))?.ok_or_else(|| invalid("half a body"))?;
    Ok(content)
}

fn invalid(error: impl ToString) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}
