//! Programs from wasm-smith, which call the host wherever they may, and tell what they find and compute.

use std::convert::Infallible;

use arbitrary::Unstructured;
use wasm_encoder::{
    CodeSection, DataCountSection, DataSection, ElementSection, EntityType, ExportKind, ExportSection, Function,
    FunctionSection, GlobalSection, ImportSection, InstructionSink, MemorySection, StartSection, TableSection,
    TagSection, TypeSection, ValType,
    reencode::{Error, Reencode, RoundtripReencoder},
};
use wasm_smith::Config;
use wasmparser::FunctionBody;

use crate::port::module::Module;

/// Parts of the language.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
pub(in crate::port) enum Language {
    /// The first version, blocks with parameters and several results, SIMD.
    Basic,
    /// And reference types, bulk operations, tail calls.
    References,
    /// And exceptions.
    Exceptions,
    /// And the garbage collector, and function references.
    Objects,
}

/// Numbers which look random (SplitMix64).
pub(in crate::port) struct Random(pub(in crate::port) u64);

impl Random {
    pub(in crate::port) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % limit
    }
}

/// The imports, all of preview 1, by index.
const IMPORTS: [(&str, &[ValType], &[ValType]); 5] = [
    ("sched_yield", &[], &[ValType::I32]),
    ("proc_exit", &[ValType::I32], &[]),
    ("sock_accept", &[ValType::I32, ValType::I32], &[ValType::I32]),
    // What tells a number.
    ("fd_seek", &[ValType::I32, ValType::I64, ValType::I32, ValType::I32], &[ValType::I32]),
    ("sock_listen", &[ValType::I32, ValType::I32], &[ValType::I32]),
];
const ADDED: u32 = IMPORTS.len() as u32;

/// The program of this seed, if it makes one: `_start` tells all globals, and calls all functions.
pub(in crate::port) fn program(language: Language, seed: u64) -> Option<Vec<u8>> {
    let mut random = Random(seed);
    let bytes: Vec<u8> = (0..4096).map(|_| random.below(256).to_le_bytes()[0]).collect();
    let config = config(language, random.below(4) > 0);
    let mut module = wasm_smith::Module::new(config, &mut Unstructured::new(&bytes)).ok()?;
    module.ensure_termination(200).ok()?;
    let wasm = module.to_bytes();
    let module = Module::parse(&wasm).ok()?;
    (!module.bodies.is_empty()).then(|| sprinkle(&module, random))
}

fn config(language: Language, disallow_traps: bool) -> Config {
    Config {
        max_imports: 0,
        min_funcs: 2,
        max_funcs: 8,
        min_types: 3,
        max_types: 15,
        max_instructions: 120,
        max_values: 5,
        min_memories: 1,
        max_memories: 1,
        max_memory32_bytes: 4 << 16,
        memory_max_size_required: true,
        max_tables: if language >= Language::References { 3 } else { 1 },
        max_table_elements: 50,
        table_max_size_required: true,
        max_data_segments: 4,
        max_element_segments: 6,
        max_elements: 10,
        canonicalize_nans: true,
        disallow_traps,
        allow_start_export: true,
        threads_enabled: false,
        memory64_enabled: false,
        reference_types_enabled: language >= Language::References,
        bulk_memory_enabled: language >= Language::References,
        tail_call_enabled: language >= Language::References,
        exceptions_enabled: language >= Language::Exceptions,
        gc_enabled: language >= Language::Objects,
        ..Config::default()
    }
}

/// Makes room for the imports, and puts calls of the hook between instructions.
struct Sprinkler {
    random: Random,
    hook: u32,
}

impl Reencode for Sprinkler {
    type Error = Infallible;

    fn function_index(&mut self, function: u32) -> Result<u32, Error<Infallible>> {
        Ok(function + ADDED)
    }

    fn parse_function_body(&mut self, code: &mut CodeSection, body: FunctionBody<'_>) -> Result<(), Error<Infallible>> {
        let mut function = self.new_function_with_parsed_locals(&body)?;
        let often = 3 + self.random.below(20);
        for operator in body.get_operators_reader()? {
            if self.random.below(often) == 0 {
                function.instructions().call(self.hook);
            }
            function.instruction(&self.instruction(operator?)?);
        }
        code.function(&function);
        Ok(())
    }
}

fn sprinkle(program: &Module<'_>, random: Random) -> Vec<u8> {
    let count = |items: usize| u32::try_from(items).expect("few");
    let (types, functions) = (count(program.types.len()), count(program.functions.len()));
    let hook = ADDED + functions;
    let mut sprinkler = Sprinkler { random, hook };
    write(program, &mut sprinkler, types, hook).expect("a valid module is written again")
}

