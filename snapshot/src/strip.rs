//! Makes a program's code small, once its start-up is over: leaves out what can no longer be reached, and puts functions
//! which are alike side by side.
//!
//! What goes are functions which only the init function called, with the globals, types and segments that only those
//! used. Imports and memories stay: what a program asks of its host, and what it starts with, must not depend on how it
//! was made.

mod effort;
mod keep;
mod reorder;
mod similar;
#[cfg(test)]
mod theorem;

use std::error::Error;

use prewasm_artifact::append_section;
use walrus::{ModuleConfig, passes::gc};
use wasmparser::{BinaryReader, NameSectionReader, Parser, Validator, WasmFeatures};

use crate::{
    program::Program,
    sections::{CUSTOM, PREAMBLE, sections},
};

use keep::Keep;

/// Why a program was not stripped.
#[derive(Debug, thiserror::Error)]
pub enum StripError {
    /// It is a component.
    #[error("only modules can be stripped, and this is a component\n  hint: leave out `--strip`")]
    Component,
    /// It uses a part of the language which walrus cannot write again faithfully.
    #[error(
        "the program uses an extension of WebAssembly with which it cannot be stripped\n  hint: leave out `--strip`"
    )]
    Unsupported(#[source] wasmparser::BinaryReaderError),
    /// It is made so that stripping it would take too much memory or time.
    #[error("the program has too {what} to be stripped\n  hint: leave out `--strip`")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
    },
    /// Its functions cannot be put in another order: a fault of ours.
    #[error("the functions of the stripped program cannot be ordered; this is a bug\n  hint: leave out `--strip`")]
    Reorder(#[source] Box<dyn Error + Send + Sync>),
    /// The tool which strips does not understand it.
    #[error("the program cannot be stripped\n  hint: leave out `--strip`")]
    Walrus(#[source] Box<dyn Error + Send + Sync>),
    /// The result is not what it must be.
    #[error("the stripped program cannot be taken apart\n  hint: leave out `--strip`")]
    Invalid(#[source] wasmparser::BinaryReaderError),
}

/// What walrus and its own, older parser handle: a program with more is refused before it gets there. Types of the
/// garbage collector it could read, but it merges and sorts types, which in such programs have an identity.
const FEATURES: WasmFeatures = WasmFeatures::WASM2
    .union(WasmFeatures::EXCEPTIONS)
    .union(WasmFeatures::EXTENDED_CONST)
    .union(WasmFeatures::MEMORY64)
    .union(WasmFeatures::MULTI_MEMORY)
    .union(WasmFeatures::RELAXED_SIMD)
    .union(WasmFeatures::TAIL_CALL)
    .union(WasmFeatures::THREADS);

/// The custom section with names.
const NAMES: &str = "name";
/// Sections in the order in which they must come.
const ORDER: [u8; 13] = [1, 2, 3, 4, 5, 13, 6, 7, 8, 9, 12, 10, 11];

/// Leaves out what cannot be reached from exports, the start function and tables in use, and orders what stays. The
/// result is not validated.
///
/// Custom sections stay in their places, but for those which tell where something is in the code.
pub(crate) fn strip(wasm: &[u8]) -> Result<Vec<u8>, StripError> {
    if !Parser::is_core_wasm(wasm) {
        return Err(StripError::Component);
    }
    Validator::new_with_features(FEATURES).validate_all(wasm).map_err(StripError::Unsupported)?;
    let program = Program::parse(wasm).map_err(StripError::Unsupported)?;
    effort::check(&program)?;
    let reachable = without_unreachable(&program)?;
    let ordered = reorder::alike_together(&reachable).map_err(|error| StripError::Reorder(error.into()))?;
    with_customs(&program, &ordered).map_err(StripError::Invalid)
}

/// The module as walrus writes it, with no custom section but `name`.
fn without_unreachable(program: &Program<'_>) -> Result<Vec<u8>, StripError> {
    let mut config = ModuleConfig::new();
    config.generate_producers_section(false).legacy_exceptions(false);
    let mut module = config.parse(&with_names_only(program)?).map_err(|error| StripError::Walrus(error.into()))?;
    let keep = module.customs.add(Keep::of(&module));
    gc::run(&mut module);
    module.customs.delete(keep);
    Ok(module.emit_wasm())
}

/// The program with no other custom section than `name`, if that can be read.
fn with_names_only(program: &Program<'_>) -> Result<Vec<u8>, StripError> {
    let mut out = program.wasm[..PREAMBLE].to_vec();
    for section in sections(program.wasm).map_err(StripError::Unsupported)? {
        let is_wanted = match section.custom() {
            Some((name, content)) => name == NAMES && is_readable(content),
            None => section.id != CUSTOM,
        };
        if is_wanted {
            out.extend_from_slice(section.whole);
        }
    }
    Ok(out)
}

fn is_readable(names: &[u8]) -> bool {
    NameSectionReader::new(BinaryReader::new(names, 0)).into_iter().all(|subsection| subsection.is_ok())
}

/// `stripped` with the custom sections of the program, each behind the section that it stood behind.
fn with_customs(program: &Program<'_>, stripped: &[u8]) -> wasmparser::Result<Vec<u8>> {
    let stripped_sections = sections(stripped)?;
    let names = stripped_sections.iter().find(|section| section.id == CUSTOM);
    let mut out = stripped[..PREAMBLE].to_vec();
    for place in std::iter::once(None).chain(ORDER.into_iter().map(Some)) {
        if let Some(section) = stripped_sections.iter().find(|section| Some(section.id) == place) {
            out.extend_from_slice(section.whole);
        }
        for (_, section) in program.customs.iter().filter(|(behind, _)| *behind == place) {
            match section.name() {
                NAMES => out.extend_from_slice(names.map_or(&[], |names| names.whole)),
                name if tells_places_in_code(name) => {}
                name => append_section(&mut out, name, section.data()),
            }
        }
    }
    Ok(out)
}

/// Whether a custom section is wrong once code has moved, or functions have other numbers.
fn tells_places_in_code(name: &str) -> bool {
    let prefixes = [".debug_", "metadata.code.", "reloc."];
    let names = ["linking", "sourceMappingURL", "external_debug_info"];
    names.contains(&name) || prefixes.iter().any(|prefix| name.starts_with(prefix))
}
