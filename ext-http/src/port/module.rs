//! A core module in its parts.

use std::collections::BTreeSet;

use wasmparser::{
    BinaryReaderError, CompositeInnerType, ConstExpr, CustomSectionReader, Data, Element, ElementItems, Export,
    ExternalKind, FuncType, FunctionBody, Global, Import, MemoryType, Operator, Parser, Payload, Table, TableInit,
    TagType, TypeRef, TypeSectionReader,
};

/// What a valid core module consists of.
#[derive(Default)]
pub(super) struct Module<'a> {
    pub(super) type_section: Option<TypeSectionReader<'a>>,
    /// By index; `None` for what is no function's type.
    pub(super) types: Vec<Option<FuncType>>,
    /// Whether a call by type may reach a function whose type looks different: there are subtypes, or types which name
    /// others.
    pub(super) has_similar_types: bool,
    pub(super) imports: Vec<Import<'a>>,
    /// The type of each function, imported ones first.
    pub(super) functions: Vec<u32>,
    pub(super) imported_functions: u32,
    pub(super) tables: Vec<Table<'a>>,
    pub(super) memories: Vec<MemoryType>,
    pub(super) tags: Vec<TagType>,
    pub(super) globals: Vec<Global<'a>>,
    pub(super) exports: Vec<Export<'a>>,
    pub(super) start: Option<u32>,
    pub(super) elements: Vec<Element<'a>>,
    pub(super) data_count: Option<u32>,
    pub(super) bodies: Vec<FunctionBody<'a>>,
    pub(super) data: Vec<Data<'a>>,
    pub(super) customs: Vec<CustomSectionReader<'a>>,
}

impl<'a> Module<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, BinaryReaderError> {
        let mut module = Self::default();
        for payload in Parser::new(0).parse_all(bytes) {
            module.add(payload?)?;
        }
        Ok(module)
    }

    fn add(&mut self, payload: Payload<'a>) -> Result<(), BinaryReaderError> {
        match payload {
            Payload::TypeSection(section) => {
                self.type_section = Some(section.clone());
                for group in section {
                    for ty in group?.into_types() {
                        self.has_similar_types |= !ty.is_final || ty.supertype_idx.is_some();
                        let function = match ty.composite_type.inner {
                            CompositeInnerType::Func(function) => Some(function),
                            _ => None,
                        };
                        self.has_similar_types |= function.as_ref().is_some_and(names_a_type);
                        self.types.push(function);
                    }
                }
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import?;
                    if let TypeRef::Func(ty) = import.ty {
                        self.functions.push(ty);
                        self.imported_functions += 1;
                    }
                    self.imports.push(import);
                }
            }
            Payload::FunctionSection(section) => collect(section, &mut self.functions)?,
            Payload::TableSection(section) => collect(section, &mut self.tables)?,
            Payload::MemorySection(section) => collect(section, &mut self.memories)?,
            Payload::TagSection(section) => collect(section, &mut self.tags)?,
            Payload::GlobalSection(section) => collect(section, &mut self.globals)?,
            Payload::ExportSection(section) => collect(section, &mut self.exports)?,
            Payload::StartSection { func, .. } => self.start = Some(func),
            Payload::ElementSection(section) => collect(section, &mut self.elements)?,
            Payload::DataCountSection { count, .. } => self.data_count = Some(count),
            Payload::CodeSectionEntry(body) => self.bodies.push(body),
            Payload::DataSection(section) => collect(section, &mut self.data)?,
            Payload::CustomSection(section) => self.customs.push(section),
            _ => {}
        }
        Ok(())
    }

    /// The imports of functions, in the order of their indices.
    pub(super) fn function_imports(&self) -> impl Iterator<Item = &Import<'a>> {
        self.imports.iter().filter(|import| matches!(import.ty, TypeRef::Func(_)))
    }

    /// The index of an exported function.
    pub(super) fn exported_function(&self, name: &str) -> Option<u32> {
        let export = self.exports.iter().find(|export| export.name == name && export.kind == ExternalKind::Func)?;
        Some(export.index)
    }

    /// The index of an exported global.
    pub(super) fn exported_global(&self, name: &str) -> Option<u32> {
        let export = self.exports.iter().find(|export| export.name == name && export.kind == ExternalKind::Global)?;
        Some(export.index)
    }

    pub(super) fn function_type(&self, function: u32) -> Option<&FuncType> {
        self.types.get(*self.functions.get(function as usize)? as usize)?.as_ref()
    }

    /// The functions defined here, with their bodies.
    pub(super) fn defined(&self) -> impl Iterator<Item = (u32, &FunctionBody<'a>)> {
        (self.imported_functions..).zip(&self.bodies)
    }

    /// The values of globals, as far as they are wanted, of tables and of their segments.
    pub(super) fn constants(
        &self,
        is_wanted: impl Fn(&Global<'a>) -> bool,
    ) -> Result<Vec<ConstExpr<'a>>, BinaryReaderError> {
        let mut found: Vec<_> =
            self.globals.iter().filter(|global| is_wanted(global)).map(|global| global.init_expr.clone()).collect();
        for table in &self.tables {
            if let TableInit::Expr(value) = &table.init {
                found.push(value.clone());
            }
        }
        for element in &self.elements {
            if let ElementItems::Expressions(_, values) = &element.items {
                collect(values.clone(), &mut found)?;
            }
        }
        Ok(found)
    }

    /// Whether Go's compiler has made it.
    pub(super) fn is_go(&self) -> bool {
        self.customs.iter().any(|section| ["go:buildid", "go.buildid"].contains(&section.name()))
    }

    /// The functions which may be called by reference: whatever a segment, a constant or an instruction names.
    pub(super) fn referenced(&self) -> Result<BTreeSet<u32>, BinaryReaderError> {
        let mut found = BTreeSet::new();
        let mut add = |operators: wasmparser::OperatorsReader<'a>| {
            for operator in operators {
                if let Operator::RefFunc { function_index } = operator? {
                    found.insert(function_index);
                }
            }
            Ok::<(), BinaryReaderError>(())
        };
        for body in &self.bodies {
            add(body.get_operators_reader()?)?;
        }
        for value in self.constants(|_| true)? {
            add(value.get_operators_reader())?;
        }
        let mut listed = Vec::new();
        for element in &self.elements {
            if let ElementItems::Functions(functions) = &element.items {
                collect(functions.clone(), &mut listed)?;
            }
        }
        found.extend(listed);
        Ok(found)
    }
}

fn names_a_type(function: &FuncType) -> bool {
    let mut types = function.params().iter().chain(function.results());
    types.any(|ty| ty.as_reference_type().is_some_and(|ty| ty.type_index().is_some()))
}

fn collect<T>(
    section: impl IntoIterator<Item = Result<T, BinaryReaderError>>,
    into: &mut Vec<T>,
) -> Result<(), BinaryReaderError> {
    for item in section {
        into.push(item?);
    }
    Ok(())
}
