//! The stack which LLVM keeps in linear memory: what returned functions left there is dead, and is cleared.
//!
//! It grows downwards; nothing below the pointer is read again, since no function which waits for a call keeps
//! anything there. Where it starts is known only if the linker put it in front of all data (`--stack-first`, which
//! rustc asks for), and where its pointer is only from the `name` section.

use prewasm_artifact::FROZEN_SECTION;
use wasmparser::{BinaryReader, ConstExpr, DataKind, Name, NameSectionReader, Operator};

use crate::{
    program::Program,
    state::{State, Value},
};

/// The global's name.
const POINTER: &str = "__stack_pointer";

/// Clears dead parts, and tells how many bytes were not zero.
pub(crate) fn clear(program: &Program<'_>, state: &mut State) -> u64 {
    // In a program which is frozen already, data tells nothing of how it was linked.
    if is_frozen(program) {
        return 0;
    }
    let Some(pointer) = pointer(program) else { return 0 };
    let Some(Value::I32(top)) = state.globals.get(&pointer) else { return 0 };
    let top = u64::from(top.cast_unsigned());
    let Some(start) = initial(program, pointer) else { return 0 };
    // Everything in front of the first data is stack.
    let is_first = top <= start && first_data(program).is_some_and(|data| data >= start);
    match state.memories.first_mut() {
        Some(memory) if is_first => memory.zero(0..top),
        _ => 0,
    }
}

fn is_frozen(program: &Program<'_>) -> bool {
    program.customs.iter().any(|(_, section)| section.name() == FROZEN_SECTION)
}

/// The index of the stack pointer among the globals.
fn pointer(program: &Program<'_>) -> Option<u32> {
    let (_, section) = program.customs.iter().find(|(_, section)| section.name() == "name")?;
    for subsection in NameSectionReader::new(BinaryReader::new(section.data(), 0)) {
        if let Ok(Name::Global(names)) = subsection {
            return names.into_iter().filter_map(Result::ok).find(|name| name.name == POINTER).map(|name| name.index);
        }
    }
    None
}

/// What the module sets the pointer to: the end of the stack.
fn initial(program: &Program<'_>, pointer: u32) -> Option<u64> {
    constant(&program.globals.get(pointer as usize)?.init_expr)
}

/// Where the first data segment of the first memory starts.
fn first_data(program: &Program<'_>) -> Option<u64> {
    let offsets = program.data.iter().filter_map(|data| match &data.kind {
        DataKind::Active { memory_index: 0, offset_expr } => Some(constant(offset_expr).unwrap_or(0)),
        _ => None,
    });
    offsets.min()
}

fn constant(expression: &ConstExpr<'_>) -> Option<u64> {
    match expression.get_operators_reader().read() {
        Ok(Operator::I32Const { value }) => Some(u64::from(value.cast_unsigned())),
        _ => None,
    }
}
