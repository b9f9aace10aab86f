//! The theorem: however it is laid out, a module starts with the same content, and nothing else of it changes.

use arbitrary::Unstructured;
use wasm_smith::{Config, MemoryOffsetChoices};
use wasmparser::{Validator, WasmFeatures};

use super::*;
use crate::{
    program::Program,
    random::Random,
    sections::{CUSTOM, Section},
    state::{State, contents},
};

const LAYOUTS: [Layout; 3] = [Layout::Cow, Layout::Wire, Layout::Raw];
/// Generated modules in a test run.
const CASES: u64 = 2000;

/// Lays a module out, and checks what must hold.
#[track_caller]
fn holds(wasm: &[u8], layout: Layout) -> Vec<u8> {
    let out = apply(wasm, layout).expect("well-formed");
    Validator::new_with_features(WasmFeatures::all()).validate_all(&out).expect("still valid");
    assert!(apply(&out, layout).expect("well-formed") == out, "a second time changes something");
    let (before, after) = (Program::parse(wasm).expect("valid"), Program::parse(&out).expect("valid"));
    assert_eq!(State::initial(&before), State::initial(&after), "{layout}");
    assert_eq!(others(wasm), others(&out));
    if layout == Layout::Cow {
        assert!(!is_mapped(&before) || is_mapped(&after), "it was mapped before");
    }
    out
}

/// All that must stay as it is, byte for byte.
fn others(wasm: &[u8]) -> Vec<&[u8]> {
    let is_other = |section: &Section<'_>| match section.id {
        CUSTOM => section.custom().is_none_or(|(name, _)| name != "name"),
        id => id != 11 && id != 12,
    };
    let sections = sections(wasm).expect("well-formed");
    sections.into_iter().filter(is_other).map(|section| section.whole).collect()
}

#[track_caller]
fn laid_out(wat: &str, layout: Layout) -> String {
    let wasm = wat::parse_str(wat).expect("valid text");
    let out = holds(&wasm, layout);
    let program = Program::parse(&out).expect("valid");
    let describe = |data: &wasmparser::Data<'_>| match &data.kind {
        wasmparser::DataKind::Passive => format!("passive {}", data.data.len()),
        wasmparser::DataKind::Active { memory_index, offset_expr } => {
            let offset = offset_expr.get_operators_reader().into_iter().next().expect("one").expect("valid");
            format!("{memory_index}: {offset:?} {}", data.data.len())
        }
    };
    program.data.iter().map(describe).collect::<Vec<_>>().join(", ")
}

#[test]
fn near_segments_become_one() {
    let wat = r#"(module (memory 4)
        (data (i32.const 100000) "\00\00last\00")
        (data (i32.const 16) "first") (data (i32.const 300) "second")
        (data (i32.const 3000) "third") (data (i32.const 3001) "H"))"#;
    let first = "0: I32Const { value: 16 }";
    let last = "0: I32Const { value: 100002 } 4";
    assert_eq!(laid_out(wat, Layout::Cow), format!("{first} 2989, {last}"));
    assert_eq!(laid_out(wat, Layout::Wire), format!("{first} 290, 0: I32Const {{ value: 3000 }} 5, {last}"));
}

#[test]
fn each_memory_has_segments_of_its_own() {
    let wat = r#"(module (memory 1) (memory i64 1) (memory 1) (global $base i64 (i64.const 8))
        (data (memory 1) (i64.const 9) "b") (data (i32.const 1) "a") (data (memory 2) (i32.const 0) "\00")
        (data (memory 1) (i64.add (global.get $base) (i64.const 2)) "c"))"#;
    assert_eq!(laid_out(wat, Layout::Wire), "0: I32Const { value: 1 } 1, 1: I64Const { value: 9 } 2");
}

#[test]
fn offsets_beyond_two_gib_are_written_as_they_must_be() {
    let wat = r#"(module (memory 40000) (data (i32.const -2000000000) "high") (data (i32.const 0) "low"))"#;
    let wasm = wat::parse_str(wat).expect("valid text");
    let out = apply(&wasm, Layout::Cow).expect("well-formed");
    let program = Program::parse(&out).expect("valid");
    let contents = contents(&program).expect("known");
    assert_eq!(contents[0].runs(), [0..3, 2_294_967_296..2_294_967_300]);
}

