//! The snapshot must start with what the program held after its init function, and be the same program.
//!
//! Then it does from there on whatever the program would have done, on the same host: its code is the same, byte for
//! byte, its tables are filled alike, and its memories and globals hold the same. Nothing has to be run for that.

use wasmparser::Payload;
use wasmtime::{Instance, Store, Val};

use crate::{
    program::Program,
    sandbox::ModuleState,
    shadow_stack,
    state::{State, Value, image},
};

/// Sections of tables and of what fills them.
const TABLE: u8 = 4;
const ELEMENT: u8 = 9;

/// Tells what differs between a program after its init function, in `instance`, and its snapshot with the state that it
/// starts with. `constructors` is whether those of the snapshot do nothing any more.
pub(super) fn difference(
    store: &mut Store<ModuleState>,
    instance: &Instance,
    program: &Program<'_>,
    (snapshot, expected): (&Program<'_>, &State),
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
    let mut held = held(store, instance, expected)?;
    shadow_stack::clear(program, &mut held);
    if held.memories != expected.memories {
        return Some("memories");
    }
    (held.globals != expected.globals).then_some("globals")
}

fn bodies<'a>(program: &Program<'a>) -> Vec<&'a [u8]> {
    program.bodies.iter().map(|body| &program.wasm[body.range()]).collect()
}

fn section<'a>(program: &Program<'a>, id: u8) -> Option<&'a [u8]> {
    let found = program.payloads.iter().filter_map(Payload::as_section).find(|(found, _)| *found == id);
    found.map(|(_, range)| &program.wasm[range])
}

/// What the instance holds, by the exports which Wizer has added to it; `None` if one is missing.
fn held(store: &mut Store<ModuleState>, instance: &Instance, like: &State) -> Option<State> {
    let mut memories = Vec::new();
    for index in 0..like.memories.len() {
        let memory = instance.get_memory(&mut *store, &format!("__wizer_memory_{index}"))?;
        let pages = memory.size(&*store);
        memories.push(image(pages, memory.data(&*store)));
    }
    let mut globals = std::collections::BTreeMap::new();
    for index in like.globals.keys() {
        let global = instance.get_global(&mut *store, &format!("__wizer_global_{index}"))?;
        let value = match global.get(&mut *store) {
            Val::I32(value) => Value::I32(value),
            Val::I64(value) => Value::I64(value),
            Val::F32(bits) => Value::F32(bits),
            Val::F64(bits) => Value::F64(bits),
            Val::V128(value) => Value::V128(value.as_u128()),
            // The init function was only called since there are none.
            _ => return None,
        };
        globals.insert(*index, value);
    }
    Some(State { memories, globals, tables: Vec::new() })
}
