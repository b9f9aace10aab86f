//! Bytes of a socket to HTTP messages, and back.
//!
//! Programs written for WasmEdge speak HTTP/1 over sockets of their own; hosts of `wasi:http` hand out messages. This
//! crate is what lies between: heads are parsed and spelled, bodies framed and unframed. It does no I/O and knows no
//! host, so that the same code serves natively and in a component, and can be tested with any bytes in any pieces.
//!
//! Whatever is parsed may be hostile: every line, head, and trailer has a bound, and nothing here panics.
//!
//! ```
//! use prewasm_translation::{Parsed, RequestHead};
//!
//! let bytes = b"GET /a HTTP/1.1\r\nHost: example.com\r\n\r\n";
//! let Ok(Parsed::Complete { head, length }) = RequestHead::parse(bytes) else { panic!("a whole head") };
//! assert_eq!((head.method.as_str(), head.target.as_str(), length), ("GET", "/a", bytes.len()));
//! ```

mod authority;
mod body;
mod chunked;
mod error;
mod fields;
mod reason;
mod request;
mod response;
mod scan;
mod sniff;

pub use authority::{Authority, Named, names_same_host, path_of};
pub use body::{BodyDecoder, Decoded, Framing};
pub use chunked::{LAST_CHUNK, encode_chunk};
pub use error::MessageError;
pub use fields::{Fields, is_hop_by_hop};
pub use reason::reason;
pub use request::RequestHead;
pub use response::ResponseHead;
pub use scan::HeadScan;
pub use sniff::{Protocol, sniff_answer, sniff_request};

/// The longest head taken: what the gateway takes from clients, and twice what most servers do.
pub const MAX_HEAD: usize = 64 * 1024;
/// At most this many fields in a head; hyper takes 100, and programs get a few more from their hosts.
pub const MAX_FIELDS: usize = 128;

/// What parsing the beginning of a message gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed<T> {
    /// The head goes on.
    Partial,
    /// The head is there.
    Complete {
        /// What it says.
        head: T,
        /// How many bytes it had; the body follows them.
        length: usize,
    },
}

/// The versions of HTTP which are spelled as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0: no chunks, and a connection is closed unless both sides say otherwise.
    Http10,
    /// HTTP/1.1.
    Http11,
}

impl Version {
    fn from_minor(minor: Option<u8>) -> Self {
        if minor == Some(0) { Self::Http10 } else { Self::Http11 }
    }
}