#[test]
fn a_huge_memory_costs_nothing() {
    let wat = r#"(module (memory i64 0x100000000) (data (i64.const 0xffffffffff) "far") (data (i64.const 7) "near"))"#;
    let wasm = wat::parse_str(wat).expect("valid text");
    for layout in LAYOUTS {
        let out = apply(&wasm, layout).expect("well-formed");
        assert!(out.len() < wasm.len() + 10);
    }
}

#[test]
fn segments_which_code_names_stay_in_their_places() {
    let wat = r#"(module (memory 1)
        (data (i32.const 8) "active") (data $passive "passive") (data $dropped (i32.const 400) "dropped")
        (data "nobody") (data (i32.const 20) "more")
        (func (memory.init $passive (i32.const 0) (i32.const 0) (i32.const 7)) (data.drop $dropped)))"#;
    let kept = "passive 0, passive 7, passive 0";
    assert_eq!(laid_out(wat, Layout::Cow), format!("{kept}, 0: I32Const {{ value: 8 }} 399"));
}

#[test]
fn code_which_reads_segments_sees_what_it_saw() {
    let wat = r#"(module (memory (export "memory") 1)
        (data $active (i32.const 8) "active") (data $passive "passive") (data (i32.const 99) "x")
        (func (export "empty") (memory.init $active (i32.const 0) (i32.const 0) (i32.const 0)))
        (func (export "gone") (memory.init $active (i32.const 0) (i32.const 0) (i32.const 1)))
        (func (export "copy") (memory.init $passive (i32.const 200) (i32.const 0) (i32.const 7))))"#;
    let wasm = wat::parse_str(wat).expect("valid text");
    let engine = wasmtime::Engine::default();
    for layout in LAYOUTS {
        let module = wasmtime::Module::new(&engine, holds(&wasm, layout)).expect("valid");
        let mut store = wasmtime::Store::new(&engine, ());
        let instance = wasmtime::Instance::new(&mut store, &module, &[]).expect("no imports");
        let mut call = |name| {
            let function = instance.get_typed_func::<(), ()>(&mut store, name).expect("exported");
            function.call(&mut store, ()).is_ok()
        };
        assert_eq!([call("empty"), call("gone"), call("copy")], [true, false, true], "{layout}");
        let memory = instance.get_memory(&mut store, "memory").expect("exported");
        assert_eq!(&memory.data(&store)[200..207], b"passive");
    }
}

#[test]
fn what_is_not_known_before_stays_as_it_is() {
    for wat in [
        r#"(module (import "a" "b" (memory 1)) (data (i32.const 0) "x") (data (i32.const 1) "y"))"#,
        r#"(module (import "a" "b" (global i32)) (memory 1) (data (global.get 0) "x") (data (i32.const 1) "y"))"#,
        r#"(module (memory 1 1 shared) (data (i32.const 0) "x") (data (i32.const 1) "y"))"#,
        r#"(module (memory 1) (data (i32.const 0) "x") (data (i32.const 65536) "y"))"#,
        "(module (memory 1))",
    ] {
        let wasm = wat::parse_str(wat).expect("valid text");
        for layout in LAYOUTS {
            assert!(holds(&wasm, layout) == wasm, "{wat}");
        }
    }
}

