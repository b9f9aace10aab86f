//! What is at an offset of a file.

use serde::Serialize;
use wasmparser::DataKind;

use super::{
    modules::function_names,
    sections::{Container, Sections},
};
use crate::program::Program;

/// What is at an offset of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Place {
    /// The module or component which the section is in; null for the file itself.
    pub within: Option<String>,
    /// The section's name.
    pub section: String,
    /// How many sections come before it, in the whole file.
    pub index: u64,
    /// How far into the section's content; null in its header.
    pub offset: Option<u64>,
    /// What of the section.
    pub detail: Option<Detail>,
}

/// A part of a section.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Detail {
    /// Of the code section.
    Function {
        /// The function's index, imports included.
        index: u32,
        /// Its name, if the file says it.
        name: Option<String>,
        /// How far into its body.
        offset: u64,
    },
    /// Of the data section.
    Data {
        /// The segment.
        segment: u64,
        /// The memory which it fills; null for one that is copied by code.
        memory: Option<u32>,
        /// The address of the byte; null in front of the content, or if it depends on an import.
        address: Option<u64>,
    },
}

impl Sections<'_> {
    /// What is at an offset; `None` behind the end, and in machine code.
    pub(super) fn place(&self, offset: usize) -> Option<Place> {
        let index = self.at(offset).filter(|_| offset < self.wasm.len())?;
        let section = &self.sections[index];
        let inside = offset.checked_sub(section.range.start);
        Some(Place {
            within: section.within.map(Container::name),
            section: section.name.clone(),
            index: index as u64,
            offset: inside.map(|inside| inside as u64),
            detail: inside.and_then(|_| self.detail(section.within, &section.name, offset)),
        })
    }

    fn detail(&self, within: Option<Container>, section: &str, offset: usize) -> Option<Detail> {
        if !["code", "data"].contains(&section) {
            return None;
        }
        let module = self.modules.iter().find(|module| module.within == within)?;
        let program = Program::parse(&self.wasm[module.range.clone()]).ok()?;
        let offset = offset.checked_sub(module.range.start)?;
        if section == "code" { function(&program, offset) } else { data(&program, offset) }
    }
}

/// Bodies are in ascending order.
fn function(program: &Program<'_>, offset: usize) -> Option<Detail> {
    let body = program.bodies.partition_point(|body| body.range().start <= offset).checked_sub(1)?;
    let range = program.bodies[body].range();
    let index = u32::try_from(body).ok()?.checked_add(program.shape().imported_functions)?;
    let name = function_names(program, &[index]).remove(&index);
    range.contains(&offset).then(|| Detail::Function { index, name, offset: (offset - range.start) as u64 })
}

fn data(program: &Program<'_>, offset: usize) -> Option<Detail> {
    let segment = program.data.partition_point(|data| data.range.start <= offset).checked_sub(1)?;
    let data = &program.data[segment];
    if !data.range.contains(&offset) {
        return None;
    }
    let content = data.range.end.checked_sub(data.data.len())?;
    let (memory, start) = match &data.kind {
        DataKind::Passive => (None, None),
        DataKind::Active { memory_index, offset_expr } => (Some(*memory_index), program.constants.address(offset_expr)),
    };
    let inside = offset.checked_sub(content).map(|inside| inside as u64);
    let address = start.zip(inside).and_then(|(start, inside)| start.checked_add(inside));
    Some(Detail::Data { segment: segment as u64, memory, address })
}
