//! What a module starts with: memories as its data segments fill them, and mutable globals.

use std::collections::BTreeMap;

use wasmparser::{ConstExpr, Data, DataKind, Global, MemoryType, Operator, Parser, Payload};

use super::{State, Value, content::contents};
use crate::program::Program;

/// Bytes of a page, unless the memory says otherwise.
const PAGE: u64 = 65_536;

/// A module, or each module in a component, in order.
pub(crate) fn modules(wasm: &[u8]) -> wasmparser::Result<Vec<Program<'_>>> {
    if Parser::is_core_wasm(wasm) {
        return Ok(vec![Program::parse(wasm)?]);
    }
    let mut modules = Vec::new();
    for payload in Parser::new(0).parse_all(wasm) {
        if let Payload::ModuleSection { unchecked_range, .. } = payload? {
            modules.push(Program::parse(&wasm[unchecked_range])?);
        }
    }
    Ok(modules)
}

/// The initial states of a module, or of each module in a component, in order; `None` if one has none.
pub(crate) fn initial_states(wasm: &[u8]) -> Option<Vec<State>> {
    modules(wasm).ok()?.iter().map(State::initial).collect()
}

impl State {
    /// The state of a new instance before anything of it has run, without its tables; `None` if that depends on
    /// imports, or if instantiation would trap.
    pub(crate) fn initial(program: &Program<'_>) -> Option<Self> {
        let contents = if program.imported_memories == 0 {
            contents(program)?
        } else {
            // Somebody else's are not its state, if it writes nothing to them.
            let is_active = |data: &Data<'_>| matches!(data.kind, DataKind::Active { .. });
            if program.data.iter().any(is_active) || !program.memories.is_empty() {
                return None;
            }
            Vec::new()
        };
        let memories = program.memories.iter().zip(&contents).map(|(ty, content)| content.image(ty.initial));
        let values = program.globals.iter().zip(program.constants.globals());
        let mut globals = BTreeMap::new();
        for (index, (global, value)) in (program.imported_globals..).zip(values) {
            if global.ty.mutable {
                globals.insert(index, value?);
            }
        }
        Some(Self { memories: memories.collect(), globals, tables: Vec::new() })
    }
}

/// An active data segment, and where it goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Placed<'a> {
    /// Its index among the data segments.
    pub(crate) segment: u32,
    pub(crate) memory: u32,
    pub(crate) offset: u64,
    pub(crate) bytes: &'a [u8],
}

/// The active data segments in the order in which they are written; `None` if a place depends on imports, or if
/// instantiation would trap.
pub(crate) fn placed<'a>(program: &Program<'a>) -> Option<Vec<Placed<'a>>> {
    if program.imported_memories > 0 {
        return None;
    }
    let mut segments = Vec::new();
    for (segment, data) in (0..).zip(&program.data) {
        let DataKind::Active { memory_index, offset_expr } = &data.kind else { continue };
        let ty = program.memories.get(*memory_index as usize)?;
        let offset = program.constants.address(offset_expr)?;
        offset.checked_add(data.data.len() as u64).filter(|end| *end <= bytes(*ty))?;
        segments.push(Placed { segment, memory: *memory_index, offset, bytes: data.data });
    }
    Some(segments)
}

/// The initial size of a memory in bytes.
pub(crate) fn bytes(ty: MemoryType) -> u64 {
    let page = ty.page_size_log2.map_or(PAGE, |log2| 1 << log2);
    ty.initial.saturating_mul(page)
}

/// What constant expressions can refer to.
#[derive(Debug, Default)]
pub(crate) struct Constants {
    imported_globals: u32,
    /// What each global of the module starts with; `None` if that depends on an import, or is an object.
    globals: Vec<Option<Value>>,
}

