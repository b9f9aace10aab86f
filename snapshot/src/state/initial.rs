//! What a module starts with: memories as its data segments fill them, and mutable globals.

use std::collections::BTreeMap;

use wasmparser::{ConstExpr, DataKind, MemoryType, Operator};

use super::{State, Value, memory::image};
use crate::program::Program;

/// Bytes of a page, unless the memory says otherwise.
const PAGE: u64 = 65_536;

impl State {
    /// The state of a new instance before anything of it has run, without its tables; `None` if that depends on
    /// imports, or if instantiation would trap.
    pub(crate) fn initial(program: &Program<'_>) -> Option<Self> {
        if program.imported_memories > 0 {
            return None;
        }
        let constants = Constants::of(program);
        let mut contents: Vec<Vec<u8>> = vec![Vec::new(); program.memories.len()];
        for data in &program.data {
            let DataKind::Active { memory_index, offset_expr } = &data.kind else { continue };
            let ty = program.memories.get(*memory_index as usize)?;
            let start = constants.evaluate(offset_expr)?.address()?;
            let end = start.checked_add(data.data.len() as u64).filter(|end| *end <= bytes(*ty))?;
            let (start, end) = (usize::try_from(start).ok()?, usize::try_from(end).ok()?);
            let content = &mut contents[*memory_index as usize];
            content.resize(content.len().max(end), 0);
            content[start..end].copy_from_slice(data.data);
        }
        let memories = program.memories.iter().zip(contents);
        let mut globals = BTreeMap::new();
        for (index, (global, value)) in (program.imported_globals..).zip(program.globals.iter().zip(&constants.globals))
        {
            if global.ty.mutable {
                globals.insert(index, (*value)?);
            }
        }
        Some(Self {
            memories: memories.map(|(ty, content)| image(ty.initial, &content)).collect(),
            globals,
            tables: Vec::new(),
        })
    }
}

fn bytes(ty: MemoryType) -> u64 {
    let page = ty.page_size_log2.map_or(PAGE, |log2| 1 << log2);
    ty.initial.saturating_mul(page)
}

impl Value {
    /// As an address; offsets are unsigned.
    pub(crate) fn address(self) -> Option<u64> {
        match self {
            Self::I32(value) => Some(u64::from(value.cast_unsigned())),
            Self::I64(value) => Some(value.cast_unsigned()),
            _ => None,
        }
    }
}

/// What constant expressions can refer to.
pub(crate) struct Constants {
    imported_globals: u32,
    /// What each global of the module starts with; `None` if that depends on an import, or is an object.
    pub(crate) globals: Vec<Option<Value>>,
}

impl Constants {
    /// Evaluates the globals, each once: one refers only to those before it.
    pub(crate) fn of(program: &Program<'_>) -> Self {
        let mut constants = Self { imported_globals: program.imported_globals, globals: Vec::new() };
        for global in &program.globals {
            let value = constants.evaluate(&global.init_expr);
            constants.globals.push(value);
        }
        constants
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
