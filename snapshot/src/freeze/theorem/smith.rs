//! Programs from wasm-smith, with host calls put between their instructions.
//!
//! wasm-smith's own modules hardly ever call the host. So imports are added, a call of one of them is put at random
//! places of all bodies, where it finds whatever operands there are, and an entry calls all functions one by one.

use std::convert::Infallible;

use arbitrary::Unstructured;
use wasm_encoder::{
    BlockType, Catch, CodeSection, ElementSection, EntityType, ExportKind, ExportSection, Function, FunctionSection,
    GlobalSection, ImportSection, InstructionSink, Module, RawSection, StartSection, TableSection, TypeSection,
    ValType,
    reencode::{Error, Reencode, RoundtripReencoder},
};
use wasm_smith::{Config, MemoryOffsetChoices};
use wasmparser::{FunctionBody, Operator, OperatorsReader, Parser, Payload, ValidPayload, Validator, WasmFeatures};

use crate::program::Program;
use crate::random::Random;

/// Parts of the language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Language {
    /// The first version, blocks with parameters and several results, SIMD.
    Basic,
    /// And reference types, bulk operations, tail calls.
    References,
    /// And exceptions.
    Exceptions,
    /// And the garbage collector, function references, 64-bit memories, several memories and tables.
    Everything,
}

/// The imports: without anything, and one for each type which takes and gives it.
const PASSED: [ValType; 6] = [ValType::I32, ValType::I64, ValType::F32, ValType::F64, ValType::V128, ValType::FUNCREF];

/// The program of this seed, if it makes one.
pub(super) fn program(language: Language, seed: u64) -> Option<Vec<u8>> {
    let mut random = Random::new(seed);
    let bytes = random.bytes(4096);
    let mut module = wasm_smith::Module::new(config(language, &mut random), &mut Unstructured::new(&bytes)).ok()?;
    module.ensure_termination(100).ok()?;
    let wasm = module.to_bytes();
    let program = Program::parse(&wasm).ok()?;
    if program.bodies.is_empty() {
        return None;
    }
    Some(Sprinkler { program: &program, random: &mut random, language }.write())
}

fn config(language: Language, random: &mut Random) -> Config {
    let has = |least: Language| language as u8 >= least as u8;
    Config {
        max_imports: 0,
        min_funcs: 2,
        max_funcs: 8,
        min_types: 3,
        max_types: 15,
        max_instructions: 120,
        max_values: 5,
        min_memories: 1,
        max_memories: if has(Language::Everything) { 2 } else { 1 },
        memory_max_size_required: true,
        max_memory32_bytes: 4 << 16,
        max_memory64_bytes: 4 << 16,
        memory_offset_choices: MemoryOffsetChoices(95, 4, 1),
        max_tables: if has(Language::References) { 3 } else { 1 },
        max_table_elements: 50,
        table_max_size_required: true,
        max_data_segments: 4,
        max_element_segments: 6,
        max_elements: 10,
        canonicalize_nans: true,
        disallow_traps: random.chance(80),
        allow_start_export: has(Language::References),
        threads_enabled: false,
        relaxed_simd_enabled: true,
        reference_types_enabled: has(Language::References),
        bulk_memory_enabled: has(Language::References),
        tail_call_enabled: has(Language::References),
        exceptions_enabled: has(Language::Exceptions),
        gc_enabled: has(Language::Everything),
        memory64_enabled: has(Language::Everything),
        ..Config::default()
    }
}

struct Sprinkler<'a> {
    program: &'a Program<'a>,
    random: &'a mut Random,
    language: Language,
}

/// Makes room for the imports.
struct Shift;

impl Reencode for Shift {
    type Error = Infallible;

    fn function_index(&mut self, function: u32) -> Result<u32, Error<Infallible>> {
        Ok(function + IMPORTS)
    }
}

const IMPORTS: u32 = PASSED.len() as u32 + 1;

