//! Tells which segments the program has dropped.
//!
//! No interface of the engine does. Functions are added behind the program's own which try to copy nothing from the
//! end of a segment: that traps if the segment was dropped, and changes nothing in either case.
//!
//! ```wat
//! (func (memory.init $segment (i32.const 0) (i32.const LENGTH) (i32.const 0)))
//! ```

use std::{collections::BTreeSet, ops::Range};

use wasm_encoder::{
    CodeSection, Function, FunctionSection, Instruction, Module, RawSection, TypeSection,
    reencode::{Reencode as _, RoundtripReencoder},
};
use wasmparser::{DataKind, ElementItems, ElementKind, Payload};
use wasmtime::{Instance, Store};

use super::{Unfreezable, capture::Capture};
use crate::program::{Program, Target};

/// Segments which are empty now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dropped {
    pub(crate) data: BTreeSet<u32>,
    pub(crate) elements: BTreeSet<u32>,
}

/// The program with probes; without segments to ask for, the program itself.
pub(crate) struct Probed {
    /// What to run instead of the program.
    pub(crate) wasm: Vec<u8>,
    data: Vec<u32>,
    elements: Vec<u32>,
    /// Index of the first probe.
    first: u32,
    /// Where bodies stand, if there are probes.
    places: Option<Places>,
}

/// Where function bodies stand in the module.
struct Places {
    probed: Vec<Range<usize>>,
    original: Vec<Range<usize>>,
}

impl Probed {
    pub(crate) fn new(program: &Program<'_>) -> Result<Self, Unfreezable> {
        if program.bodies.is_empty() {
            return Err(Unfreezable::NoFrame);
        }
        let probes = Probes::of(program);
        let (data, elements): (Vec<_>, Vec<_>) = (probes.data(), probes.elements());
        let first = program.functions();
        if probes.bodies.is_empty() {
            return Ok(Self { wasm: program.wasm.to_vec(), data, elements, first, places: None });
        }
        let wasm = add(program, &probes)?;
        let places = {
            let probed = Program::parse(&wasm).map_err(Unfreezable::Invalid)?;
            let ranges = |program: &Program<'_>| program.bodies.iter().map(|body| body.range()).collect();
            Places { probed: ranges(&probed), original: ranges(program) }
        };
        Ok(Self { wasm, data, elements, first, places: Some(places) })
    }

    /// Program counters as they would be without probes.
    pub(crate) fn translate(&self, capture: &mut Capture, imported_functions: u32) {
        let Some(Places { probed, original }) = &self.places else { return };
        for frame in &mut capture.frames {
            let body = (frame.function - imported_functions) as usize;
            frame.pc = frame.pc - probed[body].start + original[body].start;
        }
    }

    /// Asks, once the guest is stopped.
    pub(crate) async fn ask<T: Send>(&self, store: &mut Store<T>, instance: Instance) -> wasmtime::Result<Dropped> {
        let mut dropped = Dropped::default();
        let segments = self.data.iter().map(|index| (*index, true));
        let segments = segments.chain(self.elements.iter().map(|index| (*index, false)));
        for (probe, (segment, is_data)) in (self.first..).zip(segments) {
            let missing = || wasmtime::format_err!("probe {probe} is missing");
            let function = instance.debug_function(&mut *store, probe).ok_or_else(missing)?;
            if function.call_async(&mut *store, &[], &mut []).await.is_err() {
                if is_data {
                    dropped.data.insert(segment)
                } else {
                    dropped.elements.insert(segment)
                };
            }
        }
        Ok(dropped)
    }
}

/// The functions to add: those for data segments first.
struct Probes {
    bodies: Vec<(u32, bool, Function)>,
}

impl Probes {
    /// Of segments which code may drop, and which it reads: of others it does not matter.
    fn of(program: &Program<'_>) -> Self {
        let code = program.code();
        let mut bodies = Vec::new();
        for (index, data) in (0..).zip(&program.data) {
            let is_passive = matches!(data.kind, DataKind::Passive) && !data.data.is_empty();
            let target = code.reads_data.get(&index).filter(|_| code.drops_data.contains(&index));
            if let (true, Some(target)) = (is_passive, target) {
                bodies.push((index, true, data_probe(program, index, data.data.len(), *target)));
            }
        }
        for (index, element) in (0..).zip(&program.elements) {
            let count = match &element.items {
                ElementItems::Functions(functions) => functions.count(),
                ElementItems::Expressions(_, items) => items.count(),
            };
            let is_passive = matches!(element.kind, ElementKind::Passive) && count > 0;
            let target = code.reads_elements.get(&index).filter(|_| code.drops_elements.contains(&index));
            if let (true, Some(target)) = (is_passive, target) {
                bodies.push((index, false, element_probe(program, index, count, *target)));
            }
        }
        Self { bodies }
    }

