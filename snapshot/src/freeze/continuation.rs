//! The rest of a function: what is left to do after the call in which its frame waits.
//!
//! Code before the call is left out, locals and operands are constants. A loop around the call is peeled: the rest of
//! the present round as straight code, then the loop as it was. Nothing tests whether the program was resumed.
//!
//! ```wat
//! (func $main (local $i i32)                 ;; waits in $step, third round: $i is 3
//!   (local.set $i (i32.const 0))
//!   (loop $again
//!     (local.set $i (i32.add (local.get $i) (i32.const 1)))
//!     (call $step (local.get $i))
//!     (br_if $again (i32.lt_u (local.get $i) (i32.const 9)))))
//! ;; gives
//! (func (local $i i32)
//!   (local.set $i (i32.const 3))
//!   (block $exit
//!     (block $again
//!       (call $rest_of_step)
//!       (br_if $again (i32.lt_u (local.get $i) (i32.const 9)))
//!       (br $exit))
//!     (loop $again                            ;; byte for byte
//!       …)))
//! ```

use wasm_encoder::{
    BlockType, Encode as _, Function, Instruction,
    reencode::{Reencode as _, RoundtripReencoder},
};
use wasmparser::{BinaryReader, OperatorsReader, ValType};

use super::{
    Unfreezable,
    capture::{Frame, HostCall},
    relabel::{self, Labels},
    site::{Construct, Level, Site},
};
use crate::{
    program::{Program, Signature},
    types::Types,
};

/// What the frame waits for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Callee<'a> {
    /// The rest of the function it called.
    Continuation(u32),
    /// The host call, which is made again.
    Host(&'a HostCall),
}

/// The body of the rest of `frame`'s function, locals included; its type is `[] -> results`.
pub(super) fn continuation(
    program: &Program<'_>,
    frame: &Frame,
    site: &Site,
    callee: Callee<'_>,
    types: &mut Types,
) -> Result<Vec<u8>, Unfreezable> {
    let locals = locals(program, frame)?;
    let encoded: Result<Vec<_>, _> = locals.iter().map(|ty| RoundtripReencoder.val_type(*ty)).collect();
    let function = Function::new_with_locals_types(encoded.map_err(|_| Unfreezable::Reencode)?);
    let mut emitter = Emitter { program, frame, site, types, out: function.into_raw_body(), labels: vec![Some(0)] };
    emitter.set_locals(&locals)?;
    emitter.descend()?;
    emitter.call(callee)?;
    emitter.ascend()?;
    Ok(emitter.out)
}

/// The types of all locals: parameters become ordinary ones, so that indices stay.
fn locals(program: &Program<'_>, frame: &Frame) -> Result<Vec<ValType>, Unfreezable> {
    let mut types = program.signature(frame.function).params.clone();
    for group in program.body(frame.function).get_locals_reader().map_err(Unfreezable::Invalid)? {
        let (count, ty) = group.map_err(Unfreezable::Invalid)?;
        types.extend(std::iter::repeat_n(ty, count as usize));
    }
    if types.len() != frame.locals.len() {
        return Err(Unfreezable::UnknownPlace { function: frame.function, pc: frame.pc });
    }
    if types.iter().any(|ty| !ty.is_defaultable()) {
        return Err(Unfreezable::NonNullableLocal { function: frame.function });
    }
    Ok(types)
}

struct Emitter<'a> {
    program: &'a Program<'a>,
    frame: &'a Frame,
    site: &'a Site,
    types: &'a mut Types,
    out: Vec<u8>,
    labels: Labels,
}

impl Emitter<'_> {
    fn emit(&mut self, instruction: &Instruction<'_>) {
        instruction.encode(&mut self.out);
    }

    fn set_locals(&mut self, types: &[ValType]) -> Result<(), Unfreezable> {
        for (index, (value, ty)) in (0..).zip(self.frame.locals.iter().zip(types)) {
            if !value.is_default() {
                self.emit(&value.instruction(*ty)?);
                self.emit(&Instruction::LocalSet(index));
            }
        }
        Ok(())
    }

    /// Opens every level, and pushes the operands which wait in it.
    fn descend(&mut self) -> Result<(), Unfreezable> {
        let site = self.site;
        for (index, level) in site.levels.iter().enumerate() {
            if index > 0 {
                self.enter(index, level)?;
            }
            let top = site.levels.get(index + 1).map_or(site.operands.len(), |inner| inner.height);
            for operand in level.height..top {
                let value = self.frame.operands[site.places[operand]];
                self.emit(&value.instruction(site.operands[operand])?);
            }
        }
        Ok(())
    }

    fn enter(&mut self, index: usize, level: &Level) -> Result<(), Unfreezable> {
        let Signature { params, results } = self.program.block(level.ty);
        let left = self.block_type(&results)?;
        match level.construct {
            Construct::Function | Construct::Block => {
                self.emit(&Instruction::Block(left));
                self.labels.push(Some(index));
            }
            Construct::Loop => {
                self.emit(&Instruction::Block(left));
                self.labels.push(None);
                // A branch to the loop ends the peeled round, with the loop's parameters.
                let again = self.block_type(&params)?;
                self.emit(&Instruction::Block(again));
                self.labels.push(Some(index));
            }
            Construct::TryTable => {
                let range = level.opener.clone();
                let mut reader =
                    OperatorsReader::new(BinaryReader::new(&self.program.wasm[range.clone()], range.start));
                let opener = reader.read().map_err(Unfreezable::Invalid)?;
                self.emit(&relabel::try_table(&opener, left, index, &self.labels)?);
                self.labels.push(Some(index));
            }
        }
        Ok(())
    }

    fn block_type(&mut self, results: &[ValType]) -> Result<BlockType, Unfreezable> {
        Ok(match results {
            [] => BlockType::Empty,
            [result] => BlockType::Result(RoundtripReencoder.val_type(*result).map_err(|_| Unfreezable::Reencode)?),
            results => BlockType::FunctionType(self.types.giving(results)),
        })
    }

    fn call(&mut self, callee: Callee<'_>) -> Result<(), Unfreezable> {
        match callee {
            Callee::Continuation(index) => self.emit(&Instruction::Call(index)),
            Callee::Host(call) => {
                // Its arguments are those which the host got: it may have been reached by a tail call.
                let params = &self.program.signature(call.import).params;
                for (argument, ty) in call.arguments.iter().zip(params) {
                    self.emit(&argument.instruction(*ty)?);
                }
                self.emit(&Instruction::Call(call.import));
            }
        }
        Ok(())
    }

    /// Copies what is left of each level, and closes it.
    fn ascend(&mut self) -> Result<(), Unfreezable> {
        let site = self.site;
        let mut from = site.call.end;
        for (index, level) in site.levels.iter().enumerate().rev() {
            relabel::copy(&mut self.out, self.program.wasm, from..level.part_end, index, &self.labels)?;
            if level.construct == Construct::Loop {
                self.emit(&Instruction::Br(1));
                self.close();
                let whole = level.opener.start..level.close;
                relabel::copy(&mut self.out, self.program.wasm, whole, index - 1, &self.labels)?;
            }
            self.close();
            from = level.close;
        }
        Ok(())
    }

    fn close(&mut self) {
        self.emit(&Instruction::End);
        self.labels.pop();
    }
}
