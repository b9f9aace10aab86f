//! A module in its parts.

use std::{
    cell::OnceCell,
    collections::{BTreeMap, BTreeSet},
};

use wasmparser::{
    BlockType, CompositeInnerType, CustomSectionReader, Data, Element, Export, ExternalKind, FromReader, FunctionBody,
    Global, MemoryType, Operator, Parser, Payload, SectionLimited, Table, TypeRef, ValType,
};

use crate::{names::Names, state::Constants};

/// What has to be known of the module to read its state.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// Imported functions: they come first in the function index space.
    pub(crate) imported_functions: u32,
    /// Code changes tables, or grows them.
    pub(crate) changes_tables: bool,
}

/// Parameter and result types.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Signature {
    pub(crate) params: Vec<ValType>,
    pub(crate) results: Vec<ValType>,
}

/// A valid module.
pub(crate) struct Program<'a> {
    pub(crate) wasm: &'a [u8],
    pub(crate) payloads: Vec<Payload<'a>>,
    /// By type index; `None` for types of other things than functions.
    ///
    /// They are read from the section, not asked of the validator, which numbers types its own way.
    types: Vec<Option<Signature>>,
    /// Imported functions come first.
    imported_functions: u32,
    /// The type index of each function.
    function_types: Vec<u32>,
    pub(crate) tables: Vec<Table<'a>>,
    pub(crate) memories: Vec<MemoryType>,
    pub(crate) imported_memories: u32,
    /// Imported globals come first.
    pub(crate) imported_globals: u32,
    pub(crate) globals: Vec<Global<'a>>,
    /// What constant expressions come to.
    pub(crate) constants: Constants,
    pub(crate) exports: Vec<Export<'a>>,
    pub(crate) elements: Vec<Element<'a>>,
    pub(crate) data: Vec<Data<'a>>,
    /// Each with the number of the section that it stands behind. The start section does not count.
    pub(crate) customs: Vec<(Option<u8>, CustomSectionReader<'a>)>,
    /// The bodies of those which are not imported.
    pub(crate) bodies: Vec<FunctionBody<'a>>,
    code: OnceCell<Code>,
}

/// What code contains.
#[derive(Debug, Default)]
pub(crate) struct Code {
    /// Instructions which change or grow tables.
    pub(crate) changes_tables: bool,
    /// Instructions which name data or element segments.
    pub(crate) uses_segments: bool,
    /// Data segments which may be dropped.
    pub(crate) drops_data: BTreeSet<u32>,
    /// Element segments which may be dropped.
    pub(crate) drops_elements: BTreeSet<u32>,
    /// Data segments which code reads.
    pub(crate) reads_data: BTreeMap<u32, Target>,
    /// Element segments which code reads.
    pub(crate) reads_elements: BTreeMap<u32, Target>,
    /// Functions which `ref.func` names: each must stay declared outside of code.
    pub(crate) references: BTreeSet<u32>,
}

/// Where some instruction copies a segment to: a place which fits its type.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    /// A memory or a table.
    Space(u32),
    /// A new array of this type.
    Array(u32),
}

impl<'a> Program<'a> {
    pub(crate) fn parse(wasm: &'a [u8]) -> wasmparser::Result<Self> {
        let mut program = Self {
            wasm,
            payloads: Vec::new(),
            types: Vec::new(),
            imported_functions: 0,
            function_types: Vec::new(),
            tables: Vec::new(),
            memories: Vec::new(),
            imported_memories: 0,
            imported_globals: 0,
            globals: Vec::new(),
            constants: Constants::default(),
            exports: Vec::new(),
            elements: Vec::new(),
            data: Vec::new(),
            customs: Vec::new(),
            bodies: Vec::new(),
            code: OnceCell::new(),
        };
        let mut behind = None;
        for payload in Parser::new(0).parse_all(wasm) {
            let payload = payload?;
            program.visit(&payload)?;
            match (&payload, payload.as_section()) {
                (Payload::CustomSection(section), _) => program.customs.push((behind, section.clone())),
                (Payload::StartSection { .. }, _) | (_, None) => {}
                (_, Some((id, _))) => behind = Some(id),
            }
            program.payloads.push(payload);
        }
        Ok(program)
    }