    fn data(&self) -> Vec<u32> {
        self.bodies.iter().filter(|(_, is_data, _)| *is_data).map(|(index, ..)| *index).collect()
    }

    fn elements(&self) -> Vec<u32> {
        self.bodies.iter().filter(|(_, is_data, _)| !is_data).map(|(index, ..)| *index).collect()
    }
}

fn zero(is_64: bool) -> Instruction<'static> {
    if is_64 { Instruction::I64Const(0) } else { Instruction::I32Const(0) }
}

fn data_probe(program: &Program<'_>, data_index: u32, length: usize, target: Target) -> Function {
    let length = Instruction::I32Const(u32::try_from(length).unwrap_or(u32::MAX).cast_signed());
    let mut function = Function::new([]);
    match target {
        Target::Space(mem) => {
            let is_64 = program.memories[mem as usize].memory64;
            let copy = Instruction::MemoryInit { mem, data_index };
            let code = [zero(is_64), length, Instruction::I32Const(0), copy];
            write(&mut function, &code);
        }
        Target::Array(array_type_index) => {
            let copy = Instruction::ArrayNewData { array_type_index, array_data_index: data_index };
            let code = [length, Instruction::I32Const(0), copy, Instruction::Drop];
            write(&mut function, &code);
        }
    }
    function.instruction(&Instruction::End);
    function
}

fn element_probe(program: &Program<'_>, elem_index: u32, count: u32, target: Target) -> Function {
    let count = Instruction::I32Const(count.cast_signed());
    let mut function = Function::new([]);
    match target {
        Target::Space(table) => {
            let is_64 = program.tables[table as usize].ty.table64;
            let copy = Instruction::TableInit { elem_index, table };
            let code = [zero(is_64), count, Instruction::I32Const(0), copy];
            write(&mut function, &code);
        }
        Target::Array(array_type_index) => {
            let copy = Instruction::ArrayNewElem { array_type_index, array_elem_index: elem_index };
            let code = [count, Instruction::I32Const(0), copy, Instruction::Drop];
            write(&mut function, &code);
        }
    }
    function.instruction(&Instruction::End);
    function
}

fn write(function: &mut Function, code: &[Instruction<'_>]) {
    for instruction in code {
        function.instruction(instruction);
    }
}

/// Adds the probes behind all other functions.
fn add(program: &Program<'_>, probes: &Probes) -> Result<Vec<u8>, Unfreezable> {
    let mut module = Module::new();
    let mut code = CodeSection::new();
    let mut left = program.bodies.len();
    for payload in &program.payloads {
        match payload {
            Payload::TypeSection(section) => {
                let mut types = TypeSection::new();
                let result = RoundtripReencoder.parse_type_section(&mut types, section.clone());
                result.map_err(|_| Unfreezable::Reencode)?;
                types.ty().function([], []);
                module.section(&types);
            }
            Payload::FunctionSection(section) => {
                let mut functions = FunctionSection::new();
                for ty in section.clone() {
                    functions.function(ty.map_err(Unfreezable::Invalid)?);
                }
                for _ in &probes.bodies {
                    functions.function(program.type_count());
                }
                module.section(&functions);
            }
            Payload::CodeSectionEntry(body) => {
                code.raw(&program.wasm[body.range()]);
                left -= 1;
                if left == 0 {
                    for (_, _, probe) in &probes.bodies {
                        code.function(probe);
                    }
                    module.section(&code);
                }
            }
            Payload::CodeSectionStart { .. } => {}
            other => {
                if let Some((id, range)) = other.as_section() {
                    module.section(&RawSection { id, data: &program.wasm[range] });
                }
            }
        }
    }
    Ok(module.finish())
}
