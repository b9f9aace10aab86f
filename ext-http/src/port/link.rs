//! Links trampolines into a program.
//!
//! ```wat
//! (import "wasi_snapshot_preview1" "sock_open" (func $sock_open (param i32 i32 i32) (result i32)))
//! (import "wasi_snapshot_preview1" "random_get" (func $random_get (param i32 i32) (result i32)))
//! ;; becomes
//! (import "wasi_snapshot_preview1" "random_get" (func $random_get (param i32 i32) (result i32)))
//! (import "prewasm:port/sockets@0.1.0" "open" (func $open (param i32 i32) (result i32)))
//! (func $sock_open (param i32 i32 i32) (result i32) …)    ;; from trampolines.wat
//! ```
//!
//! The program's functions move, as there are other imports in front of them; types and globals keep their places, since
//! those of the trampolines come behind. Debug information, which tells offsets in the code, is left out.

mod customs;
mod layout;
mod made;
mod places;
mod recycle;
mod translate;
mod unwind;

use wasm_encoder::{
    CodeSection, DataCountSection, ElementSection, ExportKind, ExportSection, FunctionSection, GlobalSection,
    MemorySection, TableSection, TagSection, TypeSection, reencode::Reencode as _,
};
use wasmparser::BinaryReaderError;

use self::{
    customs::Customs,
    layout::Layout,
    places::{MADE, Places, exported, missing},
    recycle::Recycling,
    translate::Translation,
    unwind::Unwinding,
};
use super::{
    module::Module,
    plan::{HANDLER, Plan, World},
};

/// The trampolines, in the text format.
const TRAMPOLINES: &str = include_str!("trampolines.wat");
/// The program could not be linked: what `plan` has not foreseen is a fault of ours.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// A section of the program could not be read.
    #[error("a section of the program cannot be read")]
    Read(#[from] BinaryReaderError),
    /// A part of the program could not be written.
    #[error("a part of the program cannot be written")]
    Write(#[from] wasm_encoder::reencode::Error),
    /// There is no place for what is added to the memory.
    #[error("its memory of {pages} pages leaves no room for {added} more")]
    MemoryFull {
        /// What it starts with.
        pages: u64,
        /// What the adapter needs, and an instance to start again.
        added: u64,
    },
    /// The trampolines are not what they should be.
    #[error("the trampolines cannot be used: {0}; this is a bug")]
    Trampolines(String),
}

/// Links what `plan` names into a program.
pub(super) fn link(program: &[u8], plan: &Plan) -> Result<Vec<u8>, LinkError> {
    let trampolines = wat::parse_str(TRAMPOLINES).map_err(|error| LinkError::Trampolines(error.to_string()))?;
    let trampolines = Module::parse(&trampolines)?;
    let program = Module::parse(program)?;
    Linker::new(&program, &trampolines, plan)?.write()
}

/// What comes from where.
struct Linker<'a> {
    program: &'a Module<'a>,
    trampolines: &'a Module<'a>,
    plan: &'a Plan,
    /// Of functions; the program's own come first.
    imports: Vec<wasmparser::Import<'a>>,
    own_imports: usize,
    /// The trampolines' functions that are copied, by their index there.
    copied: Vec<u32>,
    /// From indices in the program, and in the trampolines.
    of_program: Translation,
    of_trampolines: Translation,
    recycling: Option<Recycling<'a>>,
    layout: Layout,
    /// The global which tells that the program is being left.
    unwinding: u32,
}

impl<'a> Linker<'a> {
    fn new(program: &'a Module<'a>, trampolines: &'a Module<'a>, plan: &'a Plan) -> Result<Self, LinkError> {
        let Places { imports, own_imports, copied, of_program, of_trampolines, leaves } =
            Places::new(program, trampolines, plan)?;
        let globals = count(&program.globals);
        let unwinding = trampolines.exported_global("unwinding").ok_or_else(|| missing("unwinding"))? + globals;
        let of_trampolines = Translation::of_trampolines(of_trampolines, count(&program.types), globals);
        let trampoline = |name| Ok::<_, LinkError>(of_trampolines.function(exported(trampolines, name)?));
        let memory = (trampoline("memory.size")?, trampoline("memory.grow")?);
        let is_handler = plan.world.is_handler();
        let leaving = is_handler.then(|| Unwinding::of(program, leaves)).transpose()?;
        let leaving = leaving.map(|leaving| (leaving, unwinding));
        let recycling = is_handler.then(|| Recycling::of(program)).transpose()?;
        Ok(Self {
            program,
            trampolines,
            plan,
            imports,
            own_imports,
            copied,
            of_program: Translation::of_program(of_program, memory, leaving),
            of_trampolines,
            layout: Layout::of(program, recycling.as_ref().map_or(0, Recycling::scratch_pages))?,
            recycling,
            unwinding,
        })
    }

    fn write(mut self) -> Result<Vec<u8>, LinkError> {
        let mut module = wasm_encoder::Module::new();
        module.section(&self.types()?);
        module.section(&self.imports()?);
        module.section(&self.functions()?);
        self.tables_to_globals(&mut module)?;
        module.section(&self.exports()?);
        self.elements_to_data(&mut module)?;
        Customs {
            program: self.program,
            of_program: &mut self.of_program,
            trampolines: self.trampolines,
            of_trampolines: &self.of_trampolines,
        }
        .write(&mut module);
        Ok(module.finish())
    }

    fn types(&mut self) -> Result<TypeSection, LinkError> {
        let mut types = TypeSection::new();
        if let Some(section) = &self.program.type_section {
            self.of_program.parse_type_section(&mut types, section.clone())?;
        }
        if let Some(section) = &self.trampolines.type_section {
            self.of_trampolines.parse_type_section(&mut types, section.clone())?;
        }
        Ok(types)
    }

