//! Using an instance again: what it starts with is loaded by code, and so can be loaded once more.
//!
//! ```wat
//! (data (i32.const 1024) "…")
//! ;; becomes
//! (data $segment "…")
//! (start $load)
//! (func $load (memory.init $segment (i32.const 1024) (i32.const 0) (i32.const LENGTH)))
//! (func $restore (global.set $stack_pointer (i32.const 1048576)) (call $load))
//! ```
//!
//! Hosts are free to give an instance several requests; none must see what an earlier one left. Memory is wiped before,
//! by the trampoline `$recycle`.

use wasm_encoder::{ElementSection, ElementSegment, Function, Instruction, reencode::Reencode as _};
use wasmparser::{DataKind, Element, ElementItems, ElementKind, Operator, TableInit};

use super::{LinkError, translate::Translation};
use crate::port::module::Module;

/// What an instance starts with.
pub(super) struct Recycling<'a> {
    program: &'a Module<'a>,
    /// Code changes tables, so they are loaded again too.
    changes_tables: bool,
}

impl<'a> Recycling<'a> {
    pub(super) fn of(program: &'a Module<'a>) -> Result<Self, LinkError> {
        let mut changes_tables = false;
        for body in &program.bodies {
            for operator in body.get_operators_reader()? {
                changes_tables |= matches!(
                    operator?,
                    Operator::TableSet { .. }
                        | Operator::TableFill { .. }
                        | Operator::TableCopy { .. }
                        | Operator::TableInit { .. }
                );
            }
        }
        Ok(Self { program, changes_tables })
    }

    /// Writes a segment of elements: passive, if it is loaded by code.
    pub(super) fn element(
        &self,
        elements: &mut ElementSection,
        element: &Element<'a>,
        translation: &mut Translation,
    ) -> Result<(), LinkError> {
        match &element.kind {
            ElementKind::Active { .. } if self.changes_tables => {
                elements.segment(ElementSegment {
                    mode: wasm_encoder::ElementMode::Passive,
                    elements: translation.element_items(element.items.clone())?,
                });
            }
            _ => translation.parse_element(elements, element.clone())?,
        }
        Ok(())
    }

    /// The start function: tables, memory, and then the program's own start function.
    pub(super) fn load(&self, translation: &mut Translation) -> Result<Function, LinkError> {
        let mut function = Function::new([]);
        if self.changes_tables {
            for (index, element) in (0..).zip(&self.program.elements) {
                let ElementKind::Active { table_index, offset_expr } = &element.kind else { continue };
                constant(&mut function, offset_expr, translation)?;
                function.instruction(&Instruction::I32Const(0));
                function.instruction(&Instruction::I32Const(length(items(&element.items))));
                function.instruction(&Instruction::TableInit { elem_index: index, table: table_index.unwrap_or(0) });
            }
        }
        for (index, segment) in (0..).zip(&self.program.data) {
            let DataKind::Active { offset_expr, .. } = &segment.kind else { continue };
            constant(&mut function, offset_expr, translation)?;
            function.instruction(&Instruction::I32Const(0));
            function.instruction(&Instruction::I32Const(length(segment.data.len())));
            function.instruction(&Instruction::MemoryInit { mem: 0, data_index: index });
        }
        if let Some(start) = self.program.start {
            function.instruction(&Instruction::Call(translation.function_index(start)?));
        }
        function.instruction(&Instruction::End);
        Ok(function)
    }

    /// Globals and tables as they were, and then what `load` loads.
    pub(super) fn restore(&self, load: u32, translation: &mut Translation) -> Result<Function, LinkError> {
        let mut function = Function::new([]);
        for (index, global) in (0..).zip(&self.program.globals).filter(|(_, global)| global.ty.mutable) {
            constant(&mut function, &global.init_expr, translation)?;
            function.instruction(&Instruction::GlobalSet(index));
        }
        if self.changes_tables {
            for (index, table) in (0..).zip(&self.program.tables) {
                function.instruction(&Instruction::I32Const(0));
                match &table.init {
                    TableInit::RefNull => {
                        let ty = translation.ref_type(table.ty.element_type)?;
                        function.instruction(&Instruction::RefNull(ty.heap_type));
                    }
                    TableInit::Expr(value) => constant(&mut function, value, translation)?,
                }
                function.instruction(&Instruction::TableSize(index));
                function.instruction(&Instruction::TableFill(index));
            }
        }
        function.instruction(&Instruction::Call(load));
        function.instruction(&Instruction::End);
        Ok(function)
    }
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

/// Lengths have 32 bits, whatever the sign of the constant that holds them.
fn length(length: usize) -> i32 {
    u32::try_from(length).unwrap_or(u32::MAX).cast_signed()
}
