//! The head of a request, as far as this server looks at it.

use std::io;

/// What a request asks for, and how its body comes.
pub struct Request {
    /// Without the query.
    pub path: String,
    /// False for HEAD.
    pub wants_body: bool,
    /// Whether another request may follow on the connection.
    pub keep_alive: bool,
    /// How to find the end of the body.
    pub body: Body,
}

/// Where a body ends.
pub enum Body {
    /// After so many bytes, maybe 0.
    Length(u64),
    /// After the last chunk.
    Chunked,
    /// With the connection.
    UntilClosed,
}

impl Request {
    /// The head at the start of `bytes` and its length there, or `None` if it is not complete.
    pub fn parse(bytes: &[u8]) -> io::Result<Option<(Self, usize)>> {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut head = httparse::Request::new(&mut headers);
        let httparse::Status::Complete(length) = head.parse(bytes).map_err(invalid)? else {
            return Ok(None);
        };

        let target = head.path.unwrap_or_default();
        let mut request = Self {
            path: target.split('?').next().unwrap_or_default().to_owned(),
            wants_body: head.method != Some("HEAD"),
            keep_alive: head.version == Some(1),
            body: Body::Length(0),
        };
        for header in head.headers {
            let value = std::str::from_utf8(header.value).map_err(invalid)?;
            request.read(header.name, value)?;
        }
        Ok(Some((request, length)))
    }

    fn read(&mut self, name: &str, value: &str) -> io::Result<()> {
        if name.eq_ignore_ascii_case("connection") {
            self.keep_alive &= !value.eq_ignore_ascii_case("close");
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            self.body = Body::Chunked;
        } else if name.eq_ignore_ascii_case("content-length") {
            self.body = Body::Length(value.parse().map_err(invalid)?);
        }
        Ok(())
    }
}

fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
