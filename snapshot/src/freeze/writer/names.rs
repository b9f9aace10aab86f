//! The `name` section: continuations are called `main (resumed)`.

use std::collections::HashMap;

use wasm_encoder::{Encode as _, NameMap};
use wasmparser::{BinaryReader, Name, NameSectionReader};

/// Number of the subsection with the names of functions.
const FUNCTIONS: u8 = 1;

/// The section with names for the rests of these functions, which have indices from `first` on.
///
/// Names are a courtesy: a section which cannot be read stays as it is.
pub(super) fn with_continuations(section: &[u8], first: u32, resumed: &[u32]) -> Vec<u8> {
    extended(section, first, resumed).unwrap_or_else(|| section.to_vec())
}

fn extended(section: &[u8], first: u32, resumed: &[u32]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut rest = BinaryReader::new(section, 0);
    while !rest.eof() {
        let id = rest.read_u8().ok()?;
        let size = rest.read_var_u32().ok()?;
        let content = rest.read_bytes(size as usize).ok()?;
        out.push(id);
        if id == FUNCTIONS {
            functions(section, first, resumed)?.encode(&mut out);
        } else {
            content.encode(&mut out);
        }
    }
    Some(out)
}

/// The subsection of functions, its size not included.
fn functions(section: &[u8], first: u32, resumed: &[u32]) -> Option<Vec<u8>> {
    let mut map = NameMap::new();
    let mut known = HashMap::new();
    for subsection in NameSectionReader::new(BinaryReader::new(section, 0)) {
        if let Name::Function(names) = subsection.ok()? {
            for naming in names {
                let naming = naming.ok()?;
                map.append(naming.index, naming.name);
                known.insert(naming.index, naming.name);
            }
        }
    }
    for (index, function) in (first..).zip(resumed) {
        let name = known.get(function).map_or_else(|| format!("function {function}"), |name| (*name).to_owned());
        // One frozen twice says so once.
        let name = name.strip_suffix(" (resumed)").unwrap_or(&name);
        map.append(index, &format!("{name} (resumed)"));
    }
    let mut bytes = Vec::new();
    map.encode(&mut bytes);
    Some(bytes)
}
