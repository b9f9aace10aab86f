//! The stack which LLVM keeps in linear memory: what returned functions left there is dead, and is cleared.
//!
//! Nothing below its pointer is read again, since no function which waits for a call keeps anything there.

use std::ops::Range;

use prewasm_artifact::FROZEN_SECTION;
use wasmparser::{Data, DataKind};

use crate::{
    names::Names,
    program::Program,
    stack::Stack,
    state::{State, Value},
};

/// The stack of a program, if it is known to be in front of everything else.
///
/// In a program which is frozen already, data tells nothing of how it was linked.
pub(crate) fn in_front(program: &Program<'_>) -> Option<Stack> {
    let is_frozen = program.customs.iter().any(|(_, section)| section.name() == FROZEN_SECTION);
    Stack::of(program, &Names::of(program)).filter(|stack| stack.is_first && !is_frozen)
}

/// How much is dead while the pointer is `pointer`. One elsewhere belongs to a stack of which nothing is known.
pub(crate) fn dead(stack: Stack, pointer: i32) -> u64 {
    let top = u64::from(pointer.cast_unsigned());
    if top <= stack.top { top } else { 0 }
}

/// Clears dead parts, and tells how many bytes were not zero.
pub(crate) fn clear(program: &Program<'_>, state: &mut State) -> u64 {
    let Some(stack) = in_front(program) else { return 0 };
    match (state.globals.get(&stack.pointer), state.memories.first_mut()) {
        (Some(Value::I32(pointer)), Some(memory)) => memory.zero(0..dead(stack, *pointer)),
        _ => 0,
    }
}

/// Clears dead parts in what a module starts with, `program` being what it was made of.
pub(crate) fn clear_initial(program: &Program<'_>, wasm: &mut [u8]) {
    let parts = Program::parse(wasm).map(|snapshot| dead_parts(program, &snapshot)).unwrap_or_default();
    for part in parts {
        wasm[part].fill(0);
    }
}

/// How much of the first memory is dead in a snapshot, `program` being what it was made of.
pub(crate) fn dead_bytes(program: &Program<'_>, snapshot: &Program<'_>) -> u64 {
    let Some(stack) = in_front(program) else { return 0 };
    let global = stack.pointer.checked_sub(snapshot.imported_globals).and_then(|index| usize::try_from(index).ok());
    match global.and_then(|index| snapshot.constants.globals().nth(index)) {
        Some(Some(Value::I32(pointer))) => dead(stack, pointer),
        _ => 0,
    }
}

/// Where in the file the content stands of what is dead.
fn dead_parts(program: &Program<'_>, snapshot: &Program<'_>) -> Vec<Range<usize>> {
    let top = dead_bytes(program, snapshot);
    let part = |data: &Data<'_>| {
        let DataKind::Active { memory_index: 0, offset_expr } = &data.kind else { return None };
        let start = snapshot.constants.address(offset_expr)?;
        let length = usize::try_from(top.saturating_sub(start)).ok()?.min(data.data.len());
        let content = data.range.end - data.data.len();
        Some(content..content + length)
    };
    snapshot.data.iter().filter_map(part).collect()
}
