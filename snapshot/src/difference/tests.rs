use prewasm_artifact::{SNAPSHOT_SECTION, append_section};

use super::*;

fn artifact(name: &str, wat: &str) -> Artifact {
    Artifact::from_bytes(name, wat.into()).expect("valid")
}

fn with_provenance(name: &str, json: &str) -> Artifact {
    let mut wasm = artifact(name, "(module (memory 1))").into_bytes();
    append_section(&mut wasm, SNAPSHOT_SECTION, json.as_bytes());
    Artifact::from_bytes(name, wasm).expect("valid")
}

fn between(a: &str, b: &str) -> Difference {
    Difference::between(&artifact("a", a), &artifact("b", b))
}

const MODULE: &str = r#"(module
    (import "host" "call" (func $call))
    (memory 1) (global (mut i32) (i32.const 1)) (global $base i32 (i32.const 0x400))
    (func $first (call $call)) (func $second (export "run") (drop (i32.const 1)))
    (data (i32.const 16) "hello") (data (global.get $base) "world"))"#;

#[test]
fn the_same_bytes_do_not_differ() {
    let difference = between(MODULE, MODULE);
    assert!(difference.same && difference.first.is_none() && difference.sections.is_empty());
    assert!(difference.to_string().starts_with("`a` and `b` are the same: "), "{difference}");
}

#[test]
fn a_byte_of_a_memory_is_told_with_its_address() {
    let difference = between(MODULE, &MODULE.replace("world", "wOrld"));
    let first = difference.first.clone().expect("they differ");
    let place = first.a.expect("a section");
    assert_eq!(first.b, Some(place.clone()));
    assert_eq!((place.section.as_str(), place.within), ("data", None));
    assert_eq!(place.detail, Some(Detail::Data { segment: 1, memory: Some(0), address: Some(0x401) }));
    let memory = &difference.modules.first[0].memories[0];
    assert_eq!((memory.bytes, memory.ranges.first[0]), (Some(1), Range { start: 0x401, end: 0x402 }));
    let text = difference.to_string();
    for part in
        ["(data), segment 1, memory 0 at 0x401", "memory 0: 1 bytes in 1 ranges", "0x401..0x402", "no provenance"]
    {
        assert!(text.contains(part), "`{part}` is missing in {text}");
    }
}

#[test]
fn a_changed_function_is_told_by_name() {
    let difference = between(MODULE, &MODULE.replace("(drop (i32.const 1))", "(drop (i32.const 2))"));
    let place = difference.first.expect("they differ").a.expect("a section");
    let Some(Detail::Function { index: 2, name: Some(name), offset }) = place.detail else { panic!("{place:?}") };
    assert_eq!((name.as_str(), offset), ("second", 2));
    let functions = &difference.modules.first[0].functions;
    assert_eq!((functions.count, functions.first[0].what.as_str()), (1, "2 `second`"));
}

#[test]
fn globals_exports_imports_and_sizes_are_compared() {
    let other = MODULE.replace("(mut i32) (i32.const 1)", "(mut i32) (i32.const 7)").replace("\"run\"", "\"go\"");
    let difference = between(MODULE, &other.replace("(memory 1)", "(memory 2)").replace("\"call\"", "\"cell\""));
    let module = &difference.modules.first[0];
    let text = |change: &Change| (change.what.clone(), change.a.clone(), change.b.clone());
    assert_eq!(text(&module.globals.first[0]), ("0".into(), Some("i32 1".into()), Some("i32 7".into())));
    assert_eq!(text(&module.exports.first[1]), ("run".into(), Some("func 2".into()), None));
    assert_eq!((module.imports.count, module.exports.count), (2, 2));
    assert_eq!(module.memories[0].pages, Some(Pages { a: Some(1), b: Some(2) }));
    assert_eq!(module.memories[0].bytes, Some(0));
}

