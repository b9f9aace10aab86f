//! The stack which LLVM keeps in linear memory: what returned functions left there is dead, and is cleared.
//!
//! Nothing below its pointer is read again, since no function which waits for a call keeps anything there.

use prewasm_artifact::FROZEN_SECTION;

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

pub(crate) fn is_frozen(program: &Program<'_>) -> bool {
    program.customs.iter().any(|(_, section)| section.name() == FROZEN_SECTION)
}
