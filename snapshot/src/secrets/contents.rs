//! What a snapshot carries, as bytes which can be searched: data segments and custom sections.
//!
//! Segments are taken as they stand, rather than as the memories which they fill: a component has modules which are never
//! instantiated, and one of those may declare a memory of any size.

use std::borrow::Cow;

use wasmparser::{DataKind, Parser, Payload};

use crate::{
    names::readable,
    program::Program,
    regions::{Regions, plus, unnamed},
};

/// Bytes in one place.
#[derive(Debug)]
pub(super) struct Piece<'a> {
    pub(super) place: Place<'a>,
    pub(super) bytes: Cow<'a, [u8]>,
}

/// Where bytes start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place<'a> {
    /// At an address of a memory.
    Memory { module: usize, memory: u32, start: u64 },
    /// In a data segment for no memory, or for an address which depends on imports.
    Segment { module: usize, index: u32, start: u64 },
    /// In a custom section, `start` bytes into the file.
    Section { name: &'a str, start: u64 },
}

/// Everything which is searched.
pub(super) fn pieces<'a>(wasm: &'a [u8], modules: &[Program<'a>]) -> wasmparser::Result<Vec<Piece<'a>>> {
    let mut pieces = Vec::new();
    for (index, module) in modules.iter().enumerate() {
        data(index, module, &mut pieces);
    }
    for payload in Parser::new(0).parse_all(wasm) {
        if let Payload::CustomSection(section) = payload? {
            let place = Place::Section { name: section.name(), start: section.data_offset() as u64 };
            pieces.push(Piece { place, bytes: Cow::Borrowed(section.data()) });
        }
    }
    Ok(pieces)
}

/// The data segments of a module, by address. Those which follow on each other are one piece.
fn data<'a>(module: usize, program: &Program<'a>, pieces: &mut Vec<Piece<'a>>) {
    let mut placed = Vec::new();
    for (index, data) in (0..).zip(&program.data) {
        let at = match &data.kind {
            DataKind::Active { memory_index, offset_expr } => {
                program.constants.address(offset_expr).map(|start| (*memory_index, start))
            }
            DataKind::Passive => None,
        };
        match at {
            Some((memory, start)) => placed.push((memory, start, data.data)),
            None => {
                let place = Place::Segment { module, index, start: 0 };
                pieces.push(Piece { place, bytes: Cow::Borrowed(data.data) });
            }
        }
    }
    placed.sort_by_key(|(memory, start, _)| (*memory, *start));
    let first = pieces.len();
    for (memory, start, bytes) in placed {
        match pieces[first..].last_mut() {
            Some(last) if last.ends_at(memory, start) => last.bytes.to_mut().extend_from_slice(bytes),
            _ => {
                let place = Place::Memory { module, memory, start };
                pieces.push(Piece { place, bytes: Cow::Borrowed(bytes) });
            }
        }
    }
}

impl Piece<'_> {
    fn ends_at(&self, memory: u32, address: u64) -> bool {
        match self.place {
            Place::Memory { memory: own, start, .. } => {
                own == memory && start.checked_add(self.bytes.len() as u64) == Some(address)
            }
            _ => false,
        }
    }
}

impl Place<'_> {
    /// The place `distance` bytes behind.
    pub(super) fn behind(self, distance: u64) -> Self {
        let mut place = self;
        match &mut place {
            Self::Memory { start, .. } | Self::Segment { start, .. } | Self::Section { start, .. } => {
                *start = start.saturating_add(distance);
            }
        }
        place
    }

    pub(super) fn offset(self) -> u64 {
        match self {
            Self::Memory { start, .. } | Self::Segment { start, .. } | Self::Section { start, .. } => start,
        }
    }

    /// The memory it is in.
    pub(super) fn memory(self) -> Option<u32> {
        match self {
            Self::Memory { memory, .. } => Some(memory),
            Self::Segment { .. } | Self::Section { .. } => None,
        }
    }

    /// The index of the core module it is in.
    pub(super) fn module(self) -> Option<usize> {
        match self {
            Self::Memory { module, .. } | Self::Segment { module, .. } => Some(module),
            Self::Section { .. } => None,
        }
    }

    /// What it belongs to. `regions` are those of its module.
    pub(super) fn region(self, regions: Option<&Regions<'_>>) -> String {
        match self {
            Self::Memory { memory, start, .. } => match regions {
                Some(regions) => regions.name(memory, start),
                None => plus(&format!("memory {memory}"), start),
            },
            Self::Segment { index, start, .. } => plus(&unnamed(index), start),
            Self::Section { name, .. } => format!("section {}", readable(name)),
        }
    }
}