#[test]
fn different_provenance_comes_first() {
    let a = with_provenance("a", r#"{"version":"1","inputSha256":"aa","args":["x"],"same":1}"#);
    let b = with_provenance("b", r#"{"version":"2","inputSha256":"bb","stdin":"x","same":1}"#);
    let difference = Difference::between(&a, &b);
    let fields: Vec<_> = difference.provenance.fields.first.iter().map(|change| change.what.as_str()).collect();
    assert_eq!(fields, ["version", "inputSha256", "args", "stdin"]);
    let text = difference.to_string();
    assert!(text.find("cannot be the same") < text.find("first at offset"), "{text}");
    assert!(text.contains("inputSha256: aa -> bb"), "{text}");
}

#[test]
fn a_provenance_which_cannot_be_read_is_no_obstacle() {
    for broken in ["", "[]", "{", "\u{fffd}", &"[".repeat(10_000)] {
        let difference = Difference::between(&with_provenance("a", broken), &with_provenance("b", "{}"));
        assert_eq!(difference.provenance.missing, ["`a` has a provenance which cannot be read"]);
        assert_eq!(difference.sections.first[0].what, "custom `prewasm.snapshot`");
    }
}

#[test]
fn modules_in_components_are_compared() {
    let component = r#"(component
        (core module (memory 1))
        (component (core module (func) (func $culprit (drop (i64.const 5)))))
        (core module (memory 1) (data (i32.const 8) "abc")))"#;
    let difference = between(component, &component.replace("i64.const 5", "i64.const 6").replace("abc", "abd"));
    let place = difference.first.expect("they differ").a.expect("a section");
    assert_eq!((place.within.as_deref(), place.section.as_str()), (Some("module 1"), "code"));
    assert!(matches!(place.detail, Some(Detail::Function { index: 1, .. })), "{place:?}");
    let modules: Vec<_> = difference.modules.first.iter().map(|module| module.module.as_deref()).collect();
    assert_eq!(modules, [Some("module 1"), Some("module 2")]);
    let sections: Vec<_> = difference.sections.first.iter().map(|change| change.what.as_str()).collect();
    assert_eq!(sections, ["code of module 1", "data of module 2"]);
}

#[test]
fn a_module_is_compared_with_a_component_too() {
    let difference = between("(module (func))", "(component (core module (func)))");
    assert_eq!(difference.first.expect("they differ").offset, 4);
    assert!(difference.modules.is_empty());
    assert_eq!(difference.sections.count, 6);
}

#[test]
fn machine_code_has_an_offset_and_no_more() {
    let code = |last: u8| Artifact::from_bytes("x", [b"\x7fELF".as_slice(), &[last]].concat()).expect("machine code");
    let difference = Difference::between(&code(1), &code(2));
    assert_eq!(difference.first, Some(First { offset: 4, a: None, b: None }));
}

#[test]
fn a_huge_memory_costs_nothing() {
    let wat = r#"(module (memory i64 0x100000000) (data (i64.const 0xfffffffffff0) "X"))"#;
    let difference = between(wat, &wat.replace("\"X\"", "\"Y\""));
    assert_eq!(difference.modules.first[0].memories[0].ranges.first[0].start, 0xffff_ffff_fff0);
}

#[test]
fn only_some_of_many_are_told_one_by_one() {
    let many = |value: u32| format!("(module {})", format!("(global i32 (i32.const {value}))").repeat(100));
    let difference = between(&many(1), &many(2));
    let globals = &difference.modules.first[0].globals;
    assert_eq!((globals.count, globals.first.len()), (100, MANY));
    assert!(difference.to_string().contains("and 80 more globals"), "{difference}");
}

#[test]
fn what_a_file_says_cannot_write_to_the_terminal() {
    let difference = between("(module)", "(module (func (export \"\\1b[2J\\e2\\80\\ae\")))");
    let text = difference.to_string();
    assert!(text.contains(r"\u{1b}[2J\u{202e}"), "{text}");
}

#[test]
fn the_first_difference_is_found_across_pieces() {
    let a = vec![1u8; 10_000];
    for at in [0, 4095, 4096, 9_999] {
        let mut b = a.clone();
        b[at] = 2;
        assert_eq!(first_difference(&a, &b), Some(at));
        assert_eq!(first_difference(&a, &a[..at]), Some(at));
    }
    assert_eq!(first_difference(&a, &a), None);
}
