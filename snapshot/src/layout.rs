//! How the initial content of memories is cut into data segments.
//!
//! ```wat
//! (data (i32.const 1024) "ab")          ;; becomes, with a gap as short as this one,
//! (data (i32.const 1034) "cd")          ;; (data (i32.const 1024) "ab\00\00\00\00\00\00\00\00cd")
//! ```
//!
//! A program which has just been initialized has its content in a million runs of bytes, with zeros between them. Which
//! of the zeros are written down, and which are a border between segments, is the layout. What an instance starts with
//! is the same in all of them.

mod image;
mod module;
mod names;
mod plan;
#[cfg(test)]
mod theorem;

use std::{fmt, str::FromStr};

use wasm_encoder::Encode as _;

use crate::sections::{PREAMBLE, sections};

pub(crate) use image::is_mapped;

/// How the initial content of memories is cut into data segments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// Few and large, with whole pages: for hosts which map the content copy-on-write.
    #[default]
    Cow,
    /// So that the file is small when it is compressed.
    Wire,
    /// As they came.
    Raw,
}

/// Not a layout.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a layout\n  hint: use `cow`, `wire` or `raw`")]
pub struct UnknownLayout(pub String);

/// Why the content of memories could not be laid out.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// It is not well-formed.
    #[error("the program cannot be taken apart")]
    Malformed(#[from] wasmparser::BinaryReaderError),
    /// It is a component within a component within a component, and so on.
    #[error("components are nested more than {limit} deep\n  hint: leave the segments as they are, with layout `raw`")]
    Nesting {
        /// How deep they may be.
        limit: usize,
    },
    /// It became larger than a section can be.
    #[error("a section would become larger than 4 GiB")]
    TooLarge,
}

impl FromStr for Layout {
    type Err = UnknownLayout;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "cow" => Ok(Self::Cow),
            "wire" => Ok(Self::Wire),
            "raw" => Ok(Self::Raw),
            _ => Err(UnknownLayout(text.to_owned())),
        }
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cow => "cow",
            Self::Wire => "wire",
            Self::Raw => "raw",
        })
    }
}

/// Lays out the content of a valid module's memories, or that of all modules in a component.
///
/// A module whose content is not known before it is instantiated stays as it is.
pub(crate) fn apply(wasm: &[u8], layout: Layout) -> Result<Vec<u8>, LayoutError> {
    match layout {
        Layout::Raw => Ok(wasm.to_vec()),
        Layout::Cow | Layout::Wire => nested(wasm, layout, 0),
    }
}

/// Behind the magic number: what tells a component from a module.
const COMPONENT: [u8; 4] = [0x0D, 0, 1, 0];
/// The section of a component with a module in it.
const CORE_MODULE: u8 = 1;
/// The section of a component with a component in it.
const NESTED_COMPONENT: u8 = 4;
/// Composing tools nest a component for each dependency, and dependencies in turn; that is three or four deep.
const MAX_NESTING: usize = 100;

fn nested(wasm: &[u8], layout: Layout, depth: usize) -> Result<Vec<u8>, LayoutError> {
    if wasm.get(4..PREAMBLE) != Some(&COMPONENT) {
        return Ok(module::laid_out(wasm, layout)?.unwrap_or_else(|| wasm.to_vec()));
    }
    if depth == MAX_NESTING {
        return Err(LayoutError::Nesting { limit: MAX_NESTING });
    }
    let mut out = wasm[..PREAMBLE].to_vec();
    for section in sections(wasm)? {
        let content = match section.id {
            CORE_MODULE | NESTED_COMPONENT => nested(section.content, layout, depth + 1)?,
            _ => section.content.to_vec(),
        };
        if content == section.content {
            // Sizes can be written in several ways.
            out.extend_from_slice(section.whole);
        } else {
            append(&mut out, section.id, &content)?;
        }
    }
    Ok(out)
}

/// Appends a section.
fn append(out: &mut Vec<u8>, id: u8, content: &[u8]) -> Result<(), LayoutError> {
    let size = u32::try_from(content.len()).map_err(|_| LayoutError::TooLarge)?;
    out.push(id);
    size.encode(out);
    out.extend_from_slice(content);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_are_told_from_nonsense() {
        for layout in [Layout::Cow, Layout::Wire, Layout::Raw] {
            assert_eq!(layout.to_string().parse(), Ok(layout));
        }
        assert_eq!("size".parse::<Layout>(), Err(UnknownLayout("size".to_owned())));
    }

    #[test]
    fn endless_nesting_is_refused() {
        let mut wasm = wat::parse_str("(component)").expect("valid text");
        for _ in 0..=MAX_NESTING {
            let mut outer = wasm[..PREAMBLE].to_vec();
            append(&mut outer, NESTED_COMPONENT, &wasm).expect("small");
            wasm = outer;
        }
        assert!(matches!(apply(&wasm, Layout::Cow), Err(LayoutError::Nesting { .. })));
        assert_eq!(apply(&wasm, Layout::Raw).expect("untouched"), wasm);
    }
}
