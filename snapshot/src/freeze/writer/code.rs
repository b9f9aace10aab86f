//! The code section: all bodies as they were, and the new ones behind them.

use wasm_encoder::Encode as _;
use wasmparser::{BinaryReader, Payload};

use super::{Unfreezable, Writer, parsed};

/// A code section's content.
pub(super) struct NewCode {
    pub(super) bytes: Vec<u8>,
    /// The bodies stand elsewhere, counted from the section's start, which is how debug information counts.
    pub(super) moves: bool,
}

impl Writer<'_> {
    /// The bodies as they were, and the new ones behind them.
    pub(super) fn code(&self) -> Result<NewCode, Unfreezable> {
        let section = self.program.payloads.iter().find_map(|payload| match payload {
            Payload::CodeSectionStart { range, .. } => Some(range.clone()),
            _ => None,
        });
        let old = &self.program.wasm[section.ok_or(Unfreezable::NoFrame)?];
        let bodies = entries(old)?;
        let width = old.len() - bodies.len();
        let count = self.program.bodies.len() + self.continuations.len();
        let mut bytes = padded(u32::try_from(count).map_err(|_| Unfreezable::Reencode)?, width);
        let moves = bytes.len() != width;
        bytes.extend_from_slice(bodies);
        for continuation in &self.continuations {
            // Its size comes first.
            continuation.body.encode(&mut bytes);
        }
        Ok(NewCode { bytes, moves })
    }
}

/// The entries of a code section, without their number.
fn entries(section: &[u8]) -> Result<&[u8], Unfreezable> {
    let mut reader = BinaryReader::new(section, 0);
    parsed(reader.read_var_u32())?;
    Ok(&section[reader.original_position()..])
}

/// A number in LEB128, in as many bytes as were taken before, if they suffice.
fn padded(mut number: u32, width: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (number & 0x7F) as u8;
        number >>= 7;
        if number == 0 && bytes.len() + 1 >= width {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_take_the_room_they_had() {
        assert_eq!(padded(3, 1), [3]);
        assert_eq!(padded(3, 2), [0x83, 0]);
        assert_eq!(padded(3, 5), [0x83, 0x80, 0x80, 0x80, 0]);
        assert_eq!(padded(300, 1), [0xAC, 2]);
        for number in [0, 1, 127, 128, u32::MAX] {
            for width in 1..=5 {
                let bytes = padded(number, width);
                assert_eq!(BinaryReader::new(&bytes, 0).read_var_u32().expect("valid"), number);
            }
        }
    }
}