impl Constants {
    /// Evaluates the globals, each once: one refers only to those before it.
    pub(crate) fn of(imported_globals: u32, globals: &[Global<'_>]) -> Self {
        let mut constants = Self { imported_globals, globals: Vec::new() };
        for global in globals {
            let value = constants.evaluate(&global.init_expr);
            constants.globals.push(value);
        }
        constants
    }

    /// What each global of the module starts with; `None` if that depends on an import, or is an object.
    pub(crate) fn globals(&self) -> impl Iterator<Item = Option<Value>> {
        self.globals.iter().copied()
    }

    /// The place in a memory or a table which an expression tells; offsets are unsigned.
    pub(crate) fn address(&self, offset: &ConstExpr<'_>) -> Option<u64> {
        match self.evaluate(offset)? {
            Value::I32(value) => Some(u64::from(value.cast_unsigned())),
            Value::I64(value) => Some(value.cast_unsigned()),
            _ => None,
        }
    }

    /// The value of a constant expression which needs no import and makes no object.
    pub(crate) fn evaluate(&self, expression: &ConstExpr<'_>) -> Option<Value> {
        let mut stack = Vec::new();
        for operator in expression.get_operators_reader() {
            let value = match operator.ok()? {
                Operator::I32Const { value } => Value::I32(value),
                Operator::I64Const { value } => Value::I64(value),
                Operator::F32Const { value } => Value::F32(value.bits()),
                Operator::F64Const { value } => Value::F64(value.bits()),
                Operator::V128Const { value } => Value::V128(value.i128().cast_unsigned()),
                Operator::RefNull { .. } => Value::Null,
                Operator::RefFunc { function_index } => Value::Function(function_index),
                Operator::GlobalGet { global_index } => {
                    (*self.globals.get(global_index.checked_sub(self.imported_globals)? as usize)?)?
                }
                Operator::I32Add => i32s(&mut stack, i32::wrapping_add)?,
                Operator::I32Sub => i32s(&mut stack, i32::wrapping_sub)?,
                Operator::I32Mul => i32s(&mut stack, i32::wrapping_mul)?,
                Operator::I64Add => i64s(&mut stack, i64::wrapping_add)?,
                Operator::I64Sub => i64s(&mut stack, i64::wrapping_sub)?,
                Operator::I64Mul => i64s(&mut stack, i64::wrapping_mul)?,
                Operator::End => break,
                _ => return None,
            };
            stack.push(value);
        }
        stack.pop()
    }
}

fn i32s(stack: &mut Vec<Value>, operation: impl Fn(i32, i32) -> i32) -> Option<Value> {
    let (Some(Value::I32(right)), Some(Value::I32(left))) = (stack.pop(), stack.pop()) else { return None };
    Some(Value::I32(operation(left, right)))
}

fn i64s(stack: &mut Vec<Value>, operation: impl Fn(i64, i64) -> i64) -> Option<Value> {
    let (Some(Value::I64(right)), Some(Value::I64(left))) = (stack.pop(), stack.pop()) else { return None };
    Some(Value::I64(operation(left, right)))
}

#[cfg(test)]
mod tests {
    use prewasm_artifact::Artifact;

    use super::*;

    fn initial(wat: &str) -> Option<State> {
        let artifact = Artifact::from_bytes("test", wat.into()).expect("valid");
        State::initial(&Program::parse(artifact.bytes()).expect("valid"))
    }

    #[test]
    fn later_segments_win() {
        let state = initial(
            r#"(module (memory 1) (global $base i32 (i32.const 8)) (global (mut i64) (i64.const 5))
                (data (i32.const 4) "abcdefgh") (data (i32.add (global.get $base) (i32.const 1)) "XY"))"#,
        );
        let state = state.expect("constant");
        assert_eq!(state.memories[0].runs[0].offset, 4);
        assert_eq!(state.memories[0].runs[0].bytes, b"abcdeXYh");
        assert_eq!(state.globals, BTreeMap::from([(1, Value::I64(5))]));
    }

    #[test]
    fn what_depends_on_imports_or_traps_has_no_initial_state() {
        assert_eq!(initial(r#"(module (import "a" "b" (global i32)) (memory 1) (data (global.get 0) "x"))"#), None);
        assert_eq!(initial(r#"(module (memory 1) (data (i32.const 65535) "xy"))"#), None);
        assert_eq!(initial(r#"(module (memory 1) (data (i32.const -1) "x"))"#), None);
    }
}
