//! The theorem: a stripped program does what it did, asks for the same imports and starts with the same content.

use arbitrary::Unstructured;
use prewasm_artifact::Artifact;
use wasm_smith::Config;
use wasmparser::{Name, Payload};
use wasmtime::{Config as EngineConfig, Engine, Extern, Instance, Module, Store, Trap, Val};

use super::*;
use crate::{
    random::Random,
    state::{Placed, placed},
};

/// Generated modules in a test run.
const CASES: u64 = 800;
/// Instructions, roughly, which a call may take.
const FUEL: u64 = 10_000;

/// Strips a module, and checks what must hold for all.
#[track_caller]
fn stripped(wasm: &[u8]) -> Result<Vec<u8>, StripError> {
    let out = strip(wasm)?;
    assert!(strip(wasm).expect("just now, too") == out, "two runs differ");
    let artifact = |wasm: &[u8]| Artifact::from_bytes("test", wasm.to_vec()).expect("valid");
    let (before, after) = (artifact(wasm), artifact(&out));
    assert_eq!(before.imports(), after.imports());
    assert_eq!(before.exports(), after.exports());
    let memories = |wasm: &[u8]| {
        let program = Program::parse(wasm).expect("valid");
        let content = |segment: Placed<'_>| (segment.memory, segment.offset, segment.bytes.to_vec());
        let contents: Option<Vec<_>> = placed(&program).map(|segments| segments.into_iter().map(content).collect());
        (program.memories.clone(), contents)
    };
    assert_eq!(memories(wasm), memories(&out));
    Ok(out)
}

fn binary(wat: &str) -> Vec<u8> {
    wat::parse_str(wat).expect("valid text")
}

fn printed(wasm: &[u8]) -> (u32, usize, Vec<String>) {
    let program = Program::parse(wasm).expect("valid");
    let customs = program.customs.iter().map(|(_, section)| section.name().to_owned()).collect();
    (program.functions(), program.globals.len(), customs)
}

#[test]
fn what_only_the_start_up_reached_goes() {
    let wasm = binary(
        r#"(module
            (import "host" "used" (func $used)) (import "host" "unused" (func $unused (param i64)))
            (import "host" "global" (global i32))
            (type $of_init (func (param f64 f64)))
            (memory (export "memory") 1) (memory $unused_memory 2)
            (table 2 funcref) (elem (i32.const 0) $in_table)
            (global $count (mut i32) (i32.const 7)) (global $of_init (mut i64) (i64.const 1))
            (data (i32.const 5) "content") (data $of_init "passive")
            (func $init (call $helper (f64.const 1) (f64.const 2)) (global.set $of_init (i64.const 2)))
            (func $helper (type $of_init)
                (memory.init $of_init (i32.const 0) (i32.const 0) (i32.const 1)) (call $init))
            (func $in_table (call $used))
            (func $inner (result i32) (global.get $count))
            (func (export "run") (result i32) (call_indirect (i32.const 0)) (call $inner)))"#,
    );
    let out = stripped(&wasm).expect("plain");
    let (functions, globals, customs) = printed(&out);
    assert_eq!((functions, globals, customs), (5, 1, vec!["name".to_owned()]));
    let program = Program::parse(&out).expect("valid");
    assert_eq!((program.data.len(), program.memories.len()), (1, 2));
    let text = String::from_utf8_lossy(&out);
    assert!(text.contains("in_table") && text.contains("inner") && !text.contains("helper"));
}

#[test]
fn names_follow_their_functions() {
    let wasm = binary(
        r#"(module (func $lost) (func $small (export "small"))
            (func $large (export "large") (drop (i32.const 1)) (drop (i32.const 2))))"#,
    );
    let out = stripped(&wasm).expect("plain");
    let program = Program::parse(&out).expect("valid");
    let (_, names) = program.customs.iter().find(|(_, section)| section.name() == "name").expect("names");
    for subsection in NameSectionReader::new(BinaryReader::new(names.data(), 0)) {
        let Name::Function(names) = subsection.expect("valid") else { continue };
        for naming in names {
            let naming = naming.expect("valid");
            let export = program.exports.iter().find(|export| export.name == naming.name).expect("same name");
            assert_eq!(export.index, naming.index);
        }
    }
}

#[test]
fn custom_sections_stay_in_their_places() {
    let wasm = binary(
        r#"(module (@custom "first" (before first) "1") (@custom "prewasm.frozen" (after code) "2")
            (@custom ".debug_info" (after code) "3") (@custom "metadata.code.branch_hint" (before code) "\00")
            (@custom "producers" "\00") (@custom "behind elements" (after elem) "4") (@custom "dylink.0" (before first) "")
            (table 1 funcref) (elem (i32.const 0) $lost)
            (func $lost) (func $run (export "run")))"#,
    );
    let (.., customs) = printed(&stripped(&wasm).expect("plain"));
    assert_eq!(customs, ["first", "dylink.0", "behind elements", "prewasm.frozen", "producers", "name"]);
}

