//! A `wasi:http` 0.2 component: what an HTTP program looks like without sockets.
//!
//! It exists to test serving of components, streaming through them both ways, and their outgoing requests.
//!
//! `GET /` says hello, `POST /echo` streams the body back, `GET /fetch?url=URL` gets URL (percent-encoded, `http` or
//! `https`) and streams what comes back.

mod fetch;

use std::io::{self, Write};

use wasi::exports::http::incoming_handler::Guest;
use wasi::http::types::{
    Fields, IncomingBody, IncomingRequest, Method, OutgoingBody, OutgoingResponse, ResponseOutparam,
};
use wasi::io::streams::{OutputStream, StreamError};

struct Hello;

wasi::http::proxy::export!(Hello);

impl Guest for Hello {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let target = request.path_with_query().unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));

        let answered = match (request.method(), path) {
            (Method::Get | Method::Head, "/") => text(out, 200, "hello\n"),
            (Method::Post, "/echo") => echo(&request, out),
            (Method::Get, "/fetch") => fetch(query, out),
            _ => text(out, 404, "not found\n"),
        };
        if let Err(error) = answered {
            eprintln!("response ended early: {error}");
        }
    }
}

fn text(out: ResponseOutparam, status: u16, text: &str) -> io::Result<()> {
    let body = start(out, status, b"text/plain");
    let mut stream = body.write().expect("a new body has not been written to");
    send(&mut stream, text.as_bytes())?;
    // A stream is a child of its body and has to go first.
    drop(stream);
    finish(body)
}

fn echo(request: &IncomingRequest, out: ResponseOutparam) -> io::Result<()> {
    let kind = content_type(&request.headers());
    let incoming = request.consume().expect("nobody else takes the body of this request");
    pass_on(incoming, start(out, 200, &kind))
}

fn fetch(query: &str, out: ResponseOutparam) -> io::Result<()> {
    let response = match fetch::get(query) {
        Ok(response) => response,
        Err(error) => return text(out, error.status(), &format!("{error}\n")),
    };
    let kind = content_type(&response.headers());
    let incoming = response.consume().expect("nobody else takes the body of this response");
    pass_on(incoming, start(out, response.status(), &kind))
}

fn content_type(headers: &Fields) -> Vec<u8> {
    let values = headers.get("content-type");
    values.into_iter().next().unwrap_or_else(|| b"application/octet-stream".to_vec())
}

/// Sends the head, and returns the body to write.
fn start(out: ResponseOutparam, status: u16, content_type: &[u8]) -> OutgoingBody {
    let headers = Fields::new();
    headers.append("content-type", content_type).expect("a content type is plain text or has come as a header");
    let response = OutgoingResponse::new(headers);
    response.set_status_code(status).expect("our own statuses, or one an upstream has sent");
    let body = response.body().expect("the first body asked for");
    ResponseOutparam::set(out, Ok(response));
    body
}

/// Copies `from` to `to` piece by piece. On an error `to` is left unfinished, which tells the host to break off.
fn pass_on(from: IncomingBody, to: OutgoingBody) -> io::Result<()> {
    let input = from.stream().expect("a new body has not been read from");
    let mut output = to.write().expect("a new body has not been written to");
    loop {
        match input.blocking_read(64 * 1024) {
            Ok(piece) => send(&mut output, &piece)?,
            Err(StreamError::Closed) => break,
            Err(StreamError::LastOperationFailed(error)) => return Err(io::Error::other(error)),
        }
    }
    drop(input);
    drop(output);
    finish(to)
}

fn send(stream: &mut OutputStream, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes)?;
    // Or the host may hold a piece back which the other side is waiting for.
    stream.blocking_flush().map_err(io::Error::other)
}

fn finish(body: OutgoingBody) -> io::Result<()> {
    OutgoingBody::finish(body, None).map_err(io::Error::other)
}
