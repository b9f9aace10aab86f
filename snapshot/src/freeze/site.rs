//! Where in a function a frame stands: the call, and the constructs around it.

use std::{collections::BTreeMap, ops::Range};

use wasmparser::{
    BlockType, FuncToValidate, FuncValidator, FunctionBody, Operator, OperatorsReader, Parser, ValType, ValidPayload,
    Validator, ValidatorResources, WasmModuleResources,
};

use super::{Unfreezable, capture::Frame};
use crate::program::Program;

/// What a construct is, as far as its rest is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Construct {
    Function,
    /// `block`, or an arm of `if`: the rest is left by its end.
    Block,
    Loop,
    TryTable,
}

/// One construct around the call.
#[derive(Clone, Debug)]
pub(super) struct Level {
    pub(super) construct: Construct,
    pub(super) ty: BlockType,
    /// Operands below the construct's parameters.
    pub(super) height: usize,
    /// The instruction which opens it.
    pub(super) opener: Range<usize>,
    /// Where the part with the call stops: at `else`, or at `end`.
    pub(super) part_end: usize,
    /// Behind its `end`.
    pub(super) close: usize,
    /// It handles exceptions.
    handles: bool,
    /// Parameters of an `if`, in its first arm.
    doubled: usize,
}

/// A call, and what is around it.
#[derive(Clone, Debug)]
pub(super) struct Site {
    /// The outermost, which is the function, first.
    pub(super) levels: Vec<Level>,
    /// The call instruction.
    pub(super) call: Range<usize>,
    /// The types of the operands below the call's own.
    pub(super) operands: Vec<ValType>,
    /// Where each of them is among those of the frame.
    pub(super) places: Vec<usize>,
}

/// More nested `if`s with parameters than this are not sorted out.
const MAX_ARMS: usize = 8;

/// The sites of all frames, by function and program counter.
pub(super) type Sites = BTreeMap<(u32, usize), Site>;

/// Finds the site of each frame.
pub(super) fn find(program: &Program<'_>, frames: &[Frame]) -> Result<Sites, Unfreezable> {
    let mut wanted: BTreeMap<u32, Vec<&Frame>> = BTreeMap::new();
    for frame in frames {
        wanted.entry(frame.function).or_default().push(frame);
    }
    let mut sites = Sites::new();
    let mut validator = Validator::new();
    for payload in Parser::new(0).parse_all(program.wasm) {
        let payload = payload.map_err(Unfreezable::Invalid)?;
        if let ValidPayload::Func(function, body) = validator.payload(&payload).map_err(Unfreezable::Invalid)? {
            let index = function.index;
            if let Some(frames) = wanted.get(&index) {
                let search = Search::new(index, function, frames);
                search.run(&body, &mut sites).map_err(Unfreezable::Invalid)?;
            }
        }
    }
    // A frame whose site was not found, or with other operands, is not where we think it is.
    for frame in frames {
        let is_sound = sites
            .get(&(frame.function, frame.pc))
            .is_some_and(|site| site.operands.len() <= frame.operands.len() && !site.levels.is_empty());
        if !is_sound {
            return Err(Unfreezable::UnknownPlace { function: frame.function, pc: frame.pc });
        }
    }
    Ok(sites)
}

/// One pass over a function: the validator tells heights and types of operands.
struct Search<'a> {
    function: u32,
    validator: FuncValidator<ValidatorResources>,
    frames: &'a [&'a Frame],
    /// Constructs which are open.
    open: Vec<Level>,
    /// Sites of which a level is still open, and how many are.
    unfinished: Vec<(usize, Site, usize)>,
}

