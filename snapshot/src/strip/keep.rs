//! What stays, used or not.

use std::borrow::Cow;

use walrus::{CustomSection, GlobalId, IdsToIndices, ImportKind, MemoryId, Module, TableId, TagId, passes::Roots};

/// All imports and memories of a module, as a custom section: those are asked what must stay.
#[derive(Debug, Default)]
pub(super) struct Keep {
    functions: Vec<walrus::FunctionId>,
    tables: Vec<TableId>,
    memories: Vec<MemoryId>,
    globals: Vec<GlobalId>,
    tags: Vec<TagId>,
}

impl Keep {
    pub(super) fn of(module: &Module) -> Self {
        let mut keep = Self { memories: module.memories.iter().map(walrus::Memory::id).collect(), ..Self::default() };
        for import in module.imports.iter() {
            match import.kind {
                ImportKind::Function(function) => keep.functions.push(function),
                ImportKind::Table(table) => keep.tables.push(table),
                // It is a memory like any other.
                ImportKind::Memory(_) => {}
                ImportKind::Global(global) => keep.globals.push(global),
                ImportKind::Tag(tag) => keep.tags.push(tag),
            }
        }
        keep
    }
}

impl CustomSection for Keep {
    fn name(&self) -> &str {
        "keep"
    }

    fn data(&self, _: &IdsToIndices) -> Cow<'_, [u8]> {
        Cow::Borrowed(&[])
    }

    fn add_gc_roots(&self, roots: &mut Roots) {
        for function in &self.functions {
            roots.push_func(*function);
        }
        for table in &self.tables {
            roots.push_table(*table);
        }
        for memory in &self.memories {
            roots.push_memory(*memory);
        }
        for global in &self.globals {
            roots.push_global(*global);
        }
        for tag in &self.tags {
            roots.push_tag(*tag);
        }
    }
}
