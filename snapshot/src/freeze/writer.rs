//! Writes the module which goes on where the program was stopped.
//!
//! No index moves: functions and types are added behind the others, function bodies are copied byte for byte. What a
//! run has changed becomes what the module starts with.

mod memories;
mod names;
mod tables;

use std::ops::Range;

use wasm_encoder::{
    ConstExpr, CustomSection, ExportSection, FunctionSection, GlobalSection, Module, RawSection,
    reencode::{Reencode as _, RoundtripReencoder},
};
use wasmparser::{ExternalKind, Payload};

use super::{
    Unfreezable,
    capture::Capture,
    continuation::{Callee, continuation},
    probes::Dropped,
    site,
};
use crate::{
    code::{is_debug_info, new_code},
    program::Program,
    types::Types,
};

/// A program frozen.
pub(crate) struct Written {
    pub(crate) wasm: Vec<u8>,
    /// Size of the added functions in bytes.
    pub(crate) continuation_bytes: usize,
}

/// Sections in the order in which they must come. There is no start function any more: it has run.
const TYPE: u8 = 1;
const IMPORT: u8 = 2;
const FUNCTION: u8 = 3;
const TABLE: u8 = 4;
const MEMORY: u8 = 5;
const TAG: u8 = 13;
const GLOBAL: u8 = 6;
const EXPORT: u8 = 7;
const ELEMENT: u8 = 9;
const DATA_COUNT: u8 = 12;
const CODE: u8 = 10;
const DATA: u8 = 11;
const ORDER: [u8; 12] = [TYPE, IMPORT, FUNCTION, TABLE, MEMORY, TAG, GLOBAL, EXPORT, ELEMENT, DATA_COUNT, CODE, DATA];

/// Exports which would start the program a second time, in the memory of the first.
const OTHER_ENTRIES: [&str; 3] = ["__main_void", "__main_argc_argv", "_initialize"];

/// Whether a frozen program keeps an export of this name.
pub(crate) fn keeps_export(name: &str) -> bool {
    !OTHER_ENTRIES.contains(&name)
}

/// Writes the program so that its export `entry` goes on from `capture`.
pub(crate) fn write(
    program: &Program<'_>,
    capture: &Capture,
    dropped: &Dropped,
    entry: &str,
) -> Result<Written, Unfreezable> {
    let sites = site::find(program, &capture.frames)?;
    let mut types = Types::new(program);
    let mut continuations = Vec::new();
    let first = program.functions();
    // The outermost frame comes first, and calls the next.
    for (index, frame) in (first..).zip(capture.frames.iter().rev()) {
        let is_innermost = continuations.len() + 1 == capture.frames.len();
        let callee = if is_innermost { Callee::Host(&capture.call) } else { Callee::Continuation(index + 1) };
        let site = &sites[&(frame.function, frame.pc)];
        let body = continuation(program, frame, site, callee, &mut types)?;
        let ty = types.giving(&program.signature(frame.function).results);
        continuations.push(Continuation { function: frame.function, ty, body });
    }
    Writer { program, capture, dropped, entry, types, continuations }.write()
}

/// A function to add.
struct Continuation {
    /// The function whose rest it is.
    function: u32,
    ty: u32,
    body: Vec<u8>,
}

struct Writer<'a> {
    program: &'a Program<'a>,
    capture: &'a Capture,
    dropped: &'a Dropped,
    entry: &'a str,
    types: Types,
    continuations: Vec<Continuation>,
}

fn reencode<T, E>(result: Result<T, E>) -> Result<T, Unfreezable> {
    result.map_err(|_| Unfreezable::Reencode)
}

fn parsed<T>(result: wasmparser::Result<T>) -> Result<T, Unfreezable> {
    result.map_err(Unfreezable::Invalid)
}

