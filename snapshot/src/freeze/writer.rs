//! Writes the module which goes on where the program was stopped.
//!
//! No index moves: functions and types are added behind the others, function bodies are copied byte for byte. What a
//! run has changed becomes what the module starts with.

mod names;

use std::{collections::BTreeSet, ops::Range};

use wasm_encoder::{
    ConstExpr, CustomSection, DataCountSection, DataSection, ElementSection, Elements, Encode as _, ExportSection,
    FunctionSection, GlobalSection, MemorySection, Module, RawSection, TableSection,
    reencode::{Reencode, RoundtripReencoder},
};
use wasmparser::{
    BinaryReader, Data, DataKind, Element, ElementItems, ElementKind, ExternalKind, Operator, Payload, TableInit,
    ValType,
};

use super::{
    Unfreezable,
    capture::Capture,
    continuation::{Callee, continuation},
    probes::Dropped,
    program::Program,
    site,
    types::Types,
    value::Value,
};

/// A program frozen.
pub(crate) struct Written {
    pub(crate) wasm: Vec<u8>,
    /// Size of the added functions in bytes.
    pub(crate) continuation_bytes: usize,
    /// Debug information was left out, since the code has moved by a byte.
    pub(crate) lost_debug_info: bool,
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
        let code = self.code()?;
        self.customs(&mut module, None, code.moves)?;
        for id in ORDER {
            match id {
                TYPE => {
                    module.section(&self.types.section(self.program)?);
                }
                FUNCTION => {
                    module.section(&self.functions()?);
                }
                TABLE if self.program.code.changes_tables => self.tables(&mut module)?,
                MEMORY => self.memories(&mut module)?,
                GLOBAL => self.globals(&mut module)?,
                EXPORT => self.exports(&mut module)?,
                ELEMENT => self.elements(&mut module)?,
                DATA_COUNT => self.data_count(&mut module),
                CODE => {
                    module.section(&RawSection { id: CODE, data: &code.bytes });
                }
                DATA => self.data(&mut module)?,
                _ => self.copy(&mut module, id),
            }
            self.customs(&mut module, Some(id), code.moves)?;
        }
        Ok(Written {
            wasm: module.finish(),
            continuation_bytes: self.continuations.iter().map(|continuation| continuation.body.len()).sum(),
            lost_debug_info: code.moves && self.has_debug_info(),
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

    /// Tables as large as they have become, and empty: their content follows as elements.
    fn tables(&self, module: &mut Module) -> Result<(), Unfreezable> {
        let Some(tables) = self.table_types()? else { return Ok(()) };
        let mut section = TableSection::new();
        for (ty, entries) in tables.into_iter().zip(&self.capture.state.tables) {
            let mut encoded = reencode(RoundtripReencoder.table_type(ty))?;
            encoded.minimum = entries.as_ref().map_or(encoded.minimum, |entries| entries.len() as u64);
            section.table(encoded);
        }
        module.section(&section);
        Ok(())
    }

    fn table_types(&self) -> Result<Option<Vec<wasmparser::TableType>>, Unfreezable> {
        for payload in &self.program.payloads {
            if let Payload::TableSection(tables) = payload {
                let mut types = Vec::new();
                for (index, table) in tables.clone().into_iter().enumerate() {
                    let table = parsed(table)?;
                    if !matches!(table.init, TableInit::RefNull) {
                        return Err(Unfreezable::TableInitializer { table: index });
                    }
                    types.push(table.ty);
                }
                return Ok(Some(types));
            }
        }
        Ok(None)
    }

    fn memory_types(&self) -> Result<Vec<wasmparser::MemoryType>, Unfreezable> {
        for payload in &self.program.payloads {
            if let Payload::MemorySection(memories) = payload {
                return parsed(memories.clone().into_iter().collect());
            }
        }
        Ok(Vec::new())
    }

    fn memories(&self, module: &mut Module) -> Result<(), Unfreezable> {
        let mut section = MemorySection::new();
        for (ty, image) in self.memory_types()?.into_iter().zip(&self.capture.state.memories) {
            let mut encoded = reencode(RoundtripReencoder.memory_type(ty))?;
            encoded.minimum = image.pages;
            section.memory(encoded);
        }
        if !section.is_empty() {
            module.section(&section);
        }
        Ok(())
    }

    fn globals(&self, module: &mut Module) -> Result<(), Unfreezable> {
        let mut section = GlobalSection::new();
        for payload in &self.program.payloads {
            let Payload::GlobalSection(globals) = payload else { continue };
            for (index, global) in (0..).zip(globals.clone()) {
                let global = parsed(global)?;
                let ty = reencode(RoundtripReencoder.global_type(global.ty))?;
                let value = match self.capture.state.globals.get(&index) {
                    Some(value) => value.constant(global.ty.content_type)?,
                    None => reencode(RoundtripReencoder.const_expr(global.init_expr))?,
                };
                section.global(ty, &value);
            }
        }
        if !section.is_empty() {
            module.section(&section);
        }
        Ok(())
    }

    /// The entry leads to the outermost continuation. It is told by name: what it was may have been left by a tail call.
    fn exports(&self, module: &mut Module) -> Result<(), Unfreezable> {
        let mut section = ExportSection::new();
        for payload in &self.program.payloads {
            let Payload::ExportSection(exports) = payload else { continue };
            for export in exports.clone() {
                let export = parsed(export)?;
                let is_function = matches!(export.kind, ExternalKind::Func | ExternalKind::FuncExact);
                if is_function && !keeps_export(export.name) {
                    continue;
                }
                let is_entry = is_function && export.name == self.entry;
                let index = if is_entry { self.program.functions() } else { export.index };
                section.export(export.name, reencode(RoundtripReencoder.export_kind(export.kind))?, index);
            }
        }
        module.section(&section);
        Ok(())
    }

    fn elements(&self, module: &mut Module) -> Result<(), Unfreezable> {
        let mut section = ElementSection::new();
        for payload in &self.program.payloads {
            let Payload::ElementSection(elements) = payload else { continue };
            for (index, element) in (0..).zip(elements.clone()) {
                let element = self.element(index, parsed(element)?);
                if matches!(element.kind, ElementKind::Passive) && makes_objects(&element)? {
                    return Err(Unfreezable::Reference { place: format!("element segment {index}") });
                }
                reencode(RoundtripReencoder.parse_element(&mut section, element))?;
            }
        }
        if self.program.code.changes_tables {
            self.table_contents(&mut section)?;
        }
        let references = self.references();
        if !references.is_empty() {
            let functions: Vec<u32> = references.into_iter().collect();
            section.declared(Elements::Functions(functions.into()));
        }
        if !section.is_empty() {
            module.section(&section);
        }
        Ok(())
    }

    /// An element segment which has done its work stays in its place, as a declaration: empty at run time.
    fn element<'e>(&self, index: u32, mut element: Element<'e>) -> Element<'e> {
        let is_spent = match element.kind {
            ElementKind::Active { .. } => self.program.code.changes_tables,
            ElementKind::Passive => self.dropped.elements.contains(&index),
            ElementKind::Declared => false,
        };
        if is_spent {
            element.kind = ElementKind::Declared;
        }
        element
    }

