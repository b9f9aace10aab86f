//! The names of data segments, in the `name` section.

use std::collections::BTreeMap;

use wasm_encoder::{Encode as _, NameMap};
use wasmparser::{BinaryReader, Name, NameSectionReader};

/// Number of the subsection with the names of data segments.
const DATA: u8 = 9;

/// Names of data segments by index.
pub(super) type Names<'a> = BTreeMap<u32, &'a str>;

/// The names of data segments, if the section has any.
pub(super) fn of_data(section: &[u8]) -> Option<Names<'_>> {
    for subsection in NameSectionReader::new(BinaryReader::new(section, 0)) {
        if let Name::Data(names) = subsection.ok()? {
            return names.into_iter().map(|naming| naming.ok().map(|naming| (naming.index, naming.name))).collect();
        }
    }
    None
}

/// The section with these names of data segments, and all others as they were.
///
/// Names are a courtesy: a section which cannot be read is left to those who can.
pub(super) fn with_data(section: &[u8], names: &Names<'_>) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut rest = BinaryReader::new(section, 0);
    while !rest.eof() {
        let start = rest.original_position();
        let id = rest.read_u8().ok()?;
        let size = rest.read_var_u32().ok()?;
        rest.read_bytes(size as usize).ok()?;
        if id != DATA {
            out.extend_from_slice(&section[start..rest.original_position()]);
        } else if !names.is_empty() {
            out.push(DATA);
            map(names).encode(&mut out);
        }
    }
    Some(out)
}

/// The subsection, its size not included.
fn map(names: &Names<'_>) -> Vec<u8> {
    let mut map = NameMap::new();
    for (index, name) in names {
        map.append(*index, name);
    }
    let mut bytes = Vec::new();
    map.encode(&mut bytes);
    bytes
}