impl<'a> Search<'a> {
    fn new(function: u32, to_validate: FuncToValidate<ValidatorResources>, frames: &'a [&'a Frame]) -> Self {
        let validator = to_validate.into_validator(Default::default());
        Self { function, validator, frames, open: Vec::new(), unfinished: Vec::new() }
    }

    fn run(mut self, body: &FunctionBody<'_>, sites: &mut Sites) -> wasmparser::Result<()> {
        let mut reader = body.get_binary_reader();
        self.validator.read_locals(&mut reader)?;
        let mut operators = OperatorsReader::new(reader);
        let start = operators.original_position();
        self.push(Construct::Function, BlockType::Empty, start..start, false);
        while !operators.eof() {
            let at = operators.original_position();
            let operator = operators.read()?;
            let range = at..operators.original_position();
            self.look_for_call(&operator, &range);
            self.close(&operator, &range, sites);
            self.validator.op(at, &operator)?;
            self.open(&operator, range);
        }
        Ok(())
    }

    fn push(&mut self, construct: Construct, ty: BlockType, opener: Range<usize>, handles: bool) {
        let height = self.validator.get_control_frame(0).map_or(0, |frame| frame.height);
        self.open.push(Level { construct, ty, height, opener, part_end: 0, close: 0, handles, doubled: 0 });
    }

    /// A frame's program counter is the end of its call. Under a handler, Wasmtime 48 loses the program point of a
    /// call and tells the one before, which is the call's start; the operands tell the two apart.
    fn look_for_call(&mut self, operator: &Operator<'_>, range: &Range<usize>) {
        let Some((arguments, callee)) = self.pops(operator) else { return };
        let height = self.validator.operand_stack_height() as usize;
        // In dead code there may be less on the stack than a call takes.
        let Some(base) = height.checked_sub(arguments + callee) else { return };
        let is_handled = self.open.iter().any(|level| level.handles);
        let (pc, operands) = if is_handled { (range.start, height) } else { (range.end, height - callee) };
        let here = self.frames.iter().find(|frame| frame.pc == pc);
        let Some(surplus) = here.and_then(|frame| frame.operands.len().checked_sub(operands)) else { return };
        let Some(places) = self.places(base, surplus) else { return };
        let types = (0..base).map(|i| self.validator.get_operand_type(height - 1 - i).flatten());
        if let Some(operands) = types.collect() {
            let site = Site { levels: self.open.clone(), call: range.clone(), operands, places };
            self.unfinished.push((pc, site, self.open.len()));
        }
    }

    /// Where the lowest `count` operands are among those which the frame has, `surplus` too many.
    ///
    /// Wasmtime 48 keeps an `if`'s parameters twice in its first arm, for the other arm. Once the upper ones are taken,
    /// the lower ones show up in the frame, below all that the arm has pushed. It is not known of which of several
    /// `if`s they are, unless it makes no difference.
    fn places(&self, count: usize, surplus: usize) -> Option<Vec<usize>> {
        let arms: Vec<_> = self.open.iter().filter(|level| level.doubled > 0).collect();
        if surplus == 0 {
            return Some((0..count).collect());
        }
        if arms.len() > MAX_ARMS {
            return None;
        }
        let mut found = None;
        for choice in 0..1u32 << arms.len() {
            let shown: Vec<_> =
                (0..).zip(&arms).filter(|(arm, _)| choice >> arm & 1 == 1).map(|(_, arm)| arm).collect();
            if shown.iter().map(|arm| arm.doubled).sum::<usize>() != surplus {
                continue;
            }
            let below =
                |operand| shown.iter().filter(|arm| arm.height <= operand).map(|arm| arm.doubled).sum::<usize>();
            let places: Vec<usize> = (0..count).map(|operand| operand + below(operand)).collect();
            if *found.get_or_insert_with(|| places.clone()) != places {
                return None;
            }
        }
        found
    }

    /// How many arguments a call takes, and whether it takes the callee from the stack, too.
    fn pops(&self, operator: &Operator<'_>) -> Option<(usize, usize)> {
        let resources = self.validator.resources();
        let params = |ty: u32| resources.sub_type_at(ty).map(|ty| ty.unwrap_func().params().len());
        match operator {
            Operator::Call { function_index } => {
                let ty = resources.type_id_of_function(*function_index)?;
                Some((resources.sub_type_at_id(ty).unwrap_func().params().len(), 0))
            }
            Operator::CallIndirect { type_index, .. } | Operator::CallRef { type_index } => {
                Some((params(*type_index)?, 1))
            }
            _ => None,
        }
    }

    fn close(&mut self, operator: &Operator<'_>, range: &Range<usize>, sites: &mut Sites) {
        match operator {
            Operator::Else => {
                let depth = self.open.len();
                self.open[depth - 1].doubled = 0;
                for (_, site, open) in &mut self.unfinished {
                    if *open == depth && site.levels[depth - 1].part_end == 0 {
                        site.levels[depth - 1].part_end = range.start;
                    }
                }
            }
            Operator::End => {
                let depth = self.open.len();
                self.open.pop();
                for (_, site, open) in &mut self.unfinished {
                    if *open == depth {
                        let level = &mut site.levels[depth - 1];
                        if level.part_end == 0 {
                            level.part_end = range.start;
                        }
                        level.close = range.end;
                        *open = depth - 1;
                    }
                }
                for (pc, site, _) in self.unfinished.extract_if(.., |(_, _, open)| *open == 0) {
                    sites.insert((self.function, pc), site);
                }
            }
            _ => {}
        }
    }

    fn open(&mut self, operator: &Operator<'_>, range: Range<usize>) {
        match operator {
            Operator::Block { blockty } => self.push(Construct::Block, *blockty, range, false),
            Operator::If { blockty } => {
                self.push(Construct::Block, *blockty, range, false);
                let height = self.validator.operand_stack_height() as usize;
                if let Some(level) = self.open.last_mut() {
                    level.doubled = height - level.height;
                }
            }
            Operator::Loop { blockty } => self.push(Construct::Loop, *blockty, range, false),
            Operator::TryTable { try_table } => {
                self.push(Construct::TryTable, try_table.ty, range, !try_table.catches.is_empty());
            }
            _ => {}
        }
    }
}