#[test]
fn broken_names_do_no_harm() {
    for names in
        ["\\01\\05\\ff\\ff\\ff", "\\01\\04\\01\\ff\\7f\\00", "\\02\\06\\01\\ff\\7f\\01\\00\\00", "\\63\\01\\00"]
    {
        let wasm = binary(&format!(r#"(module (@custom "name" "{names}") (func (export "run")))"#));
        stripped(&wasm).expect("the rest is plain");
    }
}

#[test]
fn what_walrus_does_not_handle_is_refused() {
    for wat in [
        "(module (type (struct)))",
        "(module (func (param (ref func))))",
        "(module (memory 1 (pagesize 1)))",
        "(module (func (param i64 i64 i64 i64) (result i64 i64)
            (i64.add128 (local.get 0) (local.get 1) (local.get 2) (local.get 3))))",
    ] {
        assert!(matches!(stripped(&binary(wat)), Err(StripError::Unsupported(_))), "{wat}");
    }
    assert!(matches!(strip(&binary("(component)")), Err(StripError::Component)));
}

#[test]
fn exports_do_what_they_did() {
    let engine = engine();
    let (mut results, mut smaller) = (0, 0);
    for seed in 0..CASES {
        let Some(wasm) = generated(seed) else { continue };
        let out = stripped(&wasm).unwrap_or_else(|error| panic!("seed {seed}: {error:?}"));
        smaller += usize::from(functions(&out) < functions(&wasm));
        // One which cannot be instantiated is no snapshot.
        let Some(before) = behaviour(&engine, &wasm) else { continue };
        assert_eq!(Some(&before), behaviour(&engine, &out).as_ref(), "seed {seed}");
        let program = Program::parse(&out).expect("valid");
        let reversed = reorder::reordered(&program, (0..program.bodies.len()).rev().collect()).expect("valid");
        assert_eq!(Some(&before), behaviour(&engine, &reversed).as_ref(), "seed {seed}, in reverse order");
        results += before.len();
    }
    assert!(results > 1000 && smaller > 100, "{results} results, {smaller} smaller");
}

fn functions(wasm: &[u8]) -> usize {
    let count = |payload| match payload {
        Ok(Payload::FunctionSection(section)) => Some(section.count() as usize),
        _ => None,
    };
    Parser::new(0).parse_all(wasm).find_map(count).unwrap_or(0)
}

fn engine() -> Engine {
    let mut config = EngineConfig::new();
    config.consume_fuel(true).wasm_exceptions(true).cranelift_nan_canonicalization(true);
    config.relaxed_simd_deterministic(true).wasm_multi_memory(true).wasm_memory64(true);
    Engine::new(&config).expect("a valid configuration")
}

/// What every export does, or holds, in order; `None` if there can be no instance.
fn behaviour(engine: &Engine, wasm: &[u8]) -> Option<Vec<String>> {
    let module = Module::new(engine, wasm).expect("valid");
    let mut store = Store::new(engine, ());
    store.set_fuel(FUEL).expect("enabled");
    let instance = Instance::new(&mut store, &module, &[]).ok()?;
    let mut seen = Vec::new();
    let names: Vec<String> = module.exports().map(|export| export.name().to_owned()).collect();
    for name in &names {
        let Some(Extern::Func(function)) = instance.get_export(&mut store, name) else { continue };
        let ty = function.ty(&store);
        let arguments: Option<Vec<Val>> = ty.params().map(|ty| ty.default_value()).collect();
        let mut results = vec![Val::I32(0); ty.results().len()];
        store.set_fuel(FUEL).expect("enabled");
        let outcome = function.call(&mut store, &arguments.expect("all types have a default"), &mut results);
        seen.push(outcome.map_or_else(|error| trap(&error), |()| results.iter().map(value).collect()));
    }
    for name in &names {
        match instance.get_export(&mut store, name) {
            Some(Extern::Global(global)) => seen.push(value(&global.get(&mut store))),
            Some(Extern::Memory(memory)) => seen.push(prewasm_artifact::sha256([memory.data(&store)]).to_string()),
            Some(Extern::Table(table)) => seen.push(table.size(&store).to_string()),
            _ => {}
        }
    }
    Some(seen)
}

fn trap(error: &wasmtime::Error) -> String {
    error.downcast_ref::<Trap>().map_or_else(|| "exception".to_owned(), |trap| format!("{trap:?}"))
}

fn value(value: &Val) -> String {
    match value {
        Val::FuncRef(function) => format!("function: {}", function.is_some()),
        Val::ExternRef(_) | Val::AnyRef(_) | Val::ExnRef(_) | Val::ContRef(_) => "reference".to_owned(),
        number => format!("{number:?}"),
    }
}

fn generated(seed: u64) -> Option<Vec<u8>> {
    let bytes = Random::new(seed).bytes(4096);
    let config = Config {
        // Those with imports are not run.
        max_imports: if seed % 4 == 3 { 6 } else { 0 },
        min_funcs: 2,
        max_funcs: 12,
        min_exports: 1,
        max_instructions: 80,
        max_memories: 3,
        max_memory32_bytes: 1 << 20,
        max_memory64_bytes: 1 << 20,
        memory_max_size_required: true,
        max_tables: 3,
        max_table_elements: 50,
        table_max_size_required: true,
        canonicalize_nans: true,
        disallow_traps: seed.is_multiple_of(2),
        memory64_enabled: true,
        exceptions_enabled: true,
        extended_const_enabled: true,
        tail_call_enabled: true,
        relaxed_simd_enabled: true,
        gc_enabled: false,
        threads_enabled: false,
        custom_page_sizes_enabled: false,
        wide_arithmetic_enabled: false,
        ..Config::default()
    };
    let mut module = wasm_smith::Module::new(config, &mut Unstructured::new(&bytes)).ok()?;
    module.ensure_termination(100).ok()?;
    let wasm = module.to_bytes();
    Validator::new_with_features(FEATURES).validate_all(&wasm).ok()?;
    Some(wasm)
}
