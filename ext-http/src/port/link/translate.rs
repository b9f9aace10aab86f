//! Where indices lead to in the output, and what is written instead of some instructions.

use wasm_encoder::{
    CodeSection, Function, Instruction,
    reencode::{Error, Reencode, utils},
};
use wasmparser::{FunctionBody, Operator};

use super::{LinkError, unwind, unwind::Unwinding};
use crate::port::module::Module;

/// The place of a function which is not in the output.
pub(super) const NOWHERE: u32 = u32::MAX;

/// Translates one of the two modules.
pub(super) struct Translation {
    functions: Vec<u32>,
    types: u32,
    globals: u32,
    /// What stands for `memory.size` and `memory.grow`.
    memory: Option<(u32, u32)>,
    leaving: Option<Leaving>,
}

/// How the program is left.
struct Leaving {
    unwinding: Unwinding,
    global: u32,
    /// Of the function which is being written, if it can be left.
    results: Option<Vec<wasm_encoder::ValType>>,
}

impl Translation {
    /// The program: its functions move, it sees its own memory, and it can be left, which a global tells.
    pub(super) fn of_program(functions: Vec<u32>, memory: (u32, u32), leaving: Option<(Unwinding, u32)>) -> Self {
        let leaving = leaving.map(|(unwinding, global)| Leaving { unwinding, global, results: None });
        Self { functions, types: 0, globals: 0, memory: Some(memory), leaving }
    }

    /// The trampolines: everything of theirs comes behind the program's.
    pub(super) fn of_trampolines(functions: Vec<u32>, types: u32, globals: u32) -> Self {
        Self { functions, types, globals, memory: None, leaving: None }
    }

    /// Where a function went.
    pub(super) fn function(&self, index: u32) -> u32 {
        self.functions.get(index as usize).copied().unwrap_or(NOWHERE)
    }

    /// The function whose body comes next, one of `module`'s.
    pub(super) fn begin_function(&mut self, index: u32, module: &Module<'_>) -> Result<(), LinkError> {
        let results = match module.function_type(index) {
            Some(ty) => ty.results().iter().map(|ty| self.val_type(*ty)).collect::<Result<Vec<_>, _>>()?,
            None => Vec::new(),
        };
        if let Some(leaving) = &mut self.leaving {
            leaving.results = leaving.unwinding.leaves(index).then_some(results);
        }
        Ok(())
    }

    /// Adds the question whether the program is being left, if this instruction may be where.
    fn ask(&self, function: &mut Function, operator: &Operator<'_>) {
        if let Some(Leaving { unwinding, global, results: Some(results) }) = &self.leaving
            && unwinding.asks_after(operator)
        {
            unwind::ask(function, *global, results);
        }
    }
}

impl Reencode for Translation {
    type Error = std::convert::Infallible;

    fn type_index(&mut self, index: u32) -> Result<u32, Error> {
        Ok(self.types + index)
    }

    fn function_index(&mut self, index: u32) -> Result<u32, Error> {
        Ok(self.function(index))
    }

    fn global_index(&mut self, index: u32) -> Result<u32, Error> {
        Ok(self.globals + index)
    }

    fn instruction<'a>(&mut self, operator: Operator<'a>) -> Result<Instruction<'a>, Error> {
        match (&operator, self.memory) {
            (Operator::MemorySize { mem: 0 }, Some((size, _))) => Ok(Instruction::Call(size)),
            (Operator::MemoryGrow { mem: 0 }, Some((_, grow))) => Ok(Instruction::Call(grow)),
            _ => utils::instruction(self, operator),
        }
    }

    fn parse_function_body(&mut self, code: &mut CodeSection, body: FunctionBody<'_>) -> Result<(), Error> {
        let mut function = self.new_function_with_parsed_locals(&body)?;
        for operator in body.get_operators_reader()? {
            let operator = operator?;
            function.instruction(&self.instruction(operator.clone())?);
            self.ask(&mut function, &operator);
        }
        code.function(&function);
        Ok(())
    }
}
