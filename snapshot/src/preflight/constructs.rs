//! Constructs which Wizer cannot snapshot. It refuses most of them, one at a time; some it takes for impossible, and
//! panics. Here all of them are found, with their places.

use std::collections::BTreeMap;

use rayon::iter::{IntoParallelRefIterator as _, ParallelIterator as _};
use wasmparser::{
    ComponentAlias, ComponentExternalKind, ComponentOuterAliasKind, Encoding, FunctionBody, Instance, Operator, Parser,
    Payload, TypeRef, ValType,
};

use super::Objection;

/// Wizer's own exports start with this.
const RESERVED: &str = "__wizer_";
/// The instance through which Wizer reads the state of a component.
const RESERVED_INSTANCE: &str = "wasmtime:wizer/access";

const TABLES: &str = "\n  hint: changes to tables are not recorded; build without reference types and dynamic linking";
const SEGMENTS: &str = "\n  hint: dropped segments are not recorded; build without threads and passive segments";
const GC: &str = "\n  hint: changes to objects of the garbage collector are not recorded";
const IMPORTED: &str = "\n  hint: link statically, so that the module defines it itself";
const THREADS: &str = "\n  hint: build without threads";
const NESTED: &str = "\n  hint: snapshot the inner component before composing";

/// Finds every refused construct of a valid module or component.
pub(super) fn refused(wasm: &[u8]) -> Vec<Objection> {
    let mut finder = Finder::default();
    let mut bodies = Vec::new();
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.expect("the artifact was validated") {
            Payload::CodeSectionEntry(body) => bodies.push(body),
            payload => finder.visit(payload).expect("the artifact was validated"),
        }
    }
    let operators = bodies.par_iter().map(|body| refused_operators(body).expect("the artifact was validated"));
    // In a few functions, or in none.
    for (name, (offset, count, hint)) in
        operators.filter(|found| !found.is_empty()).collect::<Vec<_>>().into_iter().flatten()
    {
        finder.found.entry(format!("instruction `{name}`")).or_insert((offset, 0, hint)).1 += count;
    }
    let mut found: Vec<_> = finder.found.into_iter().collect();
    found.sort_by_key(|(_, (offset, _, _))| *offset);
    found
        .into_iter()
        .map(|(construct, (offset, count, hint))| Objection::Construct { construct, offset, count, hint })
        .collect()
}

