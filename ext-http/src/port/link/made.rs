//! Functions which are made for each program.

use wasm_encoder::{Function, Instruction};

use super::LinkError;
use crate::port::setup::{Setup, Step};

/// Calls the trampolines which tell the shim what was decided, and give a frozen program its host back. `callee` gives
/// the index of a trampoline.
pub(super) fn setup(setup: &Setup, callee: impl Fn(&str) -> Result<u32, LinkError>) -> Result<Function, LinkError> {
    let mut function = Function::new([]);
    for step in setup.steps() {
        let call = Instruction::Call(callee(step.callee())?);
        for argument in step.arguments() {
            function.instruction(&argument);
        }
        function.instruction(&call);
        match step {
            Step::Options(_) | Step::Clock { .. } | Step::Socket { .. } => {}
            // Closed already, in an instance which is used again.
            Step::Close(_) => {
                function.instruction(&Instruction::Drop);
            }
            // Without random bytes of its own, an instance must not run.
            Step::Reseed(_) => {
                function.instruction(&Instruction::If(wasm_encoder::BlockType::Empty));
                function.instruction(&Instruction::Unreachable);
                function.instruction(&Instruction::End);
            }
        }
    }
    function.instruction(&Instruction::End);
    Ok(function)
}

pub(super) fn nothing() -> Function {
    let mut function = Function::new([]);
    function.instruction(&Instruction::End);
    function
}

/// How many pages of memory an instance starts with.
pub(super) fn pages(initial: u64) -> Function {
    let mut function = Function::new([]);
    // A memory with 32-bit addresses has at most 2^16.
    function.instruction(&Instruction::I32Const(i32::try_from(initial).unwrap_or(i32::MAX)));
    function.instruction(&Instruction::End);
    function
}