#[test]
fn an_image_which_zeros_have_made_dense_is_still_mapped() {
    let zeros = "\\00".repeat(9 << 20);
    let wat = format!(r#"(module (memory 1000) (data (i32.const 1) "x{zeros}y") (data (i32.const 17000000) "z"))"#);
    let wasm = wat::parse_str(&wat).expect("valid text");
    assert!(is_mapped(&Program::parse(&wasm).expect("valid")));
    holds(&wasm, Layout::Cow);
    // For the wire, the zeros go.
    assert!(holds(&wasm, Layout::Wire).len() < 100);
}

#[test]
fn segments_are_named_by_the_region_they_start_in() {
    let wat = r#"(module (memory 4) (@custom "before" (after code) "stays")
        (data $.rodata (i32.const 1024) "constant") (data $.data (i32.const 65536) "variable")
        (data (i32.const 131072) "heap")
        (func $main))"#;
    let wasm = wat::parse_str(wat).expect("valid text");
    let out = holds(&wasm, Layout::Cow);
    let names = |wasm: &[u8]| {
        let text = wasmparser_names(wasm);
        text.expect("a name section")
    };
    assert_eq!(names(&out), [(0, ".rodata".to_owned()), (1, ".data".to_owned())]);

    // What had the names is gone, as in the output of Wizer.
    let wat = wat.replace("(func $main)", "(func $main (data.drop 1))").replace("(i32.const 65536)", "");
    let wasm = wat::parse_str(&wat).expect("valid text");
    let out = holds(&wasm, Layout::Wire);
    assert_eq!(names(&out), [(0, ".rodata".to_owned()), (1, ".data".to_owned()), (2, ".rodata".to_owned())]);
    let wat = r#"(module (memory 1) (data $gone "") (data (i32.const 1024) "constant") (func $main))"#;
    let out = holds(&wat::parse_str(wat).expect("valid text"), Layout::Cow);
    assert_eq!(wasmparser_names(&out), None);
    let names = sections(&out).expect("well-formed").iter().find_map(Section::custom).expect("still there");
    assert!(names.1.windows(4).any(|bytes| bytes == b"main"));
}

/// The names of data segments.
fn wasmparser_names(wasm: &[u8]) -> Option<Vec<(u32, String)>> {
    let sections = sections(wasm).expect("well-formed");
    let (_, content) = sections.iter().filter_map(Section::custom).find(|(name, _)| *name == "name")?;
    let names = names::of_data(content)?;
    Some(names.into_iter().map(|(index, name)| (index, name.to_owned())).collect())
}

#[test]
fn modules_in_components_are_laid_out_at_any_depth() {
    let module = r#"(core module (memory 1) (data (i32.const 0) "one") (data (i32.const 20) "two"))"#;
    let wat = format!(
        r#"(component {module} (component (import "a" (func)) {module} (component {module})) (@custom "x" "y"))"#
    );
    let wasm = wat::parse_str(&wat).expect("valid text");
    let out = apply(&wasm, Layout::Cow).expect("well-formed");
    Validator::new_with_features(WasmFeatures::all()).validate_all(&out).expect("still valid");
    assert_eq!(apply(&out, Layout::Cow).expect("well-formed"), out);
    let expected = wat.replace(
        r#"(data (i32.const 0) "one") (data (i32.const 20) "two")"#,
        &format!(r#"(data (i32.const 0) "one{}two")"#, "\\00".repeat(17)),
    );
    assert!(wat::parse_str(expected).expect("valid text") == out);
}

#[test]
fn for_generated_modules() {
    let mut changed = 0;
    for seed in 0..CASES {
        let Some(wasm) = generated(seed) else { continue };
        for layout in LAYOUTS {
            changed += usize::from(holds(&wasm, layout) != wasm);
        }
    }
    assert!(changed > 500, "only {changed} modules changed");
}

fn generated(seed: u64) -> Option<Vec<u8>> {
    let bytes = Random::new(seed).bytes(4096);
    let config = Config {
        max_imports: usize::from(seed.is_multiple_of(8)),
        min_memories: 1,
        max_memories: 3,
        memory_max_size_required: true,
        // Comparing writes the whole memory out.
        max_memory32_bytes: 1 << 21,
        max_memory64_bytes: 1 << 21,
        memory_offset_choices: MemoryOffsetChoices(95, 5, 0),
        max_data_segments: 30,
        min_data_segments: 1,
        memory64_enabled: true,
        gc_enabled: seed.is_multiple_of(2),
        shared_everything_threads_enabled: false,
        threads_enabled: seed % 16 == 1,
        custom_page_sizes_enabled: seed % 4 == 1,
        extended_const_enabled: true,
        ..Config::default()
    };
    let module = wasm_smith::Module::new(config, &mut Unstructured::new(&bytes)).ok()?;
    let wasm = module.to_bytes();
    Validator::new_with_features(WasmFeatures::all()).validate_all(&wasm).ok()?;
    Some(wasm)
}