impl Writer<'_> {
    fn write(self) -> Result<Written, Unfreezable> {
        let mut module = Module::new();
        let bodies = self.continuations.iter().map(|continuation| continuation.body.as_slice());
        let code = new_code(self.program, bodies).ok_or(Unfreezable::Reencode)?;
        self.customs(&mut module, None, code.moves);
        for id in ORDER {
            match id {
                TYPE => {
                    module.section(&self.types.section(self.program)?);
                }
                FUNCTION => {
                    module.section(&self.functions()?);
                }
                TABLE if self.program.code().changes_tables => self.tables(&mut module)?,
                MEMORY => self.memories(&mut module)?,
                GLOBAL => self.globals(&mut module)?,
                EXPORT => self.exports(&mut module)?,
                ELEMENT => self.elements(&mut module)?,
                DATA_COUNT => self.data_count(&mut module),
                CODE => {
                    module.section(&RawSection { id: CODE, data: &code.bytes });
                }
                DATA => self.data(&mut module),
                _ => self.copy(&mut module, id),
            }
            self.customs(&mut module, Some(id), code.moves);
        }
        Ok(Written {
            wasm: module.finish(),
            continuation_bytes: self.continuations.iter().map(|continuation| continuation.body.len()).sum(),
        })
    }

    /// A section as it is.
    fn copy(&self, module: &mut Module, id: u8) {
        if let Some(range) = self.range(id) {
            module.section(&RawSection { id, data: &self.program.wasm[range] });
        }
    }

    fn range(&self, id: u8) -> Option<Range<usize>> {
        self.program
            .payloads
            .iter()
            .filter_map(Payload::as_section)
            .find(|(found, _)| *found == id)
            .map(|(_, range)| range)
    }

    fn functions(&self) -> Result<FunctionSection, Unfreezable> {
        let mut section = FunctionSection::new();
        for payload in &self.program.payloads {
            if let Payload::FunctionSection(functions) = payload {
                for ty in functions.clone() {
                    section.function(parsed(ty)?);
                }
            }
        }
        for continuation in &self.continuations {
            section.function(continuation.ty);
        }
        Ok(section)
    }

    fn globals(&self, module: &mut Module) -> Result<(), Unfreezable> {
        let mut section = GlobalSection::new();
        for (index, global) in (0..).zip(&self.program.globals) {
            let ty = reencode(RoundtripReencoder.global_type(global.ty))?;
            let value = match self.capture.state.globals.get(&index) {
                Some(value) => value.constant(global.ty.content_type)?,
                None => reencode(RoundtripReencoder.const_expr(global.init_expr.clone()))?,
            };
            section.global(ty, &value);
        }
        if !section.is_empty() {
            module.section(&section);
        }
        Ok(())
    }

    /// The entry leads to the outermost continuation. It is told by name: what it was may have been left by a tail call.
    fn exports(&self, module: &mut Module) -> Result<(), Unfreezable> {
        let mut section = ExportSection::new();
        for export in &self.program.exports {
            let is_function = matches!(export.kind, ExternalKind::Func | ExternalKind::FuncExact);
            if is_function && !keeps_export(export.name) {
                continue;
            }
            let is_entry = is_function && export.name == self.entry;
            let index = if is_entry { self.program.functions() } else { export.index };
            section.export(export.name, reencode(RoundtripReencoder.export_kind(export.kind))?, index);
        }
        module.section(&section);
        Ok(())
    }

    /// The custom sections which stood behind section `after`.
    fn customs(&self, module: &mut Module, after: Option<u8>, moves: bool) {
        for (_, section) in self.program.customs.iter().filter(|(behind, _)| *behind == after) {
            let name = section.name();
            // Provenance and host state are written anew.
            if name.starts_with("prewasm.") || (moves && is_debug_info(name)) {
                continue;
            }
            let data = if name == "name" {
                names::with_continuations(section.data(), self.program.functions(), &self.resumed())
            } else {
                section.data().to_vec()
            };
            module.section(&CustomSection { name: name.into(), data: data.into() });
        }
    }

    /// The functions whose rests were added, in order.
    fn resumed(&self) -> Vec<u32> {
        self.continuations.iter().map(|continuation| continuation.function).collect()
    }
}

fn address(offset: u64, is_64: bool) -> ConstExpr {
    if is_64 {
        ConstExpr::i64_const(offset.cast_signed())
    } else {
        // Offsets beyond 2 GiB are negative numbers in the text format.
        ConstExpr::i32_const(u32::try_from(offset).unwrap_or(u32::MAX).cast_signed())
    }
}
