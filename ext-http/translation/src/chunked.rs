//! The chunked transfer coding (RFC 9112, 7.1).

use crate::MessageError;

/// The end of a body in chunks, without trailers.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// The longest size line, extensions and line end included: hyper's limit for extensions of a whole body.
const MAX_SIZE_LINE: usize = 16 * 1024;
/// All trailers together; they are dropped, so this only bounds the work.
const MAX_TRAILERS: usize = 64 * 1024;

/// Spells one chunk. No bytes are no chunk: an empty one would be the end.
pub fn encode_chunk(bytes: &[u8], into: &mut Vec<u8>) {
    if bytes.is_empty() {
        return;
    }
    let mut digits = [0; 16];
    let mut first = digits.len();
    let mut left = bytes.len();
    while left > 0 {
        first -= 1;
        digits[first] = b"0123456789abcdef"[left % 16];
        left /= 16;
    }
    into.extend_from_slice(&digits[first..]);
    into.extend_from_slice(b"\r\n");
    into.extend_from_slice(bytes);
    into.extend_from_slice(b"\r\n");
}

/// Where in the coding we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In the digits of a size; how many there were.
    Size {
        digits: u32,
    },
    /// After the digits, up to the line end.
    Extension,
    Data,
    /// After the data: its line end, or the CR of it.
    DataEnd {
        seen_cr: bool,
    },
    /// In the lines after the last chunk. An empty line ends the body.
    Trailers {
        line_is_empty: bool,
    },
    Done,
}

/// Takes chunks apart, whatever the pieces they come in.
#[derive(Clone, Debug)]
pub(crate) struct ChunkDecoder {
    place: Place,
    /// What is left of this chunk.
    left: u64,
    /// Bytes of this line, or of the trailers.
    line: usize,
}

impl ChunkDecoder {
    pub(crate) fn new() -> Self {
        Self { place: Place::Size { digits: 0 }, left: 0, line: 0 }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.place == Place::Done
    }

    /// Takes bytes up to the end of the first piece of data in them; gives how many, and that piece.
    pub(crate) fn decode<'a>(&mut self, bytes: &'a [u8]) -> Result<(usize, &'a [u8]), MessageError> {
        let mut at = 0;
        while at < bytes.len() && self.place != Place::Done {
            if self.place == Place::Data {
                let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len() - at);
                self.left -= length as u64;
                if self.left == 0 {
                    self.place = Place::DataEnd { seen_cr: false };
                }
                return Ok((at + length, &bytes[at..at + length]));
            }
            self.step(bytes[at])?;
            at += 1;
        }
        Ok((at, &[]))
    }

    /// Takes one byte which is no data.
    fn step(&mut self, byte: u8) -> Result<(), MessageError> {
        self.line += 1;
        self.place = match (self.place, byte) {
            (Place::Size { digits }, _) if byte.is_ascii_hexdigit() => {
                let value = (byte as char).to_digit(16).map(u64::from).ok_or(MessageError::Chunk)?;
                self.left = self.left.checked_mul(16).ok_or(MessageError::Chunk)? | value;
                Place::Size { digits: digits + 1 }
            }
            (Place::Size { digits: 0 }, _) => return Err(MessageError::Chunk),
            (Place::Size { .. } | Place::Extension, b'\n') => self.size_ends(),
            (Place::Size { .. }, b';' | b' ' | b'\t' | b'\r') | (Place::Extension, _) => Place::Extension,
            (Place::DataEnd { seen_cr: false }, b'\r') => Place::DataEnd { seen_cr: true },
            (Place::DataEnd { .. }, b'\n') => {
                self.line = 0;
                Place::Size { digits: 0 }
            }
            (Place::Trailers { line_is_empty: true }, b'\n') => Place::Done,
            (Place::Trailers { .. }, b'\n') => Place::Trailers { line_is_empty: true },
            (Place::Trailers { line_is_empty }, b'\r') => Place::Trailers { line_is_empty },
            (Place::Trailers { .. }, _) => Place::Trailers { line_is_empty: false },
            _ => return Err(MessageError::Chunk),
        };
        let limit = if matches!(self.place, Place::Trailers { .. }) { MAX_TRAILERS } else { MAX_SIZE_LINE };
        if self.line > limit { Err(MessageError::Chunk) } else { Ok(()) }
    }

    fn size_ends(&mut self) -> Place {
        self.line = 0;
        if self.left == 0 { Place::Trailers { line_is_empty: true } } else { Place::Data }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(bytes: &[u8]) -> Result<(Vec<u8>, bool), MessageError> {
        let mut decoder = ChunkDecoder::new();
        let mut data = Vec::new();
        let mut at = 0;
        while at < bytes.len() && !decoder.is_done() {
            let (taken, piece) = decoder.decode(&bytes[at..])?;
            data.extend_from_slice(piece);
            at += taken;
        }
        Ok((data, decoder.is_done()))
    }

    #[test]
    fn chunks_extensions_and_trailers_are_understood() {
        let whole = |data: &[u8]| Ok((data.to_vec(), true));
        assert_eq!(decode(b"5\r\nhello\r\n0\r\n\r\n"), whole(b"hello"));
        assert_eq!(decode(b"5;a=b\nhello\n0;c\nX: y\n\n"), whole(b"hello"));
        assert_eq!(decode(b"00A \r\n0123456789\r\n1\r\nx\r\n000\r\nA: b\r\nC: d\r\n\r\n"), whole(b"0123456789x"));
        assert_eq!(decode(b"5\r\nhel"), Ok((b"hel".to_vec(), false)));
    }

    #[test]
    fn what_is_no_chunk_is_an_error() {
        let long = "1".repeat(20);
        let extension = format!("1;{}", "a".repeat(MAX_SIZE_LINE));
        let trailers = format!("0\r\n{}", "a: b\r\n".repeat(MAX_TRAILERS / 5));
        for bytes in ["\r\n", "-1\r\n", "g\r\n", "5\r\nhelloX", &long, &extension, &trailers, "0x5\r\n", "1 \0\0"] {
            let found = decode(bytes.as_bytes());
            // Extensions may hold anything.
            if bytes == "1 \0\0" {
                assert_eq!(found, Ok((vec![], false)));
            } else {
                assert_eq!(found, Err(MessageError::Chunk), "{bytes:.20}");
            }
        }
    }
}