    fn table_contents(&self, section: &mut ElementSection) -> Result<(), Unfreezable> {
        let Some(types) = self.table_types()? else { return Ok(()) };
        for ((index, ty), entries) in (0..).zip(types).zip(&self.capture.state.tables) {
            let entries = entries.as_deref().unwrap_or_default();
            let element = reencode(RoundtripReencoder.ref_type(ty.element_type))?;
            let mut start = 0;
            for run in entries.chunk_by(|a, b| (*a == Value::Null) == (*b == Value::Null)) {
                let offset = start;
                start += run.len();
                if run[0] == Value::Null {
                    continue;
                }
                let values: Result<Vec<_>, _> =
                    run.iter().map(|value| value.constant(ValType::Ref(ty.element_type))).collect();
                let offset = address(offset as u64, ty.table64);
                section.active(Some(index), &offset, Elements::Expressions(element, values?.into()));
            }
        }
        Ok(())
    }

    /// Functions which code or constants refer to. What declared them may have changed, so they are declared anew.
    fn references(&self) -> BTreeSet<u32> {
        let Capture { frames, call, state, .. } = self.capture;
        let in_frames = frames.iter().flat_map(|frame| frame.locals.iter().chain(&frame.operands));
        let values = in_frames.chain(&call.arguments).chain(state.globals.values());
        let functions = values.filter_map(|value| match value {
            Value::Function(index) => Some(*index),
            _ => None,
        });
        functions.chain(self.program.code.references.iter().copied()).collect()
    }

