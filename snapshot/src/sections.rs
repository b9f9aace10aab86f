//! The sections of a module or component, as they stand in the file.

use wasmparser::BinaryReader;

/// The number of custom sections.
pub(crate) const CUSTOM: u8 = 0;
/// Bytes before the first section: magic number and version.
pub(crate) const PREAMBLE: usize = 8;

/// One section of the outermost level.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Section<'a> {
    pub(crate) id: u8,
    /// With its number and size.
    pub(crate) whole: &'a [u8],
    pub(crate) content: &'a [u8],
}

/// Takes a module or component apart. What is in the sections is not looked at.
pub(crate) fn sections(wasm: &[u8]) -> wasmparser::Result<Vec<Section<'_>>> {
    let mut reader = BinaryReader::new(wasm, 0);
    reader.read_bytes(PREAMBLE)?;
    let mut sections = Vec::new();
    while !reader.eof() {
        let start = reader.original_position();
        let id = reader.read_u8()?;
        let size = reader.read_var_u32()?;
        let content = reader.read_bytes(size as usize)?;
        sections.push(Section { id, whole: &wasm[start..reader.original_position()], content });
    }
    Ok(sections)
}

impl<'a> Section<'a> {
    /// The name of a custom section, and what is behind it.
    pub(crate) fn custom(&self) -> Option<(&'a str, &'a [u8])> {
        if self.id != CUSTOM {
            return None;
        }
        let mut reader = BinaryReader::new(self.content, 0);
        let name = reader.read_string().ok()?;
        Some((name, &self.content[reader.original_position()..]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_found_as_they_stand() {
        // A custom section `x`, its size in more bytes than needed.
        let wasm = b"\0asm\x01\0\0\0\x00\x84\x00\x01xyz\x0a\x01\0";
        let found = sections(wasm).expect("well-formed");
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].custom(), Some(("x", &b"yz"[..])));
        assert_eq!(found[0].whole, b"\x00\x84\x00\x01xyz");
        assert_eq!((found[1].id, found[1].content), (10, &b"\0"[..]));
        assert!(sections(b"\0asm\x01\0\0\0\x00\x05").is_err());
    }
}
