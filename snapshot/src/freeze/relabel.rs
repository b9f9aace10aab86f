//! Copies instructions to a place with other constructs around them: only the depths of branches change.

use std::{borrow::Cow, ops::Range};

use wasm_encoder::{
    Catch, Encode as _, Instruction,
    reencode::{Reencode as _, RoundtripReencoder},
};
use wasmparser::{BinaryReader, Operator, OperatorsReader};

use super::Unfreezable;

/// The labels which are open in the new code, the outermost first: the original level each stands for, if any.
pub(super) type Labels = Vec<Option<usize>>;

/// Copies the instructions of `range`, which stand in the original at `level`, counted from the function's 0.
pub(super) fn copy(
    out: &mut Vec<u8>,
    wasm: &[u8],
    range: Range<usize>,
    level: usize,
    labels: &Labels,
) -> Result<(), Unfreezable> {
    let mut operators = OperatorsReader::new(BinaryReader::new(&wasm[range.clone()], range.start));
    // Constructs of the copied code which are open.
    let mut nesting = 0;
    while !operators.eof() {
        let start = operators.original_position();
        let operator = operators.read().map_err(Unfreezable::Invalid)?;
        let end = operators.original_position();
        let depths = Depths { nesting, level, labels };
        match relabelled(&operator, &depths)? {
            Some(instruction) => instruction.encode(out),
            None => out.extend_from_slice(&wasm[start..end]),
        }
        match operator {
            Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } | Operator::TryTable { .. } => {
                nesting += 1;
            }
            Operator::End => nesting -= 1,
            _ => {}
        }
    }
    Ok(())
}

/// The `try_table` which opens the original level `level`, for the new place.
pub(super) fn try_table(
    operator: &Operator<'_>,
    results: wasm_encoder::BlockType,
    level: usize,
    labels: &Labels,
) -> Result<Instruction<'static>, Unfreezable> {
    let Operator::TryTable { try_table } = operator else { return Err(Unfreezable::Reencode) };
    // Labels of clauses are counted from outside of it.
    let depths = Depths { nesting: 0, level: level - 1, labels };
    Ok(Instruction::TryTable(results, catches(&try_table.catches, &depths)?))
}

/// How deep branches go.
struct Depths<'a> {
    nesting: u32,
    level: usize,
    labels: &'a Labels,
}

impl Depths<'_> {
    fn map(&self, depth: u32) -> Result<u32, Unfreezable> {
        let Some(outwards) = depth.checked_sub(self.nesting) else { return Ok(depth) };
        let target = self.level.checked_sub(outwards as usize).ok_or(Unfreezable::Reencode)?;
        let place = self.labels.iter().rposition(|label| *label == Some(target)).ok_or(Unfreezable::Reencode)?;
        let distance = u32::try_from(self.labels.len() - 1 - place).map_err(|_| Unfreezable::Reencode)?;
        Ok(self.nesting + distance)
    }
}

/// An instruction with labels, for the new place; `None` if it has none.
fn relabelled(operator: &Operator<'_>, depths: &Depths<'_>) -> Result<Option<Instruction<'static>>, Unfreezable> {
    let reference = |ty| RoundtripReencoder.ref_type(ty).map_err(|_| Unfreezable::Reencode);
    Ok(Some(match operator {
        Operator::Br { relative_depth } => Instruction::Br(depths.map(*relative_depth)?),
        Operator::BrIf { relative_depth } => Instruction::BrIf(depths.map(*relative_depth)?),
        Operator::BrOnNull { relative_depth } => Instruction::BrOnNull(depths.map(*relative_depth)?),
        Operator::BrOnNonNull { relative_depth } => Instruction::BrOnNonNull(depths.map(*relative_depth)?),
        Operator::BrOnCast { relative_depth, from_ref_type, to_ref_type } => Instruction::BrOnCast {
            relative_depth: depths.map(*relative_depth)?,
            from_ref_type: reference(*from_ref_type)?,
            to_ref_type: reference(*to_ref_type)?,
        },
        Operator::BrOnCastFail { relative_depth, from_ref_type, to_ref_type } => Instruction::BrOnCastFail {
            relative_depth: depths.map(*relative_depth)?,
            from_ref_type: reference(*from_ref_type)?,
            to_ref_type: reference(*to_ref_type)?,
        },
        Operator::BrTable { targets } => {
            let depth = |target: wasmparser::Result<u32>| depths.map(target.map_err(Unfreezable::Invalid)?);
            let others: Vec<_> = targets.targets().map(depth).collect::<Result<_, _>>()?;
            Instruction::BrTable(others.into(), depths.map(targets.default())?)
        }
        Operator::TryTable { try_table } => {
            let ty = RoundtripReencoder.block_type(try_table.ty).map_err(|_| Unfreezable::Reencode)?;
            Instruction::TryTable(ty, catches(&try_table.catches, depths)?)
        }
        _ => return Ok(None),
    }))
}

fn catches(catches: &[wasmparser::Catch], depths: &Depths<'_>) -> Result<Cow<'static, [Catch]>, Unfreezable> {
    let catch = |catch: &wasmparser::Catch| {
        Ok(match *catch {
            wasmparser::Catch::One { tag, label } => Catch::One { tag, label: depths.map(label)? },
            wasmparser::Catch::OneRef { tag, label } => Catch::OneRef { tag, label: depths.map(label)? },
            wasmparser::Catch::All { label } => Catch::All { label: depths.map(label)? },
            wasmparser::Catch::AllRef { label } => Catch::AllRef { label: depths.map(label)? },
        })
    };
    catches.iter().map(catch).collect()
}
