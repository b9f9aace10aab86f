//! Why bytes are no message.

use std::fmt;

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageError {
    /// The head breaks HTTP's grammar.
    Head,
    /// The head, or its number of fields, is beyond the limits.
    HeadTooLarge,
    /// What the head says about the body's length contradicts itself, or is not understood.
    Framing,
    /// A chunk's size line or its end breaks the grammar, or is beyond the limits.
    Chunk,
}

// By hand: a derive macro would be the only dependency besides the parser.
impl fmt::Display for MessageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Head => "the head is malformed",
            Self::HeadTooLarge => "the head is too large",
            Self::Framing => "the length of the body is not clear",
            Self::Chunk => "a chunk is malformed",
        })
    }
}

impl std::error::Error for MessageError {}
