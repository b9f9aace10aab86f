//! Bodies: where they end, and what is content in them.

use crate::{MessageError, chunked::ChunkDecoder};

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    None,
    /// After this many bytes.
    Length(u64),
    /// After the last chunk.
    Chunked,
    /// With the connection.
    UntilClose,
}

/// Takes a body's content out of a connection's bytes.
#[derive(Clone, Debug)]
pub struct BodyDecoder {
    framing: Framing,
    state: State,
}

#[derive(Clone, Debug)]
enum State {
    Left(u64),
    Chunks(ChunkDecoder),
    UntilClose,
    Done,
}

/// One piece of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decoded<'a> {
    /// How many bytes of the connection were taken.
    pub taken: usize,
    /// The content among them.
    pub content: &'a [u8],
}

impl BodyDecoder {
    /// For a body which ends like this.
    pub fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::None | Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Left(length),
            Framing::Chunked => State::Chunks(ChunkDecoder::new()),
            Framing::UntilClose => State::UntilClose,
        };
        Self { framing, state }
    }

    /// How the body ends.
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// Takes bytes up to the end of the first piece of content in them. Nothing is taken when the body is complete, or
    /// when there are no bytes; no content may mean that there is none in these bytes.
    pub fn decode<'a>(&mut self, bytes: &'a [u8]) -> Result<Decoded<'a>, MessageError> {
        let (taken, content) = match &mut self.state {
            State::Done => (0, [].as_slice()),
            State::UntilClose => (bytes.len(), bytes),
            State::Left(left) => {
                let length = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= length as u64;
                if *left == 0 {
                    self.state = State::Done;
                }
                (length, &bytes[..length])
            }
            State::Chunks(chunks) => {
                let decoded = chunks.decode(bytes)?;
                if chunks.is_done() {
                    self.state = State::Done;
                }
                decoded
            }
        };
        Ok(Decoded { taken, content })
    }

    /// Whether nothing of the body is left to come.
    pub fn is_complete(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Whether the body is whole if the connection ends here.
    pub fn may_end(&self) -> bool {
        matches!(self.state, State::Done | State::UntilClose)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{LAST_CHUNK, encode_chunk};

    /// Decodes in pieces of these sizes; what is left over belongs to the next message.
    fn decode(framing: Framing, bytes: &[u8], pieces: &[usize]) -> Result<(Vec<u8>, usize, bool), MessageError> {
        let mut decoder = BodyDecoder::new(framing);
        let mut content = Vec::new();
        let (mut at, mut end) = (0, 0);
        let mut sizes = pieces.iter().cycle();
        while end < bytes.len() {
            end = bytes.len().min(end + sizes.next().copied().unwrap_or(1).max(1));
            loop {
                let decoded = decoder.decode(&bytes[at..end])?;
                content.extend_from_slice(decoded.content);
                at += decoded.taken;
                if decoded.taken == 0 {
                    break;
                }
            }
        }
        Ok((content, at, decoder.is_complete()))
    }

    #[test]
    fn a_body_ends_where_its_framing_says() {
        assert_eq!(decode(Framing::None, b"next", &[1]), Ok((vec![], 0, true)));
        assert_eq!(decode(Framing::Length(2), b"hinext", &[1]), Ok((b"hi".to_vec(), 2, true)));
        assert_eq!(decode(Framing::UntilClose, b"all", &[2]), Ok((b"all".to_vec(), 3, false)));
        assert_eq!(decode(Framing::Chunked, b"2\r\nhi\r\n0\r\n\r\nnext", &[3]), Ok((b"hi".to_vec(), 12, true)));
    }

    proptest! {
        #[test]
        fn chunks_decode_to_what_was_encoded(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..100), 0..10),
            pieces in prop::collection::vec(1usize..40, 1..10),
        ) {
            let mut bytes = Vec::new();
            for chunk in &chunks {
                encode_chunk(chunk, &mut bytes);
            }
            bytes.extend_from_slice(LAST_CHUNK);
            let length = bytes.len();
            bytes.extend_from_slice(b"GET");
            prop_assert_eq!(decode(Framing::Chunked, &bytes, &pieces), Ok((chunks.concat(), length, true)));
        }

        #[test]
        fn any_bytes_in_any_pieces_do_not_panic(
            bytes in prop::collection::vec(prop::sample::select(b"0123afAF;\r\n \x00x:".to_vec()), 0..200),
            pieces in prop::collection::vec(1usize..40, 1..10),
        ) {
            let whole = decode(Framing::Chunked, &bytes, &[bytes.len().max(1)]);
            prop_assert_eq!(decode(Framing::Chunked, &bytes, &pieces), whole);
        }
    }
}
