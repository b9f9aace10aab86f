//! Writes programs which call the host a lot, from everywhere: valid, ended soon, and seldom trapping.
//!
//! Each program is a different mix of constructs. It ends since each call and each round of a loop takes from a
//! global, `$fuel`; without any, functions return at once and loops are left.
//!
//! ```wat
//! (func $f (param $depth i32) (param f64) (result i64 f32)
//!   (global.set $fuel (i32.sub (global.get $fuel) (i32.const 1)))
//!   (if (i32.or (i32.le_s (local.get $depth) (i32.const 0)) (i32.le_s (global.get $fuel) (i32.const 0)))
//!     (then (return (i64.const 0) (f32.const 0))))
//!   …)
//! ```

mod body;

use std::borrow::Cow;

use wasm_encoder::{
    CodeSection, ConstExpr, DataCountSection, DataSection, ElementSection, Elements, EntityType, ExportKind,
    ExportSection, Function, FunctionSection, GlobalSection, GlobalType, HeapType, ImportSection, MemorySection,
    MemoryType, Module, RefType, TableSection, TableType, TagKind, TagSection, TagType, TypeSection, ValType,
};

use self::body::Body;
use crate::random::Random;

/// Functions of one signature stand together in the first table, so many of them.
const SLOTS: usize = 4;
/// Pages of 64 KiB to which a memory may grow.
const MAX_PAGES: u64 = 4;
const PLAIN: [ValType; 5] = [ValType::I32, ValType::I64, ValType::F32, ValType::F64, ValType::V128];

/// The program of this seed.
pub(super) fn program(seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    let mut plan = Plan::new(&mut random);
    let bodies: Vec<Function> =
        (0..plan.functions.len()).map(|index| Body::of(&mut plan, &mut random, index)).collect();
    plan.module(&mut random, &bodies)
}

/// Parameters and results of a function.
#[derive(Clone)]
struct Signature {
    params: Vec<ValType>,
    results: Vec<ValType>,
    /// The parameter which bounds recursion.
    depth: Option<usize>,
}

/// What a program consists of, apart from its code.
struct Plan {
    /// The first types; there is one for each signature.
    signatures: Vec<Signature>,
    /// The other types: those of blocks, and of tags.
    blocks: Vec<(Vec<ValType>, Vec<ValType>)>,
    /// Each import has a signature of its own: those come first.
    imports: usize,
    /// The signatures of functions; the first is the entry's, and nobody else's.
    functions: Vec<usize>,
    /// The first is the fuel.
    globals: Vec<GlobalType>,
    fuel: i32,
    tags: Vec<Vec<ValType>>,
    /// Whether addresses have 64 bits.
    memories: Vec<bool>,
    /// Lengths of passive segments.
    data: Vec<usize>,
    elements: Vec<usize>,
    features: Features,
}

/// Parts of the language which not all programs use.
#[derive(Clone, Copy)]
struct Features {
    exceptions: bool,
    tail_calls: bool,
    /// References of concrete types, and `call_ref`.
    typed: bool,
    /// Code changes tables.
    tables: bool,
    /// Code drops segments.
    drops: bool,
}

impl Plan {
    fn new(random: &mut Random) -> Self {
        let features = Features {
            exceptions: random.chance(60),
            tail_calls: random.chance(50),
            typed: random.chance(25),
            tables: random.chance(50),
            drops: random.chance(40),
        };
        let mut signatures = imports(random);
        let imports = signatures.len();
        let entry = Signature { params: Vec::new(), results: types(random, 3), depth: None };
        signatures.push(entry);
        for _ in 0..1 + random.below(3) {
            signatures.push(signature(random));
        }
        let mut functions: Vec<usize> = (imports..signatures.len()).collect();
        for _ in 0..random.below(2) {
            functions.push(imports + 1 + random.below(signatures.len() - imports - 1));
        }
        let mut globals = vec![GlobalType { val_type: ValType::I32, mutable: true, shared: false }];
        for val_type in PLAIN.into_iter().chain([ValType::FUNCREF, ValType::EXTERNREF]) {
            globals.push(GlobalType { val_type, mutable: random.chance(85), shared: false });
        }
        Self {
            blocks: Vec::new(),
            imports,
            functions,
            globals,
            fuel: 10 + i32::try_from(random.below(90)).expect("small"),
            tags: vec![Vec::new(), vec![*random.pick(&PLAIN)], types(random, 3)],
            memories: if random.chance(25) { vec![false, true] } else { vec![false] },
            data: vec![1 + random.below(40), 1 + random.below(9)],
            elements: vec![1 + random.below(4), 1 + random.below(4)],
            signatures,
            features,
        }
    }

