//! Code sections of snapshots: all bodies as they were, and new ones behind them.

use wasm_encoder::Encode as _;
use wasmparser::{BinaryReader, Payload};

use crate::program::Program;

/// A code section's content.
pub(crate) struct NewCode {
    pub(crate) bytes: Vec<u8>,
    /// The bodies stand elsewhere, counted from the section's start, which is how debug information counts.
    pub(crate) moves: bool,
}

/// The bodies as they were, and `added` ones behind them; `None` if there is no code, or more than a module can have.
pub(crate) fn new_code<'b>(program: &Program<'_>, added: impl IntoIterator<Item = &'b [u8]>) -> Option<NewCode> {
    let section = program.payloads.iter().find_map(|payload| match payload {
        Payload::CodeSectionStart { range, .. } => Some(range.clone()),
        _ => None,
    });
    let old = &program.wasm[section?];
    let bodies = entries(old)?;
    let width = old.len() - bodies.len();
    let mut new = Vec::new();
    let mut count = program.bodies.len();
    for body in added {
        // Its size comes first.
        body.encode(&mut new);
        count += 1;
    }
    let mut bytes = padded(u32::try_from(count).ok()?, width);
    let moves = bytes.len() != width;
    bytes.extend_from_slice(bodies);
    bytes.extend_from_slice(&new);
    Some(NewCode { bytes, moves })
}

/// Whether a custom section tells places in the code section.
pub(crate) fn is_debug_info(name: &str) -> bool {
    name.starts_with(".debug_")
}

/// The entries of a code section, without their number.
fn entries(section: &[u8]) -> Option<&[u8]> {
    let mut reader = BinaryReader::new(section, 0);
    reader.read_var_u32().ok()?;
    Some(&section[reader.original_position()..])
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