    fn imports(&mut self) -> Result<wasm_encoder::ImportSection, LinkError> {
        let mut section = wasm_encoder::ImportSection::new();
        for (index, import) in self.imports.iter().enumerate() {
            let translation = if index < self.own_imports { &mut self.of_program } else { &mut self.of_trampolines };
            section.import(import.module, import.name, translation.entity_type(import.ty)?);
        }
        Ok(section)
    }

    fn functions(&self) -> Result<FunctionSection, LinkError> {
        let mut functions = FunctionSection::new();
        for ty in &self.program.functions[self.program.imported_functions as usize..] {
            functions.function(*ty);
        }
        let base = count(&self.program.types);
        for index in &self.copied {
            functions.function(self.trampolines.functions[*index as usize] + base);
        }
        let ty = |name: &str| {
            let import = self.trampolines.function_imports().position(|import| import.name == name);
            let ty = import.and_then(|index| self.trampolines.functions.get(index));
            ty.map(|ty| ty + base).ok_or_else(|| missing(name))
        };
        for name in MADE {
            functions.function(ty(name)?);
        }
        Ok(functions)
    }

    fn tables_to_globals(&mut self, module: &mut wasm_encoder::Module) -> Result<(), LinkError> {
        let mut tables = TableSection::new();
        for table in &self.program.tables {
            self.of_program.parse_table(&mut tables, table.clone())?;
        }
        let mut memories = MemorySection::new();
        for memory in &self.program.memories {
            let mut memory = *memory;
            memory.initial = self.layout.behind;
            memory.maximum = memory.maximum.map(|_| self.layout.limit);
            memories.memory(self.of_program.memory_type(memory)?);
        }
        let mut tags = TagSection::new();
        for tag in &self.program.tags {
            tags.tag(self.of_program.tag_type(*tag)?);
        }
        let mut globals = GlobalSection::new();
        for global in &self.program.globals {
            self.of_program.parse_global(&mut globals, global.clone())?;
        }
        for global in &self.trampolines.globals {
            self.of_trampolines.parse_global(&mut globals, global.clone())?;
        }
        if !tables.is_empty() {
            module.section(&tables);
        }
        module.section(&memories);
        if !tags.is_empty() {
            module.section(&tags);
        }
        module.section(&globals);
        Ok(())
    }

    /// Nothing of the program's own: exports have meanings for the component's encoder.
    fn exports(&self) -> Result<ExportSection, LinkError> {
        let mut exports = ExportSection::new();
        exports.export("memory", ExportKind::Memory, 0);
        for name in entry_points(self.plan) {
            let index = self.of_trampolines.function(exported(self.trampolines, name)?);
            exports.export(name, ExportKind::Func, index);
        }
        Ok(exports)
    }

    fn elements_to_data(&mut self, module: &mut wasm_encoder::Module) -> Result<(), LinkError> {
        let mut elements = ElementSection::new();
        for element in &self.program.elements {
            self.of_program.parse_element(&mut elements, element.clone())?;
        }
        if let Some(recycling) = &self.recycling {
            recycling.elements(&mut elements, &mut self.of_program)?;
        }
        if !elements.is_empty() {
            module.section(&elements);
        }
        let mut data = wasm_encoder::DataSection::new();
        for segment in &self.program.data {
            self.of_program.parse_data(&mut data, segment.clone())?;
        }
        if let Some(recycling) = &self.recycling {
            recycling.data(&mut data);
        }
        if self.program.data_count.is_some() || self.recycling.is_some() {
            module.section(&DataCountSection { count: data.len() });
        }
        module.section(&self.code()?);
        if !data.is_empty() {
            module.section(&data);
        }
        Ok(())
    }

    fn code(&mut self) -> Result<CodeSection, LinkError> {
        let mut code = CodeSection::new();
        for (index, body) in self.program.defined() {
            self.of_program.begin_function(index, self.program)?;
            self.of_program.parse_function_body(&mut code, body.clone())?;
        }
        for (_, body) in self.trampolines.defined().filter(|(index, _)| self.copied.contains(index)) {
            self.of_trampolines.parse_function_body(&mut code, body.clone())?;
        }
        let callee = |name: &str| -> Result<u32, LinkError> {
            Ok(self.of_trampolines.function(exported(self.trampolines, name)?))
        };
        let start = self.program.start.map(|start| self.of_program.function(start));
        let entry = self.of_program.function(exported(self.program, "_start")?);
        let Layout { pages, scratch, behind, limit, seen } = self.layout;
        code.function(&made::run(start, entry, self.unwinding));
        code.function(&made::setup(&self.plan.setup, callee)?);
        code.function(&match &self.recycling {
            Some(recycling) => {
                let close_files = Recycling::closes_files(self.program).then(|| callee("close_files")).transpose()?;
                recycling.restore((callee("unpack")?, close_files), scratch, &mut self.of_program)?
            }
            None => made::nothing(),
        });
        for number in [pages, seen, behind, limit, scratch] {
            code.function(&made::number(number));
        }
        Ok(code)
    }
}

/// What the component's encoder looks for.
fn entry_points(plan: &Plan) -> Vec<&'static str> {
    let mut names = vec!["cabi_realloc_adapter"];
    if plan.shim.is_some() {
        names.push("cabi_import_realloc");
    }
    names.push(match plan.world {
        World::Command => "_start",
        World::Proxy | World::ProxyCli => HANDLER,
    });
    names
}

/// Index spaces have 32 bits.
fn count<T>(items: &[T]) -> u32 {
    u32::try_from(items.len()).unwrap_or(u32::MAX)
}

#[cfg(test)]
pub(super) mod tests;