    /// The type `params -> results`; those of blocks come behind those of functions.
    fn ty(&mut self, params: &[ValType], results: &[ValType]) -> u32 {
        let wanted = (params.to_vec(), results.to_vec());
        let place = self.blocks.iter().position(|known| *known == wanted).unwrap_or_else(|| {
            self.blocks.push(wanted);
            self.blocks.len() - 1
        });
        index(self.signatures.len() + place)
    }

    /// The index of a function of ours.
    fn function(&self, place: usize) -> u32 {
        index(self.imports + place)
    }

    /// Functions of this signature, imports included.
    fn of_signature(&self, signature: usize) -> Vec<u32> {
        if signature < self.imports {
            return vec![index(signature)];
        }
        let functions = self.functions.iter().enumerate().filter(|(_, of)| **of == signature);
        functions.map(|(place, _)| self.function(place)).collect()
    }

    fn module(mut self, random: &mut Random, bodies: &[Function]) -> Vec<u8> {
        let tags = self.tags();
        let mut module = Module::new();
        module.section(&self.types());
        module.section(&self.import_section());
        let mut functions = FunctionSection::new();
        for signature in &self.functions {
            functions.function(index(*signature));
        }
        module.section(&functions);
        module.section(&self.tables());
        module.section(&self.memories());
        if self.features.exceptions {
            module.section(&tags);
        }
        module.section(&self.globals(random));
        let mut exports = ExportSection::new();
        exports.export("_start", ExportKind::Func, self.function(0));
        exports.export("memory", ExportKind::Memory, 0);
        module.section(&exports);
        module.section(&self.elements(random));
        module.section(&DataCountSection { count: index(self.data.len() + 1) });
        let mut code = CodeSection::new();
        for body in bodies {
            code.function(body);
        }
        module.section(&code);
        let mut data = DataSection::new();
        for length in &self.data {
            data.passive(random.bytes(*length));
        }
        data.active(0, &ConstExpr::i32_const(64), random.bytes(100));
        module.section(&data);
        module.finish()
    }

    fn types(&self) -> TypeSection {
        let mut section = TypeSection::new();
        for Signature { params, results, .. } in &self.signatures {
            section.ty().function(params.iter().copied(), results.iter().copied());
        }
        for (params, results) in &self.blocks {
            section.ty().function(params.iter().copied(), results.iter().copied());
        }
        section
    }

    fn import_section(&self) -> ImportSection {
        let mut section = ImportSection::new();
        for import in 0..self.imports {
            section.import("host", &format!("f{import}"), EntityType::Function(index(import)));
        }
        section
    }

    fn tags(&mut self) -> TagSection {
        let mut section = TagSection::new();
        for params in self.tags.clone() {
            section.tag(TagType { kind: TagKind::Exception, func_type_idx: self.ty(&params, &[]) });
        }
        section
    }

    /// The first is for indirect calls, the second for changes.
    fn tables(&self) -> TableSection {
        let mut section = TableSection::new();
        let size = (self.signatures.len() * SLOTS) as u64;
        for minimum in [size, 4] {
            let (element_type, maximum) = (RefType::FUNCREF, Some(minimum + 20));
            section.table(TableType { element_type, table64: false, minimum, maximum, shared: false });
        }
        section
    }

