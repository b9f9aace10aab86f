//! A server on blocking WasmEdge sockets, with `httpcodec` for the messages: one connection at a time, one request on
//! each, no runtime.
//!
//! It exists as the other public way of writing a WasmEdge server: a host has to block such a guest in `sock_accept` and
//! `sock_recv` without spinning, and to cope with reads through a small buffer.
//!
//! Listens on `PORT` (environment) or 1234. Answers the body it got, or `hello` to a request without one.

use std::env;
use std::error::Error;
use std::io::{Read, Write};

use bytecodec::bytes::{BytesEncoder, RemainingBytesDecoder};
use bytecodec::io::IoEncodeExt;
use bytecodec::{Decode, Encode, Eos};
use httpcodec::{
    BodyDecode, BodyDecoder, BodyEncoder, Header, HeaderField, HttpVersion, NoBodyDecoder, ReasonPhrase, Request,
    RequestDecoder, Response, ResponseEncoder, StatusCode,
};
use wasmedge_wasi_socket::{TcpListener, TcpStream};

fn main() -> Result<(), Box<dyn Error>> {
    let port = env::var("PORT").unwrap_or_else(|_| "1234".to_owned());
    let listener = TcpListener::bind(format!("0.0.0.0:{port}"), false)?;
    loop {
        let (stream, _) = listener.accept(false)?;
        if let Err(error) = serve(stream) {
            eprintln!("connection ended early: {error}");
        }
    }
}

fn serve(mut stream: TcpStream) -> Result<(), Box<dyn Error>> {
    let response = match read_request(&mut stream) {
        Ok(None) => return Ok(()),
        Ok(Some(body)) if body.is_empty() => response(200, "OK", b"hello".to_vec())?,
        Ok(Some(body)) => response(200, "OK", body)?,
        Err(error) => response(400, "Bad Request", format!("{error}\n").into_bytes())?,
    };

    let mut message = Vec::new();
    let mut encoder = ResponseEncoder::new(BodyEncoder::new(BytesEncoder::new()));
    encoder.start_encoding(response)?;
    encoder.encode_all(&mut message)?;
    stream.write_all(&message)?;
    Ok(())
}

fn response(code: u16, reason: &str, body: Vec<u8>) -> Result<Response<Vec<u8>>, Box<dyn Error>> {
    let mut response = Response::new(HttpVersion::V1_1, StatusCode::new(code)?, ReasonPhrase::new(reason)?, body);
    response.header_mut().add_field(HeaderField::new("Connection", "close")?);
    Ok(response)
}

/// Reads one request and returns its body, or `None` if the client left without sending anything.
fn read_request(stream: &mut TcpStream) -> Result<Option<Vec<u8>>, Box<dyn Error>> {
    let mut received = Received::new(stream);
    let mut head = RequestDecoder::new(NoBodyDecoder);
    if !received.decode(&mut head)? {
        return Ok(None);
    }
    let head: Request<()> = head.finish_decoding()?;
    if !announces_body(&head.header()) {
        return Ok(Some(Vec::new()));
    }

    let mut body = BodyDecoder::<RemainingBytesDecoder>::default();
    body.initialize(&head.header())?;
    received.decode(&mut body)?;
    Ok(Some(body.finish_decoding()?))
}

/// Without this question the decoder would take "no length" for "until the client closes", and wait for ever.
fn announces_body(header: &Header<'_>) -> bool {
    header.get_field("Content-Length").is_some() || header.get_field("Transfer-Encoding").is_some()
}

/// What has come from the client and is not decoded yet.
struct Received<'a> {
    stream: &'a mut TcpStream,
    /// 1024 bytes, as in programs of this kind: a request often takes several reads.
    buffer: [u8; 1024],
    start: usize,
    end: usize,
}

impl<'a> Received<'a> {
    fn new(stream: &'a mut TcpStream) -> Self {
        Self { stream, buffer: [0; 1024], start: 0, end: 0 }
    }

    /// Feeds `decoder` until it has its item. `false`: the client closed before its first byte.
    fn decode(&mut self, decoder: &mut impl Decode) -> Result<bool, Box<dyn Error>> {
        let mut seen = self.end > 0;
        loop {
            while self.start < self.end && !decoder.is_idle() {
                self.start += decoder.decode(&self.buffer[self.start..self.end], Eos::new(false))?;
            }
            if seen && decoder.is_idle() {
                return Ok(true);
            }
            self.start = 0;
            self.end = self.stream.read(&mut self.buffer)?;
            match (self.end, seen) {
                (0, false) => return Ok(false),
                (0, true) => return Err("the client closed in the middle of a request".into()),
                _ => seen = true,
            }
        }
    }
}
