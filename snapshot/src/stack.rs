//! Where the stack is which LLVM keeps in linear memory. It grows downwards.
//!
//! Its pointer is known only from the `name` section. Where it ends is known only if the linker put it in front of all
//! data (`--stack-first`, which rustc asks for).

use wasmparser::DataKind;

use crate::{names::Names, program::Program};

/// The name of the pointer, a global.
const POINTER: &str = "__stack_pointer";

/// The stack of a module which has not run yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stack {
    /// The index of its pointer among the globals.
    pub(crate) pointer: u32,
    /// What the module sets the pointer to: the end of the stack, while it is empty.
    pub(crate) top: u64,
    /// Everything below is stack, for no data comes before.
    pub(crate) is_first: bool,
}

impl Stack {
    pub(crate) fn of(program: &Program<'_>, names: &Names<'_>) -> Option<Self> {
        let pointer = names.global_called(POINTER)?;
        let global = program.globals.get(pointer.checked_sub(program.imported_globals)? as usize)?;
        let top = program.constants.address(&global.init_expr)?;
        Some(Self { pointer, top, is_first: first_data(program).is_some_and(|data| data >= top) })
    }
}

/// Where the first data segment of the first memory starts.
fn first_data(program: &Program<'_>) -> Option<u64> {
    let offsets = program.data.iter().filter_map(|data| match &data.kind {
        DataKind::Active { memory_index: 0, offset_expr } => Some(program.constants.address(offset_expr).unwrap_or(0)),
        _ => None,
    });
    offsets.min()
}