impl Sprinkler<'_> {
    fn write(mut self) -> Vec<u8> {
        let mut module = Module::new();
        let mut is_exported = false;
        for payload in &self.program.payloads {
            // There may be no export section. Behind its place come these.
            let is_behind_exports = matches!(
                payload,
                Payload::StartSection { .. }
                    | Payload::ElementSection(_)
                    | Payload::DataCountSection { .. }
                    | Payload::CodeSectionStart { .. }
            );
            if is_behind_exports && !is_exported {
                let mut exports = ExportSection::new();
                exports.export("_start", ExportKind::Func, IMPORTS + self.program.functions());
                module.section(&exports);
                is_exported = true;
            }
            self.section(&mut module, payload).expect("a valid module is written again");
        }
        module.finish()
    }

    fn section(&mut self, module: &mut Module, payload: &Payload<'_>) -> Result<(), Error<Infallible>> {
        match payload {
            Payload::TypeSection(section) => {
                let mut types = TypeSection::new();
                Shift.parse_type_section(&mut types, section.clone())?;
                types.ty().function([], []);
                for ty in PASSED {
                    types.ty().function([ty], [ty]);
                }
                module.section(&types);
                module.section(&self.imports());
            }
            Payload::ImportSection(_) | Payload::ExportSection(_) | Payload::CodeSectionEntry(_) => {}
            Payload::FunctionSection(section) => {
                let mut functions = FunctionSection::new();
                Shift.parse_function_section(&mut functions, section.clone())?;
                functions.function(self.program.type_count());
                module.section(&functions);
            }
            Payload::TableSection(section) => {
                let mut tables = TableSection::new();
                Shift.parse_table_section(&mut tables, section.clone())?;
                module.section(&tables);
            }
            Payload::GlobalSection(section) => {
                let mut globals = GlobalSection::new();
                Shift.parse_global_section(&mut globals, section.clone())?;
                module.section(&globals);
            }
            Payload::StartSection { func, .. } => {
                module.section(&StartSection { function_index: func + IMPORTS });
            }
            Payload::ElementSection(section) => {
                let mut elements = ElementSection::new();
                Shift.parse_element_section(&mut elements, section.clone())?;
                module.section(&elements);
            }
            Payload::CodeSectionStart { .. } => {
                module.section(&self.code()?);
            }
            other => {
                if let Some((id, range)) = other.as_section() {
                    module.section(&RawSection { id, data: &self.program.wasm[range] });
                }
            }
        }
        Ok(())
    }

    fn imports(&self) -> ImportSection {
        let mut section = ImportSection::new();
        for import in 0..IMPORTS {
            section.import("host", &format!("f{import}"), EntityType::Function(self.program.type_count() + import));
        }
        section
    }

    fn code(&mut self) -> Result<CodeSection, Error<Infallible>> {
        let mut code = CodeSection::new();
        let mut validator = Validator::new_with_features(WasmFeatures::all());
        for payload in Parser::new(0).parse_all(self.program.wasm) {
            if let ValidPayload::Func(function, body) = validator.payload(&payload?)? {
                let validator = function.into_validator(Default::default());
                code.function(&self.body(validator, &body)?);
            }
        }
        code.function(&self.entry());
        Ok(code)
    }

    fn body(
        &mut self,
        mut validator: wasmparser::FuncValidator<wasmparser::ValidatorResources>,
        body: &FunctionBody<'_>,
    ) -> Result<Function, Error<Infallible>> {
        let mut function = Shift.new_function_with_parsed_locals(body)?;
        let mut reader = body.get_binary_reader();
        validator.read_locals(&mut reader)?;
        let mut operators = OperatorsReader::new(reader);
        let often = 2 + self.random.below(25);
        while !operators.eof() {
            let at = operators.original_position();
            let operator: Operator<'_> = operators.read()?;
            if self.random.chance(often) {
                let floor = validator.get_control_frame(0).map_or(0, |frame| frame.height);
                let is_ours = validator.operand_stack_height() as usize > floor;
                let top = validator.get_operand_type(0).flatten();
                self.host_call(&mut function, top.filter(|_| is_ours));
            }
            validator.op(at, &operator)?;
            function.instruction(&Shift.instruction(operator)?);
        }
        Ok(function)
    }

    /// A call which leaves the stack as it is, or passes the value on top of it through the host.
    fn host_call(&mut self, function: &mut Function, top: Option<wasmparser::ValType>) {
        let top = top.and_then(|ty| RoundtripReencoder.val_type(ty).ok());
        let fit = PASSED.iter().position(|ty| Some(*ty) == top).filter(|_| self.random.chance(30));
        function.instructions().call(fit.map_or(0, |place| place as u32 + 1));
    }

    /// Calls all functions whose arguments can be made up, in any order.
    fn entry(&mut self) -> Function {
        let mut function = Function::new([]);
        let mut functions: Vec<u32> = (0..self.program.functions()).collect();
        while !functions.is_empty() {
            let callee = functions.swap_remove(self.random.below(functions.len()));
            let signature = self.program.signature(callee);
            if !signature.params.iter().all(|ty| ty.is_defaultable()) {
                continue;
            }
            let handles = self.language as u8 >= Language::Exceptions as u8 && self.random.chance(50);
            let mut code = function.instructions();
            if handles {
                code.block(BlockType::Empty).try_table(BlockType::Empty, [Catch::All { label: 0 }]);
            }
            code.call(0);
            for ty in &signature.params {
                argument(&mut code, self.random, *ty);
            }
            code.call(callee + IMPORTS);
            for _ in &signature.results {
                code.drop();
            }
            if handles {
                code.end().end();
            }
        }
        function.instructions().end();
        function
    }
}

fn argument(code: &mut InstructionSink<'_>, random: &mut Random, ty: wasmparser::ValType) {
    let bits = random.number();
    match ty {
        wasmparser::ValType::I32 => code.i32_const(bits as i32 % 100),
        wasmparser::ValType::I64 => code.i64_const(bits.cast_signed()),
        wasmparser::ValType::F32 => code.f32_const(f32::from_bits(bits as u32).into()),
        wasmparser::ValType::F64 => code.f64_const(f64::from_bits(bits).into()),
        wasmparser::ValType::V128 => code.v128_const(i128::from(bits)),
        wasmparser::ValType::Ref(reference) => {
            let ty = RoundtripReencoder.heap_type(reference.heap_type()).expect("a type of the module");
            code.ref_null(ty)
        }
    };
}
