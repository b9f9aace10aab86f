//! A connection: requests in, bytes out.

use std::io::{self, Read, Write};

use wasmedge_wasi_socket::TcpStream;

use crate::request::{Body, Request};

/// A client's connection, with what has been read from it and is not used yet.
pub struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Connection {
    /// Nothing has been read from `stream` yet.
    pub fn new(stream: TcpStream) -> Self {
        Self { stream, received: Vec::new() }
    }

    /// Reads the head of the next request, or `None` if the client closed between two requests.
    pub fn read_head(&mut self) -> io::Result<Option<Request>> {
        loop {
            if let Some((request, length)) = Request::parse(&self.received)? {
                self.received.drain(..length);
                return Ok(Some(request));
            }
            let at_start = self.received.is_empty();
            if self.receive()? == 0 {
                return if at_start { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
        }
    }

    /// Reads a body and throws it away.
    pub fn drain(&mut self, body: &Body) -> io::Result<()> {
        match *body {
            Body::Length(length) => self.skip(length),
            Body::Chunked => self.skip_chunks(),
            Body::UntilClosed => loop {
                self.received.clear();
                if self.receive()? == 0 {
                    return Ok(());
                }
            },
        }
    }

    /// Sends all of `bytes`.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    fn skip(&mut self, mut length: u64) -> io::Result<()> {
        while length > 0 {
            if self.received.is_empty() {
                self.receive_some()?;
            }
            let here = usize::try_from(length).map_or(self.received.len(), |l| l.min(self.received.len()));
            self.received.drain(..here);
            length -= here as u64;
        }
        Ok(())
    }

    fn skip_chunks(&mut self) -> io::Result<()> {
        loop {
            let (header, size) = loop {
                match httparse::parse_chunk_size(&self.received) {
                    Ok(httparse::Status::Complete(found)) => break found,
                    Ok(httparse::Status::Partial) => self.receive_some()?,
                    Err(_) => {
                        return Err(io::Error::new(io::ErrorKind::InvalidData, "bad chunk size"));
                    }
                }
            };
            self.skip(header as u64)?;
            if size == 0 {
                return self.skip_trailers();
            }
            // The chunk and the line end after it.
            self.skip(size)?;
            self.skip(2)?;
        }
    }

    /// Skips lines up to and with the first empty one.
    fn skip_trailers(&mut self) -> io::Result<()> {
        loop {
            match self.received.windows(2).position(|bytes| bytes == b"\r\n") {
                Some(at) => {
                    self.received.drain(..at + 2);
                    if at == 0 {
                        return Ok(());
                    }
                }
                None => self.receive_some()?,
            }
        }
    }

    fn receive_some(&mut self) -> io::Result<()> {
        match self.receive()? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    fn receive(&mut self) -> io::Result<usize> {
        let mut piece = [0; 4096];
        let length = self.stream.read(&mut piece)?;
        self.received.extend_from_slice(&piece[..length]);
        Ok(length)
    }
}
