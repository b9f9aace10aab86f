//! Using an instance again: what it starts with is put back.
//!
//! ```wat
//! (data $blob "…")                                          ;; all content of the memory, compressed
//! (func $restore
//!   (global.set $stack_pointer (i32.const 1048576))         ;; each mutable global
//!   (memory.init $blob (i32.const SCRATCH) (i32.const 0) (i32.const LENGTH))
//!   (call $unpack (i32.const 1024) (i32.const SCRATCH) (i32.const LENGTH)))
//! ```
//!
//! Hosts are free to give an instance several requests; none must see what an earlier one left. The program's own
//! segments stay as they are: hosts map them copy-on-write, which makes a fresh instance cheap, whatever its size. They
//! are gone once an instance has started, so there is a second copy, which costs little as it is compressed. Memory is
//! wiped before, by the trampoline `$recycle`.

use wasm_encoder::{
    DataSection, ElementMode, ElementSection, ElementSegment, Function, Instruction, reencode::Reencode as _,
};
use wasmparser::{Data, DataKind, Element, ElementItems, ElementKind, Operator, TableInit};

use super::{LinkError, count, layout::PAGE, translate::Translation};
use crate::port::module::Module;

/// What an instance starts with.
pub(super) struct Recycling<'a> {
    program: &'a Module<'a>,
    /// If code changes tables: the segments that they start with.
    elements: Vec<&'a Element<'a>>,
    /// The segments of memory, compressed, one behind the other.
    blob: Vec<u8>,
    /// Each with its length in the blob.
    data: Vec<(&'a Data<'a>, usize)>,
}

impl<'a> Recycling<'a> {
    pub(super) fn of(program: &'a Module<'a>) -> Result<Self, LinkError> {
        let is_active = |element: &&Element<'_>| matches!(element.kind, ElementKind::Active { .. });
        let elements = match changes_tables(program)? {
            true => program.elements.iter().filter(is_active).collect(),
            false => Vec::new(),
        };
        let mut blob = Vec::new();
        let mut data = Vec::new();
        for segment in program.data.iter().filter(|segment| matches!(segment.kind, DataKind::Active { .. })) {
            let packed = lz4_flex::block::compress(segment.data);
            data.push((segment, packed.len()));
            blob.extend(packed);
        }
        Ok(Self { program, elements, blob, data })
    }

    /// Pages which hold the blob while memory is restored.
    pub(super) fn scratch_pages(&self) -> u64 {
        (self.blob.len() as u64).div_ceil(PAGE)
    }

    /// Segments of elements once more, behind the program's.
    pub(super) fn elements(
        &self,
        section: &mut ElementSection,
        translation: &mut Translation,
    ) -> Result<(), LinkError> {
        for element in &self.elements {
            let elements = translation.element_items(element.items.clone())?;
            section.segment(ElementSegment { mode: ElementMode::Passive, elements });
        }
        Ok(())
    }

    /// The blob, behind the program's segments.
    pub(super) fn data(&self, section: &mut DataSection) {
        section.passive(self.blob.iter().copied());
    }

    /// Whether it may leave files open.
    pub(super) fn closes_files(program: &Module<'_>) -> bool {
        program.imports.iter().any(|import| import.name == "path_open")
    }

    /// The function which puts everything back; `unpack` and `close_files` are the trampolines of these names, and `scratch`
    /// the address of the pages for the blob.
    pub(super) fn restore(
        &self,
        (unpack, close_files): (u32, Option<u32>),
        scratch: u64,
        translation: &mut Translation,
    ) -> Result<Function, LinkError> {
        let mut function = Function::new([]);
        for (index, global) in (0..).zip(&self.program.globals).filter(|(_, global)| global.ty.mutable) {
            constant(&mut function, &global.init_expr, translation)?;
            function.instruction(&Instruction::GlobalSet(index));
        }
        self.restore_tables(&mut function, translation)?;
        let mut at = usize::try_from(scratch).unwrap_or(usize::MAX);
        if !self.data.is_empty() {
            for number in [at, 0, self.blob.len()].map(number) {
                function.instruction(&number);
            }
            function.instruction(&Instruction::MemoryInit { mem: 0, data_index: count(&self.program.data) });
        }
        for (segment, length) in &self.data {
            if let DataKind::Active { offset_expr, .. } = &segment.kind {
                constant(&mut function, offset_expr, translation)?;
                function.instruction(&number(at));
                function.instruction(&number(*length));
                function.instruction(&Instruction::Call(unpack));
            }
            at += length;
        }
        if let Some(close_files) = close_files {
            function.instruction(&Instruction::Call(close_files));
        }
        function.instruction(&Instruction::End);
        Ok(function)
    }

    fn restore_tables(&self, function: &mut Function, translation: &mut Translation) -> Result<(), LinkError> {
        if self.elements.is_empty() {
            return Ok(());
        }
        for (index, table) in (0..).zip(&self.program.tables) {
            function.instruction(&match table.ty.table64 {
                true => Instruction::I64Const(0),
                false => Instruction::I32Const(0),
            });
            match &table.init {
                TableInit::RefNull => {
                    let ty = translation.ref_type(table.ty.element_type)?;
                    function.instruction(&Instruction::RefNull(ty.heap_type));
                }
                TableInit::Expr(value) => constant(function, value, translation)?,
            }
            function.instruction(&Instruction::TableSize(index));
            function.instruction(&Instruction::TableFill(index));
        }
        for (copy, element) in (count(&self.program.elements)..).zip(&self.elements) {
            let ElementKind::Active { table_index, offset_expr } = &element.kind else { continue };
            constant(function, offset_expr, translation)?;
            function.instruction(&Instruction::I32Const(0));
            function.instruction(&number(items(&element.items)));
            function.instruction(&Instruction::TableInit { elem_index: copy, table: table_index.unwrap_or(0) });
        }
        Ok(())
    }
}

fn changes_tables(program: &Module<'_>) -> Result<bool, LinkError> {
    for body in &program.bodies {
        for operator in body.get_operators_reader()? {
            if matches!(
                operator?,
                Operator::TableSet { .. }
                    | Operator::TableFill { .. }
                    | Operator::TableCopy { .. }
                    | Operator::TableInit { .. }
            ) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// The instructions of a constant are instructions of code too.
fn constant(
    function: &mut Function,
    value: &wasmparser::ConstExpr<'_>,
    translation: &mut Translation,
) -> Result<(), LinkError> {
    for operator in value.get_operators_reader() {
        match operator? {
            Operator::End => {}
            operator => {
                function.instruction(&translation.instruction(operator)?);
            }
        }
    }
    Ok(())
}

fn items(items: &ElementItems<'_>) -> usize {
    match items {
        ElementItems::Functions(functions) => functions.count() as usize,
        ElementItems::Expressions(_, values) => values.count() as usize,
    }
}

/// Sizes have 32 bits, whatever the sign of the constant that holds them.
fn number(value: usize) -> Instruction<'static> {
    Instruction::I32Const(u32::try_from(value).unwrap_or(u32::MAX).cast_signed())
}
