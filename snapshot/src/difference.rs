//! How two files differ: where the first byte is that is not the same, and what it means for sections, memories,
//! globals, functions, imports and exports.
//!
//! It takes time in proportion to the size of the files, and says a limited amount whatever they are.

mod modules;
mod place;
mod provenance;
mod sections;
mod text;

use prewasm_artifact::Artifact;
use serde::Serialize;

pub use modules::{MemoryDifference, ModuleDifference, Pages, Range};
pub use place::{Detail, Place};
pub use provenance::Provenance;

use sections::Sections;

/// Of every kind of difference, this many are told one by one.
const MANY: usize = 20;

/// How two files differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// Version of this structure as JSON.
    pub schema_version: u32,
    /// Whether they are the same, byte for byte. All that follows is empty then.
    pub same: bool,
    /// One file.
    pub a: Side,
    /// The other.
    pub b: Side,
    /// What they say about where they come from.
    pub provenance: Provenance,
    /// The first byte which is not the same.
    pub first: Option<First>,
    /// Sections which one file has and the other has not, or whose content differs.
    pub sections: Few<Change>,
    /// Modules which differ: the file itself, or those in a component.
    pub modules: Few<ModuleDifference>,
}

/// One of the two files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Side {
    /// Where it came from.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// Its hash.
    pub sha256: String,
}

/// The first byte which is not the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct First {
    /// Where it is in both files; the size of the shorter, if that is how the longer begins.
    pub offset: u64,
    /// What is there in one file, unless it ends before or is machine code.
    pub a: Option<Place>,
    /// What is there in the other.
    pub b: Option<Place>,
}

/// Something which is not the same in both files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// What it is called.
    pub what: String,
    /// How it is in one file; null if it is not there.
    pub a: Option<String>,
    /// How it is in the other.
    pub b: Option<String>,
}

/// How many there are, and the first of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Few<T> {
    /// How many there are.
    pub count: u64,
    /// The first of them: not more than 20.
    pub first: Vec<T>,
}

impl Difference {
    const SCHEMA_VERSION: u32 = 1;

    /// Compares two files.
    pub fn between(a: &Artifact, b: &Artifact) -> Self {
        let mut difference = Self {
            schema_version: Self::SCHEMA_VERSION,
            same: a.bytes() == b.bytes(),
            a: Side::of(a),
            b: Side::of(b),
            provenance: Provenance::default(),
            first: None,
            sections: Few::default(),
            modules: Few::default(),
        };
        if difference.same {
            return difference;
        }
        let (in_a, in_b) = (Sections::of(a), Sections::of(b));
        difference.provenance = Provenance::compare(a, b);
        difference.first = first_difference(a.bytes(), b.bytes()).map(|offset| First {
            offset: offset as u64,
            a: in_a.place(offset),
            b: in_b.place(offset),
        });
        difference.sections = sections::compare(&in_a, &in_b);
        difference.modules = modules::compare(&in_a, &in_b);
        difference
    }
}

impl Place {
    /// What is at an offset of a file; `None` behind its end, and in machine code.
    pub fn of(artifact: &Artifact, offset: usize) -> Option<Self> {
        Sections::of(artifact).place(offset)
    }
}

impl Side {
    fn of(artifact: &Artifact) -> Self {
        Self {
            name: artifact.origin().to_owned(),
            bytes: artifact.bytes().len() as u64,
            sha256: artifact.sha256().to_string(),
        }
    }
}

/// Where two files begin to differ; the size of the shorter, if the longer begins with it. `None` if they are the same.
pub fn first_difference(a: &[u8], b: &[u8]) -> Option<usize> {
    /// Compared at a time: whole pieces are compared much faster than bytes.
    const PIECE: usize = 4096;
    let same_pieces = a.chunks(PIECE).zip(b.chunks(PIECE)).take_while(|(a, b)| a == b);
    let start = same_pieces.map(|(piece, _)| piece.len()).sum::<usize>();
    let same = a[start..].iter().zip(&b[start..]).take_while(|(a, b)| a == b).count();
    let offset = start + same;
    (offset < a.len().max(b.len())).then_some(offset)
}

impl<T> Default for Few<T> {
    fn default() -> Self {
        Self { count: 0, first: Vec::new() }
    }
}

impl<T> Few<T> {
    /// Counts one more, and keeps it if there are not many yet.
    fn push(&mut self, item: impl FnOnce() -> T) {
        self.count += 1;
        if self.first.len() < MANY {
            self.first.push(item());
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

#[cfg(test)]
mod tests;
