//! The snapshot must start with what the program held after its init function, and be the same program.
//!
//! Then it does from there on whatever the program would have done, on the same host: its code is the same, byte for
//! byte, its tables are filled alike, and its memories and globals hold the same. Nothing has to be run for that. What was
//! dead in the instance's memories has been cleared before, so there are no exceptions.

use wasmparser::Payload;
use wasmtime::{Instance, Store, Val};

use crate::{
    program::Program,
    sandbox::ModuleState,
    state::{Value, contents},
};

/// Sections of tables and of what fills them.
const TABLE: u8 = 4;
const ELEMENT: u8 = 9;

/// Tells what differs between a program after its init function, in `instance`, and its snapshot. `constructors` is
/// whether those of the snapshot do nothing any more.
pub(super) fn difference(
    store: &mut Store<ModuleState>,
    instance: &Instance,
    program: &Program<'_>,
    snapshot: &Program<'_>,
    constructors: bool,
) -> Option<&'static str> {
    let (before, after) = (bodies(program), bodies(snapshot));
    let changed = before.iter().zip(&after).filter(|(before, after)| before != after).count();
    if before.len() != after.len() || changed > usize::from(constructors) {
        return Some("code");
    }
    if section(program, TABLE) != section(snapshot, TABLE) || section(program, ELEMENT) != section(snapshot, ELEMENT) {
        return Some("tables");
    }
    if !memories_are_equal(store, instance, snapshot) {
        return Some("memories");
    }
    (!globals_are_equal(store, instance, snapshot)).then_some("globals")
}

fn bodies<'a>(program: &Program<'a>) -> Vec<&'a [u8]> {
    program.bodies.iter().map(|body| &program.wasm[body.range()]).collect()
}

fn section<'a>(program: &Program<'a>, id: u8) -> Option<&'a [u8]> {
    let found = program.payloads.iter().filter_map(Payload::as_section).find(|(found, _)| *found == id);
    found.map(|(_, range)| &program.wasm[range])
}

/// Compares with the exports which Wizer has added to the instance.
fn memories_are_equal(store: &mut Store<ModuleState>, instance: &Instance, snapshot: &Program<'_>) -> bool {
    // Where nobody can tell what it starts with, imports decide.
    let Some(contents) = contents(snapshot) else { return true };
    (0..).zip(contents.iter().zip(&snapshot.memories)).all(|(index, (content, ty))| {
        let Some(memory) = instance.get_memory(&mut *store, &format!("__wizer_memory_{index}")) else { return false };
        memory.size(&*store) == ty.initial && content.is_that_of(memory.data(&*store))
    })
}

fn globals_are_equal(store: &mut Store<ModuleState>, instance: &Instance, snapshot: &Program<'_>) -> bool {
    let globals = snapshot.globals.iter().zip(snapshot.constants.globals());
    (snapshot.imported_globals..).zip(globals).filter(|(_, (global, _))| global.ty.mutable).all(
        |(index, (_, value))| {
            let global = instance.get_global(&mut *store, &format!("__wizer_global_{index}"));
            let held = global.and_then(|global| match global.get(&mut *store) {
                Val::I32(value) => Some(Value::I32(value)),
                Val::I64(value) => Some(Value::I64(value)),
                Val::F32(bits) => Some(Value::F32(bits)),
                Val::F64(bits) => Some(Value::F64(bits)),
                Val::V128(value) => Some(Value::V128(value.as_u128())),
                // The init function was only called since there are none.
                _ => None,
            });
            held.is_some() && held == value
        },
    )
}