    fn visit(&mut self, payload: &Payload<'a>) -> wasmparser::Result<()> {
        match payload {
            Payload::TypeSection(section) => {
                for group in section.clone() {
                    for ty in group?.types() {
                        self.types.push(match &ty.composite_type.inner {
                            CompositeInnerType::Func(function) => Some(Signature {
                                params: function.params().to_vec(),
                                results: function.results().to_vec(),
                            }),
                            _ => None,
                        });
                    }
                }
            }
            Payload::ImportSection(section) => {
                for import in section.clone().into_imports() {
                    match import?.ty {
                        TypeRef::Func(ty) | TypeRef::FuncExact(ty) => {
                            self.function_types.push(ty);
                            self.imported_functions += 1;
                        }
                        TypeRef::Memory(_) => self.imported_memories += 1,
                        TypeRef::Global(_) => self.imported_globals += 1,
                        _ => {}
                    }
                }
            }
            Payload::FunctionSection(section) => {
                for ty in section.clone() {
                    self.function_types.push(ty?);
                }
            }
            Payload::TableSection(section) => self.tables = all(section)?,
            Payload::MemorySection(section) => self.memories = all(section)?,
            Payload::GlobalSection(section) => {
                self.globals = all(section)?;
                self.constants = Constants::of(self.imported_globals, &self.globals);
            }
            Payload::ExportSection(section) => self.exports = all(section)?,
            Payload::ElementSection(section) => self.elements = all(section)?,
            Payload::DataSection(section) => self.data = all(section)?,
            Payload::CodeSectionEntry(body) => {
                self.bodies.push(body.clone());
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether code can name data segments at all: a valid module tells their number before its code if it does.
    pub(crate) fn code_may_name_data(&self) -> bool {
        self.payloads.iter().any(|payload| matches!(payload, Payload::DataCountSection { .. }))
    }

    /// What its code contains. All of it is read for that, once.
    pub(crate) fn code(&self) -> &Code {
        self.code.get_or_init(|| {
            let mut code = Code::default();
            self.bodies.iter().try_for_each(|body| code.visit(body)).expect("the module is valid");
            code
        })
    }

    pub(crate) fn shape(&self) -> Shape {
        Shape { imported_functions: self.imported_functions, changes_tables: self.code().changes_tables }
    }

    /// How many functions there are, imports included.
    pub(crate) fn functions(&self) -> u32 {
        u32::try_from(self.function_types.len()).expect("function indices are 32 bits wide")
    }

    /// How many functions are imported: they have the first indices.
    pub(crate) fn imported_functions(&self) -> u32 {
        self.imported_functions
    }

    /// How many types there are.
    pub(crate) fn type_count(&self) -> u32 {
        u32::try_from(self.types.len()).expect("type indices are 32 bits wide")
    }

    /// The body of a function which is not imported.
    pub(crate) fn body(&self, function: u32) -> &FunctionBody<'a> {
        &self.bodies[(function - self.imported_functions) as usize]
    }

    pub(crate) fn signature(&self, function: u32) -> &Signature {
        self.function_type(self.function_types[function as usize])
    }

    /// The function with this name in the `name` section, if it takes and gives nothing and is not imported.
    pub(crate) fn procedure_called(&self, names: &Names<'_>, name: &str) -> Option<u32> {
        let index = names.function_called(name)?;
        let is_own = (self.imported_functions..self.functions()).contains(&index);
        (is_own && *self.signature(index) == Signature::default()).then_some(index)
    }

    /// Whether host calls see its first memory: they go by the export's name.
    pub(crate) fn exports_first_memory(&self) -> bool {
        let is_it =
            |export: &Export<'_>| export.kind == ExternalKind::Memory && export.name == "memory" && export.index == 0;
        self.exports.iter().any(is_it)
    }

    /// What a block takes and leaves.
    pub(crate) fn block(&self, ty: BlockType) -> Signature {
        match ty {
            BlockType::Empty => Signature::default(),
            BlockType::Type(result) => Signature { params: Vec::new(), results: vec![result] },
            BlockType::FuncType(index) => self.function_type(index).clone(),
        }
    }

    fn function_type(&self, index: u32) -> &Signature {
        self.types[index as usize].as_ref().expect("the module is valid, and this is a function's type")
    }
}

/// What is in a section.
fn all<'a, T: FromReader<'a>>(section: &SectionLimited<'a, T>) -> wasmparser::Result<Vec<T>> {
    section.clone().into_iter().collect()
}

impl Code {
    fn visit(&mut self, body: &FunctionBody<'_>) -> wasmparser::Result<()> {
        for operator in body.get_operators_reader()? {
            match operator? {
                Operator::TableSet { .. }
                | Operator::TableGrow { .. }
                | Operator::TableFill { .. }
                | Operator::TableCopy { .. } => self.changes_tables = true,
                Operator::TableInit { elem_index, table } => {
                    self.changes_tables = true;
                    self.uses_segments = true;
                    self.reads_elements.insert(elem_index, Target::Space(table));
                }
                Operator::MemoryInit { data_index, mem } => {
                    self.uses_segments = true;
                    self.reads_data.insert(data_index, Target::Space(mem));
                }
                Operator::ArrayNewData { array_type_index, array_data_index }
                | Operator::ArrayInitData { array_type_index, array_data_index } => {
                    self.uses_segments = true;
                    self.reads_data.entry(array_data_index).or_insert(Target::Array(array_type_index));
                }
                Operator::ArrayNewElem { array_type_index, array_elem_index }
                | Operator::ArrayInitElem { array_type_index, array_elem_index } => {
                    self.uses_segments = true;
                    self.reads_elements.entry(array_elem_index).or_insert(Target::Array(array_type_index));
                }
                Operator::DataDrop { data_index } => {
                    self.uses_segments = true;
                    self.drops_data.insert(data_index);
                }
                Operator::ElemDrop { elem_index } => {
                    self.uses_segments = true;
                    self.drops_elements.insert(elem_index);
                }
                Operator::RefFunc { function_index } => {
                    self.references.insert(function_index);
                }
                _ => {}
            }
        }
        Ok(())
    }
}
