//! Custom sections: what is kept, and what would be wrong in another module.

use prewasm_artifact::Artifact;
use wasm_encoder::{CustomSection, NameMap, NameSection, Section};
use wasmparser::{KnownCustom, Name, Parser, Payload};

use crate::port::{PortOptions, link::link, plan::plan, port};

const PROGRAM: &str = r#"(module
    (import "wasi_snapshot_preview1" "sock_listen" (func $listen (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
    (memory (export "memory") 1)
    (global $stack (mut i32) (i32.const 0))
    (func $helper (result i32) (call $listen (i32.const 1) (i32.const 2)))
    (func $main (export "_start") (drop (call $helper))))"#;

fn with(sections: &[(&str, &[u8])]) -> Artifact {
    let mut wasm = wat::parse_str(PROGRAM).expect("valid");
    for (name, data) in sections {
        CustomSection { name: (*name).into(), data: (*data).into() }.append_to(&mut wasm);
    }
    Artifact::from_bytes("program", wasm).expect("valid")
}

fn linked(artifact: &Artifact) -> Vec<u8> {
    let plan = plan(artifact, &PortOptions::default()).expect("nothing stands in the way");
    link(artifact.bytes(), &plan).expect("it can be linked")
}

fn customs(wasm: &[u8]) -> Vec<String> {
    let payloads = Parser::new(0).parse_all(wasm).map(|payload| payload.expect("valid"));
    let names = payloads.filter_map(|payload| match payload {
        Payload::CustomSection(section) => Some(section.name().to_owned()),
        _ => None,
    });
    names.filter(|name| name != "name").collect()
}

#[test]
fn what_is_about_other_code_is_left_out() {
    let artifact = with(&[
        ("producers", b"\0"),
        (".debug_info", b"x"),
        (".debug_line", b"x"),
        ("linking", b"\x02"),
        ("reloc.CODE", b"x"),
        ("metadata.code.branch_hint", b"\0"),
        ("sourceMappingURL", b"\x01x"),
        ("component-type:other", b"no component"),
        ("something else", b"kept"),
    ]);
    assert_eq!(customs(&linked(&artifact)), ["producers", "something else"]);
    port(&artifact, &PortOptions::default()).expect("nobody takes it for a component's type");
}

#[test]
fn functions_have_their_names_in_their_new_places() {
    let linked = linked(&with(&[]));
    let mut functions = Vec::new();
    let mut globals = Vec::new();
    for payload in Parser::new(0).parse_all(&linked) {
        let Payload::CustomSection(section) = payload.expect("valid") else { continue };
        let KnownCustom::Name(names) = section.as_known() else { continue };
        for name in names {
            match name.expect("valid") {
                Name::Function(map) => functions.extend(map.into_iter().map(|name| name.expect("valid"))),
                Name::Global(map) => globals.extend(map.into_iter().map(|name| name.expect("valid").name)),
                _ => {}
            }
        }
    }
    assert!(functions.is_sorted_by(|a, b| a.index < b.index));
    let place = |wanted: &str| functions.iter().position(|name| name.name == wanted);
    assert!(place("helper").is_some() && place("main").is_some() && place("random").is_some());
    assert!(place("port:recycle").is_some(), "{functions:?}");
    assert_eq!(globals, ["stack"]);
}

#[test]
fn names_of_nothing_and_names_which_are_none_are_no_trouble() {
    let mut names = NameSection::new();
    let mut map = NameMap::new();
    map.append(0, "listen");
    map.append(1_000_000, "nothing");
    map.append(u32::MAX, "nothing either");
    names.functions(&map);
    names.globals(&map);
    names.types(&map);
    let mut section = Vec::new();
    names.append_to(&mut section);
    let mut wasm = wat::parse_str(PROGRAM).expect("valid");
    wasm.extend(section);
    let artifact = Artifact::from_bytes("program", wasm).expect("valid");
    port(&artifact, &PortOptions::default()).expect("names are for people");
    let broken = with(&[("name", b"\x01\xff\xff")]);
    port(&broken, &PortOptions::default()).expect("names are for people");
}
