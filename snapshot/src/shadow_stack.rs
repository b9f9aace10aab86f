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

/// Clears what is dead in a state.
pub(crate) fn clear(program: &Program<'_>, state: &mut State) {
    let Some(stack) = in_front(program) else { return };
    if let (Some(Value::I32(pointer)), Some(memory)) = (state.globals.get(&stack.pointer), state.memories.first_mut()) {
        memory.zero(0..dead(stack, *pointer));
    }
}