/// Where something was met first, how often, and what to do about it.
type Found = (usize, usize, &'static str);

#[derive(Default)]
struct Finder {
    /// By construct.
    found: BTreeMap<String, Found>,
    /// The modules and components around the current place, the outermost first.
    scopes: Vec<Scope>,
    /// Modules which the outermost component has instantiated.
    instantiated: Vec<u32>,
}

struct Scope {
    encoding: Encoding,
    offset: usize,
    has_state: bool,
    has_exports: bool,
}

impl Finder {
    fn add(&mut self, offset: usize, construct: impl Into<String>, hint: &'static str) {
        self.found.entry(construct.into()).or_insert((offset, 0, hint)).1 += 1;
    }

    fn in_component(&self) -> bool {
        self.scopes.first().is_some_and(|scope| scope.encoding == Encoding::Component)
    }

    fn visit(&mut self, payload: Payload<'_>) -> wasmparser::Result<()> {
        match payload {
            Payload::Version { encoding, range, .. } => {
                if encoding == Encoding::Module && self.scopes.len() > 1 {
                    self.add(range.start, "a module inside of a nested component", NESTED);
                }
                self.scopes.push(Scope { encoding, offset: range.start, has_state: false, has_exports: false });
            }
            Payload::End(_) => self.end(),
            Payload::ImportSection(_)
            | Payload::MemorySection(_)
            | Payload::GlobalSection(_)
            | Payload::ExportSection(_) => self.visit_module(payload)?,
            payload => self.visit_component(payload)?,
        }
        Ok(())
    }

    /// Wizer adds its exports to the export section: without one, it finds nothing again.
    fn end(&mut self) {
        let in_component = self.in_component();
        let Some(scope) = self.scopes.pop() else { return };
        if in_component && scope.has_state && !scope.has_exports {
            self.add(scope.offset, "a module with a memory or mutable globals, but without exports", "");
        }
    }

    fn visit_module(&mut self, payload: Payload<'_>) -> wasmparser::Result<()> {
        let in_component = self.in_component();
        match payload {
            Payload::ImportSection(section) => {
                let offset = section.range().start;
                for import in section.into_imports() {
                    let import = import?;
                    let name = format!("{}.{}", import.module, import.name);
                    if import.module.starts_with(RESERVED) || import.name.starts_with(RESERVED) {
                        self.add(offset, format!("import `{name}`, whose name is reserved"), "");
                    }
                    match import.ty {
                        TypeRef::Memory(_) if !in_component => {
                            self.add(offset, format!("imported memory `{name}`"), IMPORTED);
                        }
                        TypeRef::Table(_) if !in_component => {
                            self.add(offset, format!("imported table `{name}`"), IMPORTED);
                        }
                        TypeRef::Global(_) if !in_component => {
                            self.add(offset, format!("imported global `{name}`"), IMPORTED);
                        }
                        TypeRef::Tag(_) => self.add(offset, format!("imported tag `{name}`"), IMPORTED),
                        TypeRef::FuncExact(_) => self.add(offset, format!("exactly typed import `{name}`"), ""),
                        _ => {}
                    }
                }
            }
            Payload::MemorySection(section) => {
                for memory in section.into_iter_with_offsets() {
                    let (offset, memory) = memory?;
                    self.has_state();
                    if memory.shared {
                        self.add(offset, "shared memory", THREADS);
                    }
                    if memory.memory64 && in_component {
                        self.add(offset, "64-bit memory in a component", "");
                    }
                }
            }
            Payload::GlobalSection(section) => {
                for global in section.into_iter_with_offsets() {
                    let (offset, global) = global?;
                    if !global.ty.mutable {
                        continue;
                    }
                    self.has_state();
                    match global.ty.content_type {
                        ValType::Ref(_) => self.add(offset, "mutable global of a reference type", ""),
                        ValType::V128 if in_component => self.add(offset, "mutable `v128` global in a component", ""),
                        _ => {}
                    }
                }
            }
            Payload::ExportSection(section) => {
                if let Some(scope) = self.scopes.last_mut() {
                    scope.has_exports = true;
                }
                for export in section.into_iter_with_offsets() {
                    let (offset, export) = export?;
                    if export.name.starts_with(RESERVED) {
                        self.add(offset, format!("export `{}`, whose name is reserved", export.name), "");
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn has_state(&mut self) {
        if let Some(scope) = self.scopes.last_mut() {
            scope.has_state = true;
        }
    }

    fn visit_component(&mut self, payload: Payload<'_>) -> wasmparser::Result<()> {
        match payload {
            // A module instantiated twice has two states, and one binary cannot start with both.
            Payload::InstanceSection(section) if self.scopes.len() == 1 => {
                for instance in section.into_iter_with_offsets() {
                    if let (offset, Instance::Instantiate { module_index, .. }) = instance? {
                        if self.instantiated.contains(&module_index) {
                            self.add(offset, "a module which is instantiated twice", "");
                        }
                        self.instantiated.push(module_index);
                    }
                }
            }
            Payload::ComponentAliasSection(section) => {
                for alias in section.into_iter_with_offsets() {
                    match alias? {
                        (offset, ComponentAlias::InstanceExport { kind, .. }) => self.visit_kind(offset, kind, "alias"),
                        (offset, ComponentAlias::Outer { kind: ComponentOuterAliasKind::CoreModule, .. }) => {
                            self.add(offset, "an alias of an outer module", NESTED);
                        }
                        (offset, ComponentAlias::Outer { kind: ComponentOuterAliasKind::Component, .. }) => {
                            self.add(offset, "an alias of an outer component", NESTED);
                        }
                        _ => {}
                    }
                }
            }
            Payload::ComponentImportSection(section) => {
                for import in section.into_iter_with_offsets() {
                    let (offset, import) = import?;
                    self.visit_kind(offset, import.ty.kind(), "import");
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section.into_iter_with_offsets() {
                    let (offset, export) = export?;
                    self.visit_kind(offset, export.kind, "export");
                    if export.name.name == RESERVED_INSTANCE {
                        self.add(offset, format!("export `{RESERVED_INSTANCE}`, whose name is reserved"), "");
                    }
                }
            }
            Payload::ComponentStartSection { range, .. } => self.add(range.start, "a component's start function", ""),
            _ => {}
        }
        Ok(())
    }

    fn visit_kind(&mut self, offset: usize, kind: ComponentExternalKind, how: &str) {
        let what = match kind {
            ComponentExternalKind::Module => "a module",
            ComponentExternalKind::Component => "a component",
            ComponentExternalKind::Value => "a value",
            ComponentExternalKind::Func | ComponentExternalKind::Type | ComponentExternalKind::Instance => return,
        };
        self.add(offset, format!("{how} of {what}"), NESTED);
    }
}

/// The refused instructions of a function, by name.
fn refused_operators(body: &FunctionBody<'_>) -> wasmparser::Result<BTreeMap<&'static str, Found>> {
    let mut refused = BTreeMap::new();
    for operator in body.get_operators_reader()?.into_iter_with_offsets() {
        let (operator, offset) = operator?;
        if let Some((name, hint)) = refused_operator(&operator) {
            refused.entry(name).or_insert((offset, 0, hint)).1 += 1;
        }
    }
    Ok(refused)
}

/// Instructions whose effect is not recorded. They are refused wherever they stand: whether init runs them is not
/// known before.
fn refused_operator(operator: &Operator<'_>) -> Option<(&'static str, &'static str)> {
    Some(match operator {
        Operator::TableCopy { .. } => ("table.copy", TABLES),
        Operator::TableInit { .. } => ("table.init", TABLES),
        Operator::TableSet { .. } => ("table.set", TABLES),
        Operator::TableGrow { .. } => ("table.grow", TABLES),
        Operator::TableFill { .. } => ("table.fill", TABLES),
        Operator::ElemDrop { .. } => ("elem.drop", SEGMENTS),
        Operator::DataDrop { .. } => ("data.drop", SEGMENTS),
        Operator::StructSet { .. } => ("struct.set", GC),
        Operator::ArraySet { .. } => ("array.set", GC),
        Operator::ArrayFill { .. } => ("array.fill", GC),
        Operator::ArrayCopy { .. } => ("array.copy", GC),
        Operator::ArrayInitData { .. } => ("array.init_data", GC),
        Operator::ArrayInitElem { .. } => ("array.init_elem", GC),
        _ => return None,
    })
}
