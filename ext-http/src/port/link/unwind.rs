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

use std::collections::BTreeSet;

use wasm_encoder::{BlockType, Function, Instruction};
use wasmparser::{BinaryReaderError, Operator};

use super::super::module::Module;

/// The calls which may end in leaving.
pub(super) struct Unwinding {
    functions: BTreeSet<u32>,
    types: BTreeSet<u32>,
    /// With subtypes, a type does not tell what is called.
    all_indirect: bool,
}

/// The calls of one function.
struct Calls {
    function: u32,
    direct: BTreeSet<u32>,
    indirect: BTreeSet<u32>,
    by_reference: bool,
}

impl Unwinding {
    /// Follows calls back from `leaves`, the imports which may leave.
    pub(super) fn of(module: &Module<'_>, leaves: BTreeSet<u32>) -> Result<Self, BinaryReaderError> {
        let referenced = module.referenced()?;
        let calls: Vec<_> = module.defined().map(|(function, body)| calls(function, body)).collect::<Result<_, _>>()?;
        let mut found = Self { functions: leaves, types: BTreeSet::new(), all_indirect: false };
        loop {
            let before = found.size();
            found.add_types(module, &referenced);
            for calls in &calls {
                if found.may_leave(calls) {
                    found.functions.insert(calls.function);
                }
            }
            if found.size() == before {
                return Ok(found);
            }
        }
    }

    fn size(&self) -> (usize, usize) {
        (self.functions.len(), self.types.len())
    }

    fn add_types(&mut self, module: &Module<'_>, referenced: &BTreeSet<u32>) {
        for function in self.functions.intersection(referenced) {
            self.all_indirect |= module.has_subtypes;
            let ty = module.function_type(*function);
            let same = (0..).zip(&module.types).filter(|(_, other)| other.is_some() && other.as_ref() == ty);
            self.types.extend(same.map(|(index, _)| index));
        }
    }

    fn may_leave(&self, calls: &Calls) -> bool {
        let is_indirect = !calls.indirect.is_empty() || calls.by_reference;
        !calls.direct.is_disjoint(&self.functions)
            || !calls.indirect.is_disjoint(&self.types)
            || (self.all_indirect && is_indirect)
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

fn calls(function: u32, body: &wasmparser::FunctionBody<'_>) -> Result<Calls, BinaryReaderError> {
    let mut calls = Calls { function, direct: BTreeSet::new(), indirect: BTreeSet::new(), by_reference: false };
    for operator in body.get_operators_reader()? {
        match operator? {
            Operator::Call { function_index } | Operator::ReturnCall { function_index } => {
                calls.direct.insert(function_index);
            }
            Operator::CallIndirect { type_index, .. } | Operator::ReturnCallIndirect { type_index, .. } => {
                calls.indirect.insert(type_index);
            }
            Operator::CallRef { type_index } | Operator::ReturnCallRef { type_index } => {
                calls.by_reference = true;
                calls.indirect.insert(type_index);
            }
            _ => {}
        }
    }
    Ok(calls)
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
