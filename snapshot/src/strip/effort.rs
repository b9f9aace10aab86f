//! Programs which are small, and would keep walrus busy for hours or fill the machine's memory.

use wasmparser::{BlockType, Operator};

use super::StripError;
use crate::program::Program;

/// Locals of all functions together. Four bytes declare 50,000 of them, and walrus keeps about a hundred bytes for each;
/// programs of 50 MB have two million.
const MAX_LOCALS: u64 = 4_000_000;
/// Steps which walrus makes in lists that it searches from one end to the other: a few seconds.
const MAX_STEPS: u64 = 2_000_000_000;
/// Places in the file are 32-bit numbers to walrus.
const MAX_BYTES: usize = u32::MAX as usize - 1;

/// Refuses a program which takes too much.
pub(super) fn check(program: &Program<'_>) -> Result<(), StripError> {
    if program.wasm.len() > MAX_BYTES {
        return Err(StripError::TooLarge { what: "many bytes" });
    }
    let Effort { locals, steps } = Effort::of(program).map_err(StripError::Unsupported)?;
    if locals > MAX_LOCALS {
        return Err(StripError::TooLarge { what: "many locals" });
    }
    if steps > MAX_STEPS {
        return Err(StripError::TooLarge { what: "deeply nested blocks, or too many types," });
    }
    Ok(())
}

#[derive(Default)]
struct Effort {
    locals: u64,
    steps: u64,
}

impl Effort {
    fn of(program: &Program<'_>) -> wasmparser::Result<Self> {
        let mut effort = Self::default();
        // Each function looks its result types up among all types, and so does each block with parameters.
        let types = u64::from(program.type_count()) + program.bodies.len() as u64;
        for body in &program.bodies {
            effort.step(types);
            for local in body.get_locals_reader()? {
                effort.locals += u64::from(local?.0);
            }
            for operator in body.get_operators_reader()? {
                match operator? {
                    Operator::Block { blockty } | Operator::Loop { blockty } | Operator::If { blockty } => {
                        effort.block(program, blockty, types);
                    }
                    Operator::TryTable { try_table } => {
                        effort.block(program, try_table.ty, types);
                        for catch in try_table.catches {
                            effort.step(u64::from(label(catch)));
                        }
                    }
                    // The target of a branch is looked for from the inside out.
                    Operator::Br { relative_depth } | Operator::BrIf { relative_depth } => {
                        effort.step(u64::from(relative_depth));
                    }
                    Operator::BrTable { targets } => {
                        effort.step(u64::from(targets.default()));
                        for target in targets.targets() {
                            effort.step(u64::from(target?));
                        }
                    }
                    _ => {}
                }
            }
        }
        Ok(effort)
    }

    fn block(&mut self, program: &Program<'_>, ty: BlockType, types: u64) {
        if let BlockType::FuncType(_) = ty {
            let signature = program.block(ty);
            let values = signature.params.len() + signature.results.len();
            self.step(types + 16 * values as u64);
        }
    }

    fn step(&mut self, steps: u64) {
        self.steps = self.steps.saturating_add(steps);
    }
}

fn label(catch: wasmparser::Catch) -> u32 {
    match catch {
        wasmparser::Catch::One { label, .. }
        | wasmparser::Catch::OneRef { label, .. }
        | wasmparser::Catch::All { label }
        | wasmparser::Catch::AllRef { label } => label,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(wat: &str) -> Result<(), StripError> {
        let wasm = wat::parse_str(wat).expect("valid text");
        check(&Program::parse(&wasm).expect("valid"))
    }

    #[test]
    fn what_takes_too_much_is_refused() {
        let locals = format!("(func (local {}))", "i32 ".repeat(40_000));
        assert!(checked(&format!("(module {locals})")).is_ok());
        let result = checked(&format!("(module {})", locals.repeat(101)));
        assert!(matches!(result, Err(StripError::TooLarge { what: "many locals" })));

        let nested = |depth: usize| {
            let (blocks, branches) = ("(block ".repeat(depth), format!("(br {depth})").repeat(depth));
            checked(&format!("(module (func {blocks}{branches}{}))", ")".repeat(depth)))
        };
        assert!(nested(1000).is_ok());
        assert!(matches!(nested(50_000), Err(StripError::TooLarge { .. })));
    }
}
