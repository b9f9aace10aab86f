//! Functions which are made for each program.

use wasm_encoder::{Function, Instruction};

use super::{LinkError, unwind};
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

/// Runs the program. Its start function would run before the shim knows of a request, or of what a frozen program holds;
/// so it runs here, and `_start` does not if the program was left.
pub(super) fn run(start: Option<u32>, entry: u32, unwinding: u32) -> Function {
    let mut function = Function::new([]);
    if let Some(start) = start {
        function.instruction(&Instruction::Call(start));
        unwind::ask(&mut function, unwinding, &[]);
    }
    function.instruction(&Instruction::Call(entry));
    function.instruction(&Instruction::End);
    function
}

/// A number, below 2^32.
pub(super) fn number(number: u64) -> Function {
    let mut function = Function::new([]);
    function.instruction(&Instruction::I32Const(u32::try_from(number).unwrap_or(u32::MAX).cast_signed()));
    function.instruction(&Instruction::End);
    function
}