fn write(
    program: &Module<'_>,
    sprinkler: &mut Sprinkler,
    own_types: u32,
    hook: u32,
) -> Result<Vec<u8>, Error<Infallible>> {
    let mut module = wasm_encoder::Module::new();
    let mut types = TypeSection::new();
    if let Some(section) = &program.type_section {
        sprinkler.parse_type_section(&mut types, section.clone())?;
    }
    let mut imports = ImportSection::new();
    for ((name, params, results), ty) in IMPORTS.into_iter().zip(own_types..) {
        types.ty().function(params.iter().copied(), results.iter().copied());
        imports.import("wasi_snapshot_preview1", name, EntityType::Function(ty));
    }
    types.ty().function([], []);
    types.ty().function([ValType::I64], []);
    module.section(&types).section(&imports);
    let mut functions = FunctionSection::new();
    for ty in program.functions.iter().copied().chain([0, 0, 1].map(|added| own_types + ADDED + added)) {
        functions.function(ty);
    }
    module.section(&functions);
    let mut tables = TableSection::new();
    for table in &program.tables {
        sprinkler.parse_table(&mut tables, table.clone())?;
    }
    let mut memories = MemorySection::new();
    for memory in &program.memories {
        memories.memory(sprinkler.memory_type(*memory)?);
    }
    module.section(&tables).section(&memories);
    let mut tags = TagSection::new();
    for tag in &program.tags {
        tags.tag(sprinkler.tag_type(*tag)?);
    }
    if !tags.is_empty() {
        module.section(&tags);
    }
    let mut globals = GlobalSection::new();
    for global in &program.globals {
        sprinkler.parse_global(&mut globals, global.clone())?;
    }
    let mut exports = ExportSection::new();
    exports.export("memory", ExportKind::Memory, 0).export("_start", ExportKind::Func, hook + 1);
    module.section(&globals).section(&exports);
    if let Some(start) = program.start {
        module.section(&StartSection { function_index: start + ADDED });
    }
    let mut elements = ElementSection::new();
    for element in &program.elements {
        sprinkler.parse_element(&mut elements, element.clone())?;
    }
    module.section(&elements);
    if let Some(count) = program.data_count {
        module.section(&DataCountSection { count });
    }
    let mut code = CodeSection::new();
    for body in &program.bodies {
        sprinkler.parse_function_body(&mut code, body.clone())?;
    }
    code.function(&hook_body());
    code.function(&entry(program, hook));
    code.function(&tell());
    module.section(&code);
    let mut data = DataSection::new();
    for segment in &program.data {
        sprinkler.parse_data(&mut data, segment.clone())?;
    }
    module.section(&data);
    Ok(module.finish())
}

/// The host tells what to do: 1 is to exit, 2 to accept a connection.
fn hook_body() -> Function {
    let mut function = Function::new([(1, ValType::I32)]);
    let mut code = function.instructions();
    code.call(0).local_tee(0).i32_const(1).i32_eq().if_(wasm_encoder::BlockType::Empty).i32_const(3).call(1).end();
    code.local_get(0).i32_const(2).i32_eq().if_(wasm_encoder::BlockType::Empty);
    code.i32_const(600).i32_const(0).call(2).drop().end().end();
    function
}

/// Tells a number.
fn tell() -> Function {
    let mut function = Function::new([]);
    function.instructions().i32_const(0).local_get(0).i32_const(0).i32_const(0).call(3).drop().end();
    function
}

fn entry(program: &Module<'_>, hook: u32) -> Function {
    let mut function = Function::new([]);
    let mut code = function.instructions();
    for (index, global) in (0..).zip(&program.globals) {
        code.global_get(index);
        tell_value(&mut code, global.ty.content_type, hook + 2);
    }
    for (index, _) in program.defined() {
        let ty = program.function_type(index).expect("a function");
        if !ty.params().iter().all(|ty| ty.is_defaultable()) {
            continue;
        }
        code.call(hook);
        for ty in ty.params() {
            default(&mut code, *ty);
        }
        code.call(index + ADDED);
        for ty in ty.results().iter().rev() {
            tell_value(&mut code, *ty, hook + 2);
        }
    }
    code.end();
    function
}

/// Tells the value on top of the stack, as far as it has one that can be told.
fn tell_value(code: &mut InstructionSink<'_>, ty: wasmparser::ValType, tell: u32) {
    match ty {
        wasmparser::ValType::I32 => code.i64_extend_i32_u(),
        wasmparser::ValType::I64 => code,
        wasmparser::ValType::F32 => code.i32_reinterpret_f32().i64_extend_i32_u(),
        wasmparser::ValType::F64 => code.i64_reinterpret_f64(),
        wasmparser::ValType::V128 => code.i64x2_extract_lane(1),
        wasmparser::ValType::Ref(_) => code.ref_is_null().i64_extend_i32_u(),
    };
    code.call(tell);
}

fn default(code: &mut InstructionSink<'_>, ty: wasmparser::ValType) {
    match ty {
        wasmparser::ValType::I32 => code.i32_const(5),
        wasmparser::ValType::I64 => code.i64_const(-1),
        wasmparser::ValType::F32 => code.f32_const(0.5.into()),
        wasmparser::ValType::F64 => code.f64_const((-1.5).into()),
        wasmparser::ValType::V128 => code.v128_const(77),
        wasmparser::ValType::Ref(reference) => {
            code.ref_null(RoundtripReencoder.heap_type(reference.heap_type()).expect("a type of the module"))
        }
    };
}
