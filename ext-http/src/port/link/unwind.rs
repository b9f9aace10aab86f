//! Leaving a program: which of its functions are left on the way out, and what they do then.
//!
//! A trampoline which finds nothing left to wait for sets the global `unwinding` and returns. Each call which that may
//! come out of is followed by a question, and the function returns in its turn:
//!
//! ```wat
//! (call $may_leave)                       ;; copied
//! (if (global.get $unwinding)             ;; added
//!   (then (return (i32.const 0))))        ;; zeros of the function's result types
//! ```
//!
//! Tail calls need no question: the caller's own caller asks.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use wasm_encoder::{BlockType, Function, Instruction};
use wasmparser::{BinaryReaderError, FuncType, Operator};

use super::super::module::Module;

/// The calls which may end in leaving.
#[derive(Default)]
pub(super) struct Unwinding {
    functions: BTreeSet<u32>,
    types: BTreeSet<u32>,
    /// A type does not tell what is called.
    all_indirect: bool,
}

/// Who calls whom: callers by function, and by type.
#[derive(Default)]
struct Callers {
    direct: BTreeMap<u32, Vec<u32>>,
    indirect: BTreeMap<u32, Vec<u32>>,
}

impl Unwinding {
    /// Follows calls back from `leaves`, the imports which may leave. Each function and type is looked at once, as there
    /// are programs of 100 MB.
    pub(super) fn of(module: &Module<'_>, leaves: BTreeSet<u32>) -> Result<Self, BinaryReaderError> {
        let referenced = module.referenced()?;
        let callers = Callers::of(module)?;
        let mut same_types: HashMap<&FuncType, Vec<u32>> = HashMap::new();
        for (index, ty) in (0..).zip(&module.types) {
            if let Some(ty) = ty {
                same_types.entry(ty).or_default().push(index);
            }
        }
        let mut found = Self::default();
        let mut pending: Vec<u32> = leaves.into_iter().collect();
        while let Some(function) = pending.pop() {
            if !found.functions.insert(function) {
                continue;
            }
            pending.extend(callers.direct.get(&function).into_iter().flatten());
            if !referenced.contains(&function) {
                continue;
            }
            if module.has_similar_types && !found.all_indirect {
                found.all_indirect = true;
                pending.extend(callers.indirect.values().flatten());
            }
            for ty in module.function_type(function).and_then(|ty| same_types.get(ty)).into_iter().flatten() {
                if !found.types.insert(*ty) {
                    break;
                }
                pending.extend(callers.indirect.get(ty).into_iter().flatten());
            }
        }
        Ok(found)
    }

    /// Whether the program may be left out of this function, one of the module's own.
    pub(super) fn leaves(&self, function: u32) -> bool {
        self.functions.contains(&function)
    }

    /// Whether a question follows this instruction.
    pub(super) fn asks_after(&self, operator: &Operator<'_>) -> bool {
        match operator {
            Operator::Call { function_index } => self.functions.contains(function_index),
            Operator::CallIndirect { type_index, .. } | Operator::CallRef { type_index } => {
                self.all_indirect || self.types.contains(type_index)
            }
            _ => false,
        }
    }
}

impl Callers {
    fn of(module: &Module<'_>) -> Result<Self, BinaryReaderError> {
        let mut callers = Self::default();
        for (function, body) in module.defined() {
            for operator in body.get_operators_reader()? {
                let known = match operator? {
                    Operator::Call { function_index } | Operator::ReturnCall { function_index } => {
                        callers.direct.entry(function_index)
                    }
                    Operator::CallIndirect { type_index, .. }
                    | Operator::ReturnCallIndirect { type_index, .. }
                    | Operator::CallRef { type_index }
                    | Operator::ReturnCallRef { type_index } => callers.indirect.entry(type_index),
                    _ => continue,
                };
                let known = known.or_default();
                if known.last() != Some(&function) {
                    known.push(function);
                }
            }
        }
        Ok(callers)
    }
}

/// Adds the question. `results` have zeros.
pub(super) fn ask(function: &mut Function, unwinding: u32, results: &[wasm_encoder::ValType]) {
    function.instruction(&Instruction::GlobalGet(unwinding));
    function.instruction(&Instruction::If(BlockType::Empty));
    for ty in results {
        function.instruction(&zero(*ty));
    }
    function.instruction(&Instruction::Return);
    function.instruction(&Instruction::End);
}

fn zero(ty: wasm_encoder::ValType) -> Instruction<'static> {
    use wasm_encoder::ValType;
    match ty {
        ValType::I32 => Instruction::I32Const(0),
        ValType::I64 => Instruction::I64Const(0),
        ValType::F32 => Instruction::F32Const(0f32.into()),
        ValType::F64 => Instruction::F64Const(0f64.into()),
        ValType::V128 => Instruction::V128Const(0),
        ValType::Ref(reference) => Instruction::RefNull(reference.heap_type),
    }
}