    fn memories(&self) -> MemorySection {
        let mut section = MemorySection::new();
        for memory64 in &self.memories {
            let maximum = Some(MAX_PAGES);
            let memory64 = *memory64;
            section.memory(MemoryType { minimum: 1, maximum, memory64, shared: false, page_size_log2: None });
        }
        section
    }

    fn globals(&self, random: &mut Random) -> GlobalSection {
        let mut section = GlobalSection::new();
        section.global(self.globals[0], &ConstExpr::i32_const(self.fuel));
        for ty in &self.globals[1..] {
            let bits = random.number();
            section.global(
                *ty,
                &match ty.val_type {
                    ValType::I32 => ConstExpr::i32_const(small(bits)),
                    ValType::I64 => ConstExpr::i64_const(bits.cast_signed()),
                    ValType::F32 => ConstExpr::f32_const((small(bits) as f32).into()),
                    ValType::F64 => ConstExpr::f64_const((bits as f64).into()),
                    ValType::V128 => ConstExpr::v128_const(i128::from(bits)),
                    ValType::Ref(RefType::EXTERNREF) => ConstExpr::ref_null(HeapType::EXTERN),
                    ValType::Ref(_) => ConstExpr::ref_func(self.function(random.below(self.functions.len()))),
                },
            );
        }
        section
    }

    fn elements(&self, random: &mut Random) -> ElementSection {
        let mut section = ElementSection::new();
        for length in &self.elements {
            let functions: Vec<u32> =
                (0..*length).map(|_| index(random.below(self.imports + self.functions.len()))).collect();
            section.passive(Elements::Functions(functions.into()));
        }
        for signature in 0..self.signatures.len() {
            let functions = self.of_signature(signature);
            let slots: Vec<u32> = functions.iter().copied().cycle().take(SLOTS).collect();
            let offset = ConstExpr::i32_const(small((signature * SLOTS) as u64));
            section.active(Some(0), &offset, Elements::Functions(slots.into()));
        }
        let all: Vec<u32> = (0..self.imports + self.functions.len()).map(index).collect();
        section.declared(Elements::Functions(Cow::Owned(all)));
        section
    }
}

/// Imports for all needs: one without anything, one which takes and one which gives each type, and some at random.
fn imports(random: &mut Random) -> Vec<Signature> {
    let import = |params: &[ValType], results: &[ValType]| Signature {
        params: params.to_vec(),
        results: results.to_vec(),
        depth: None,
    };
    let mut imports = vec![import(&[], &[]), import(&[ValType::FUNCREF], &[ValType::I32])];
    for ty in PLAIN {
        imports.push(if random.chance(50) { import(&[ty], &[]) } else { import(&[ty, ValType::I32], &[ty]) });
        imports.push(import(&[], &[ty]));
    }
    for _ in 0..2 + random.below(3) {
        imports.push(import(&types(random, 4), &types(random, 4)));
    }
    imports
}

fn signature(random: &mut Random) -> Signature {
    let mut params = types(random, 4);
    let depth = random.below(params.len() + 1);
    params.insert(depth, ValType::I32);
    Signature { params, results: types(random, 4), depth: Some(depth) }
}

/// Up to `most` types.
fn types(random: &mut Random, most: usize) -> Vec<ValType> {
    (0..random.below(most + 1)).map(|_| ty(random)).collect()
}

fn ty(random: &mut Random) -> ValType {
    random.weighted(&[
        (30, ValType::I32),
        (20, ValType::I64),
        (12, ValType::F32),
        (12, ValType::F64),
        (12, ValType::V128),
        (6, ValType::FUNCREF),
        (3, ValType::EXTERNREF),
    ])
}

fn index(place: usize) -> u32 {
    u32::try_from(place).expect("programs are small")
}

fn small(bits: u64) -> i32 {
    i32::try_from(bits % 1000).expect("small")
}
