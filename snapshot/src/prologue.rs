//! What a snapshot does by itself before it goes on, on whatever host it runs.
//!
//! ```wat
//! (func $prologue
//!   (if (call $random_get (i32.const OFFSET) (i32.const LENGTH)) (then (unreachable)))   ;; for each cell of keys
//!   (call $__wasilibc_initialize_environ)                                                ;; if it was read before
//!   (call $_start))
//! (export "_start" (func $prologue))
//! ```
//!
//! A module without `_start` gets it as its start function.

use prewasm_artifact::{Family, Import};
use prewasm_ext_http::Reseed;
use wasm_encoder::{
    BlockType, ExportSection, Function, FunctionSection, Instruction, Module, RawSection, StartSection,
    reencode::{Reencode as _, RoundtripReencoder},
};
use wasmparser::{Export, ExternalKind, Payload};

use crate::{
    code::{is_debug_info, new_code},
    freeze::ENTRY,
    names::Names,
    program::{Program, Signature},
    types::Types,
};

/// What is done before a snapshot goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Prologue {
    /// These parts of memory are filled with random bytes.
    pub(crate) reseed: Vec<Reseed>,
    /// These functions are called, which read anew what a library has kept.
    pub(crate) calls: Vec<u32>,
}

/// The module cannot be given a prologue: a fault of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the snapshot cannot be extended by a function; this is a bug")]
pub struct PrologueError;

const TYPE: u8 = 1;
const FUNCTION: u8 = 3;
const EXPORT: u8 = 7;
const START: u8 = 8;
const CODE: u8 = 10;
/// Elements, the number of data segments, code, data.
const BEHIND_START: [u8; 4] = [9, 12, CODE, 11];

/// wasi-libc's function which reads the environment, and forgets what it had read before.
const READ_ENVIRONMENT: [&str; 1] = ["__wasilibc_initialize_environ"];
/// wasi-libc's functions which change its copy of the environment; they are there only if the program uses them. What it
/// has changed would be lost.
const WRITE_ENVIRONMENT: [&str; 5] = ["setenv", "putenv", "__putenv", "unsetenv", "clearenv"];
/// wasi-libc's functions which forget the directories given to the program, and look them up.
const READ_PREOPENS: [&str; 2] = ["__wasilibc_reset_preopens", "__wasilibc_populate_preopens"];

impl Prologue {
    /// Has the environment read anew, and tells whether the program's `name` section says how.
    pub(crate) fn read_environment(&mut self, program: &Program<'_>) -> bool {
        let names = Names::of(program);
        let may_write = WRITE_ENVIRONMENT.iter().any(|name| names.function_called(name).is_some());
        !may_write && self.call_all(program, &READ_ENVIRONMENT)
    }

    /// Has the directories looked up anew, and tells whether the program's `name` section says how.
    pub(crate) fn read_preopens(&mut self, program: &Program<'_>) -> bool {
        self.call_all(program, &READ_PREOPENS)
    }

    fn call_all(&mut self, program: &Program<'_>, names: &[&str]) -> bool {
        let known = Names::of(program);
        let functions: Option<Vec<_>> = names.iter().map(|name| program.procedure_called(&known, name)).collect();
        let is_known = functions.is_some();
        self.calls.extend(functions.unwrap_or_default());
        is_known
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.reseed.is_empty() && self.calls.is_empty()
    }

