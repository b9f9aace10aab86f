//! What is dead in an instance that was initialized is cleared before Wizer reads its memories. It is not run again.

use wasmtime::{Instance, Store, Val};

use crate::{
    cleared::{self, Cleared},
    program::Program,
    sandbox::ModuleState,
    shadow_stack,
};

/// Clears the memories, which Wizer has added exports for.
pub(super) fn clear(store: &mut Store<ModuleState>, instance: &Instance, program: &Program<'_>) -> Cleared {
    let mut dead_stack = dead_stack(store, instance, program);
    let mut cleared = Cleared::default();
    for index in 0..program.memories.len() {
        if let Some(memory) = instance.get_memory(&mut *store, &format!("__wizer_memory_{index}")) {
            cleared += cleared::clear(memory.data_mut(&mut *store), std::mem::take(&mut dead_stack));
        }
    }
    cleared
}

/// How much of the first memory's stack is dead.
fn dead_stack(store: &mut Store<ModuleState>, instance: &Instance, program: &Program<'_>) -> u64 {
    let Some(stack) = shadow_stack::in_front(program) else { return 0 };
    let pointer = instance.get_global(&mut *store, &format!("__wizer_global_{}", stack.pointer));
    match pointer.map(|pointer| pointer.get(&mut *store)) {
        Some(Val::I32(pointer)) => shadow_stack::dead(stack, pointer),
        _ => 0,
    }
}
