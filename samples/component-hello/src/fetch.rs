//! An outgoing request through `wasi:http/outgoing-handler`.

use std::fmt;

use wasi::http::outgoing_handler;
use wasi::http::types::{ErrorCode, Fields, IncomingResponse, OutgoingRequest, Scheme};

/// Why there is nothing to pass on.
pub enum FetchError {
    /// The query names no URL we can ask for.
    BadUrl,
    /// The request was refused, or no response came.
    Failed(ErrorCode),
}

impl FetchError {
    /// The status to answer with.
    pub fn status(&self) -> u16 {
        match self {
            Self::BadUrl => 400,
            Self::Failed(_) => 502,
        }
    }
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadUrl => f.write_str("ask for /fetch?url=URL, with an http or https URL"),
            Self::Failed(code) => write!(f, "no response: {code}"),
        }
    }
}

impl From<ErrorCode> for FetchError {
    fn from(code: ErrorCode) -> Self {
        Self::Failed(code)
    }
}

/// Gets the URL in `query` (`url=…`).
pub fn get(query: &str) -> Result<IncomingResponse, FetchError> {
    let response = outgoing_handler::handle(request(query).ok_or(FetchError::BadUrl)?, None)?;
    loop {
        match response.get() {
            Some(Ok(response)) => return Ok(response?),
            Some(Err(())) => unreachable!("the response is taken once"),
            None => response.subscribe().block(),
        }
    }
}

fn request(query: &str) -> Option<OutgoingRequest> {
    let url = query.split('&').find_map(|pair| pair.strip_prefix("url="))?;
    let url = percent_decoded(url)?;
    let (scheme, rest) = if let Some(rest) = url.strip_prefix("http://") {
        (Scheme::Http, rest)
    } else {
        (Scheme::Https, url.strip_prefix("https://")?)
    };
    let (authority, target) = match rest.find(['/', '?']) {
        None => (rest, "/".to_owned()),
        Some(at) if rest[at..].starts_with('?') => (&rest[..at], format!("/{}", &rest[at..])),
        Some(at) => (&rest[..at], rest[at..].to_owned()),
    };

    let request = OutgoingRequest::new(Fields::new());
    request.set_scheme(Some(&scheme)).ok()?;
    request.set_authority(Some(authority)).ok()?;
    request.set_path_with_query(Some(&target)).ok()?;
    Some(request)
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => hex(bytes.next()?)? * 16 + hex(bytes.next()?)?,
            byte => byte,
        });
    }
    String::from_utf8(decoded).ok()
}

fn hex(digit: u8) -> Option<u8> {
    (digit as char).to_digit(16).and_then(|value| u8::try_from(value).ok())
}
