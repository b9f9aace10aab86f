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

/// Clears dead parts, and tells how many bytes were not zero.
pub(crate) fn clear(program: &Program<'_>, state: &mut State) -> u64 {
    // In a program which is frozen already, data tells nothing of how it was linked.
    if is_frozen(program) {
        return 0;
    }
    let Some(stack) = Stack::of(program, &Names::of(program)) else { return 0 };
    let Some(Value::I32(top)) = state.globals.get(&stack.pointer) else { return 0 };
    let top = u64::from(top.cast_unsigned());
    match state.memories.first_mut() {
        Some(memory) if stack.is_first && top <= stack.top => memory.zero(0..top),
        _ => 0,
    }
}

/// Clears dead parts in what a module starts with, `program` being what it was made of.
pub(crate) fn clear_initial(program: &Program<'_>, wasm: &mut [u8]) {
    let dead = {
        let Ok(snapshot) = Program::parse(wasm) else { return };
        let Some(dead) = dead_parts(program, &snapshot) else { return };
        dead
    };
    for part in dead {
        if let Some(bytes) = wasm.get_mut(part) {
            bytes.fill(0);
        }
    }
}

/// How much of the first memory is below the stack pointer of a snapshot, `program` being what it was made of.
pub(crate) fn dead_bytes(program: &Program<'_>, snapshot: &Program<'_>) -> Option<u64> {
    let stack = Stack::of(program, &Names::of(program))?;
    let pointer = usize::try_from(stack.pointer.checked_sub(snapshot.imported_globals)?).ok()?;
    let Some(Value::I32(top)) = snapshot.constants.globals().nth(pointer)? else { return None };
    let top = u64::from(top.cast_unsigned());
    (!is_frozen(program) && stack.is_first && top <= stack.top).then_some(top)
}

/// Where in the file the content stands of what is below the stack pointer.
fn dead_parts(program: &Program<'_>, snapshot: &Program<'_>) -> Option<Vec<Range<usize>>> {
    let top = dead_bytes(program, snapshot)?;
    let part = |data: &Data<'_>| {
        let DataKind::Active { memory_index: 0, offset_expr } = &data.kind else { return None };
        let start = snapshot.constants.address(offset_expr)?;
        let length = usize::try_from(top.saturating_sub(start)).ok()?.min(data.data.len());
        let content = data.range.end - data.data.len();
        Some(content..content + length)
    };
    Some(snapshot.data.iter().filter_map(part).collect())
}

pub(crate) fn is_frozen(program: &Program<'_>) -> bool {
    program.customs.iter().any(|(_, section)| section.name() == FROZEN_SECTION)
}