    /// Puts itself in front of a module with these imports.
    pub(crate) fn inject(&self, wasm: &[u8], imports: &[Import]) -> Result<Vec<u8>, PrologueError> {
        let program = Program::parse(wasm).map_err(|_| PrologueError)?;
        if program.bodies.is_empty() {
            // Stripped to its memory: nothing goes on.
            return Ok(wasm.to_vec());
        }
        let mut types = Types::new(&program);
        let ty = types.giving(&[]);
        let target = Target::of(&program);
        let body = self.body(imports, target)?;
        let code = new_code(&program, [body.as_slice()]).ok_or(PrologueError)?;
        let function = program.functions();
        let mut module = Module::new();
        let mut needs_start = !matches!(target, Target::Entry(_));
        for payload in &program.payloads {
            let Some((id, range)) = payload.as_section() else { continue };
            if needs_start && BEHIND_START.contains(&id) {
                module.section(&StartSection { function_index: function });
                needs_start = false;
            }
            match (id, payload) {
                (TYPE, _) => module.section(&types.section(&program).map_err(|_| PrologueError)?),
                (FUNCTION, _) => module.section(&functions(&program, ty)?),
                (EXPORT, _) => module.section(&exports(&program, target, function)?),
                (START, _) if needs_start => continue,
                (CODE, _) => module.section(&RawSection { id, data: &code.bytes }),
                (_, Payload::CustomSection(custom)) if code.moves && is_debug_info(custom.name()) => continue,
                _ => module.section(&RawSection { id, data: &wasm[range] }),
            };
        }
        Ok(module.finish())
    }

    fn body(&self, imports: &[Import], target: Target) -> Result<Vec<u8>, PrologueError> {
        let mut function = Function::new([]);
        let mut instructions = Vec::new();
        for part in &self.reseed {
            let offset = u32::try_from(part.offset).map_err(|_| PrologueError)?;
            instructions.extend([
                Instruction::I32Const(offset.cast_signed()),
                Instruction::I32Const(part.length.cast_signed()),
                Instruction::Call(random_get(imports).ok_or(PrologueError)?),
                Instruction::If(BlockType::Empty),
                Instruction::Unreachable,
                Instruction::End,
            ]);
        }
        instructions.extend(self.calls.iter().copied().map(Instruction::Call));
        instructions.extend(target.function().map(Instruction::Call));
        instructions.push(Instruction::End);
        for instruction in &instructions {
            function.instruction(instruction);
        }
        Ok(function.into_raw_body())
    }
}

/// What the prologue stands in front of.
#[derive(Clone, Copy, Debug)]
enum Target {
    /// The export `_start`.
    Entry(u32),
    /// A start function.
    Start(u32),
    /// All exports.
    Everything,
}

impl Target {
    fn of(program: &Program<'_>) -> Self {
        let is_entry = |export: &&Export<'_>| {
            export.name == ENTRY && is_function(export.kind) && *program.signature(export.index) == Signature::default()
        };
        let entry = program.exports.iter().find(is_entry);
        let start = program.payloads.iter().find_map(|payload| match payload {
            Payload::StartSection { func, .. } => Some(*func),
            _ => None,
        });
        match (entry, start) {
            (Some(entry), _) => Self::Entry(entry.index),
            (None, Some(start)) => Self::Start(start),
            (None, None) => Self::Everything,
        }
    }

    fn function(self) -> Option<u32> {
        match self {
            Self::Entry(function) | Self::Start(function) => Some(function),
            Self::Everything => None,
        }
    }
}

/// The index of the function which gives random bytes.
fn random_get(imports: &[Import]) -> Option<u32> {
    let functions = imports.iter().filter(|import| import.signature.is_some());
    let found = functions.zip(0..).find(|(import, _)| import.family == Family::Preview1 && import.name == "random_get");
    found.map(|(_, index)| index)
}

fn is_function(kind: ExternalKind) -> bool {
    matches!(kind, ExternalKind::Func | ExternalKind::FuncExact)
}

fn functions(program: &Program<'_>, ty: u32) -> Result<FunctionSection, PrologueError> {
    let mut section = FunctionSection::new();
    for payload in &program.payloads {
        if let Payload::FunctionSection(functions) = payload {
            for ty in functions.clone() {
                section.function(ty.map_err(|_| PrologueError)?);
            }
        }
    }
    section.function(ty);
    Ok(section)
}

fn exports(program: &Program<'_>, target: Target, prologue: u32) -> Result<ExportSection, PrologueError> {
    let mut section = ExportSection::new();
    for export in &program.exports {
        let is_entry = matches!(target, Target::Entry(_)) && export.name == ENTRY;
        let index = if is_entry { prologue } else { export.index };
        let kind = RoundtripReencoder.export_kind(export.kind).map_err(|_| PrologueError)?;
        section.export(export.name, kind, index);
    }
    Ok(section)
}
