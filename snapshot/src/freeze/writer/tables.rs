//! Tables and what fills them. Tables which code changes start empty; what they held is written as new segments.

use std::collections::BTreeSet;

use wasm_encoder::{
    ElementSection, Elements, Module, TableSection,
    reencode::{Reencode as _, RoundtripReencoder},
};
use wasmparser::{Element, ElementItems, ElementKind, Operator, Table, TableInit, TableType, ValType};

use super::{Unfreezable, Writer, address, parsed, reencode};
use crate::{freeze::capture::Capture, state::Value};

impl Writer<'_> {
    /// Tables as large as they have become, and empty: their content follows as elements.
    pub(super) fn tables(&self, module: &mut Module) -> Result<(), Unfreezable> {
        let mut section = TableSection::new();
        for (ty, entries) in self.table_types()?.into_iter().zip(&self.capture.state.tables) {
            let mut encoded = reencode(RoundtripReencoder.table_type(ty))?;
            encoded.minimum = entries.as_ref().map_or(encoded.minimum, |entries| entries.len() as u64);
            section.table(encoded);
        }
        if !section.is_empty() {
            module.section(&section);
        }
        Ok(())
    }

    /// The types of tables whose content has changed.
    fn table_types(&self) -> Result<Vec<TableType>, Unfreezable> {
        let check = |(index, table): (usize, &Table<'_>)| match table.init {
            TableInit::RefNull => Ok(table.ty),
            TableInit::Expr(_) => Err(Unfreezable::TableInitializer { table: index }),
        };
        self.program.tables.iter().enumerate().map(check).collect()
    }

    pub(super) fn elements(&self, module: &mut Module) -> Result<(), Unfreezable> {
        let mut section = ElementSection::new();
        for (index, element) in (0..).zip(&self.program.elements) {
            let element = self.element(index, element.clone());
            if matches!(element.kind, ElementKind::Passive) && makes_objects(&element)? {
                return Err(Unfreezable::Reference { place: format!("element segment {index}") });
            }
            reencode(RoundtripReencoder.parse_element(&mut section, element))?;
        }
        if self.program.code().changes_tables {
            self.table_contents(&mut section)?;
        }
        let references = self.references();
        if !references.is_empty() {
            let functions: Vec<u32> = references.into_iter().collect();
            section.declared(Elements::Functions(functions.into()));
        }
        if !section.is_empty() {
            module.section(&section);
        }
        Ok(())
    }

    /// An element segment which has done its work stays in its place, as a declaration: empty at run time.
    fn element<'e>(&self, index: u32, mut element: Element<'e>) -> Element<'e> {
        let is_spent = match element.kind {
            ElementKind::Active { .. } => self.program.code().changes_tables,
            ElementKind::Passive => self.dropped.elements.contains(&index),
            ElementKind::Declared => false,
        };
        if is_spent {
            element.kind = ElementKind::Declared;
        }
        element
    }

    fn table_contents(&self, section: &mut ElementSection) -> Result<(), Unfreezable> {
        for ((index, ty), entries) in (0..).zip(self.table_types()?).zip(&self.capture.state.tables) {
            let entries = entries.as_deref().unwrap_or_default();
            let element = reencode(RoundtripReencoder.ref_type(ty.element_type))?;
            let mut start = 0;
            for run in entries.chunk_by(|a, b| (*a == Value::Null) == (*b == Value::Null)) {
                let offset = start;
                start += run.len();
                if run[0] == Value::Null {
                    continue;
                }
                let values: Result<Vec<_>, _> =
                    run.iter().map(|value| value.constant(ValType::Ref(ty.element_type))).collect();
                let offset = address(offset as u64, ty.table64);
                section.active(Some(index), &offset, Elements::Expressions(element, values?.into()));
            }
        }
        Ok(())
    }

    /// Functions which code or constants refer to. What declared them may have changed, so they are declared anew.
    fn references(&self) -> BTreeSet<u32> {
        let Capture { frames, call, state, .. } = self.capture;
        let in_frames = frames.iter().flat_map(|frame| frame.locals.iter().chain(&frame.operands));
        let values = in_frames.chain(&call.arguments).chain(state.globals.values());
        let functions = values.filter_map(|value| match value {
            Value::Function(index) => Some(*index),
            _ => None,
        });
        functions.chain(self.program.code().references.iter().copied()).collect()
    }
}

/// Whether it holds objects of the garbage collector: they would be made anew, without what was written into them.
fn makes_objects(element: &Element<'_>) -> Result<bool, Unfreezable> {
    let ElementItems::Expressions(_, items) = &element.items else { return Ok(false) };
    for item in items.clone() {
        for operator in parsed(item)?.get_operators_reader() {
            let is_plain = matches!(
                parsed(operator)?,
                Operator::RefNull { .. }
                    | Operator::RefFunc { .. }
                    | Operator::RefI31
                    | Operator::I32Const { .. }
                    | Operator::GlobalGet { .. }
                    | Operator::End
            );
            if !is_plain {
                return Ok(true);
            }
        }
    }
    Ok(false)
}