    fn data_count(&self, module: &mut Module) {
        if self.range(DATA_COUNT).is_some() {
            let runs: usize = self.capture.state.memories.iter().map(|memory| memory.runs.len()).sum();
            let count = self.kept_data().len() + runs;
            module.section(&DataCountSection { count: u32::try_from(count).unwrap_or(u32::MAX) });
        }
    }

    /// The program's data segments, if code names any of them: each must stay in its place.
    fn kept_data(&self) -> Vec<Data<'_>> {
        if !self.program.code.uses_segments {
            return Vec::new();
        }
        let section = self.program.payloads.iter().find_map(|payload| match payload {
            Payload::DataSection(section) => Some(section.clone()),
            _ => None,
        });
        section.into_iter().flatten().filter_map(Result::ok).collect()
    }

    fn data(&self, module: &mut Module) -> Result<(), Unfreezable> {
        let mut section = DataSection::new();
        for (index, data) in (0..).zip(self.kept_data()) {
            let is_left = matches!(data.kind, DataKind::Passive) && !self.dropped.data.contains(&index);
            section.passive(if is_left { data.data.iter().copied() } else { [].iter().copied() });
        }
        let memories = self.capture.state.memories.iter().zip(self.memory_types()?);
        for (index, (memory, ty)) in (0..).zip(memories) {
            for run in &memory.runs {
                section.active(index, &address(run.offset, ty.memory64), run.bytes.iter().copied());
            }
        }
        if !section.is_empty() || self.range(DATA).is_some() {
            module.section(&section);
        }
        Ok(())
    }

    /// The bodies as they were, and the new ones behind them.
    fn code(&self) -> Result<NewCode, Unfreezable> {
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

    /// The custom sections which stood behind section `after`.
    fn customs(&self, module: &mut Module, after: Option<u8>, moves: bool) -> Result<(), Unfreezable> {
        let mut behind = None;
        for payload in &self.program.payloads {
            match (payload, payload.as_section()) {
                (Payload::CustomSection(section), _) if behind == after => {
                    let name = section.name();
                    // Provenance and host state are written anew.
                    if name.starts_with("prewasm.") || (moves && name.starts_with(".debug_")) {
                        continue;
                    }
                    let data = if name == "name" {
                        names::with_continuations(section.data(), self.program.functions(), &self.resumed())
                    } else {
                        section.data().to_vec()
                    };
                    module.section(&CustomSection { name: name.into(), data: data.into() });
                }
                (Payload::CustomSection(_), _) => {}
                // What stood behind the start section stands behind the exports now.
                (_, Some((id, _))) if ORDER.contains(&id) => behind = Some(id),
                (Payload::CodeSectionStart { .. }, _) => behind = Some(CODE),
                _ => {}
            }
        }
        Ok(())
    }

    /// The functions whose rests were added, in order.
    fn resumed(&self) -> Vec<u32> {
        self.continuations.iter().map(|continuation| continuation.function).collect()
    }

    fn has_debug_info(&self) -> bool {
        self.program
            .payloads
            .iter()
            .any(|payload| matches!(payload, Payload::CustomSection(section) if section.name().starts_with(".debug_")))
    }
}

/// Whether it holds objects of the garbage collector: they would be made anew, without what was written into them.
fn makes_objects(element: &Element<'_>) -> Result<bool, Unfreezable> {
    let ElementItems::Expressions(_, items) = &element.items else { return Ok(false) };
    for item in items.clone() {
        for operator in parsed(item)?.get_operators_reader() {
            let is_plain = matches!(
                parsed(operator)?,
                Operator::RefNull { .. }
                    | Operator::RefFunc { .. }
                    | Operator::RefI31
                    | Operator::I32Const { .. }
                    | Operator::GlobalGet { .. }
                    | Operator::End
            );
            if !is_plain {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// A code section's content.
struct NewCode {
    bytes: Vec<u8>,
    /// The bodies stand elsewhere, counted from the section's start, which is how debug information counts.
    moves: bool,
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

fn address(offset: u64, is_64: bool) -> ConstExpr {
    if is_64 {
        ConstExpr::i64_const(offset.cast_signed())
    } else {
        // Offsets beyond 2 GiB are negative numbers in the text format.
        ConstExpr::i32_const(u32::try_from(offset).unwrap_or(u32::MAX).cast_signed())
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
