//! What stands in the way, all at once.

use prewasm_artifact::Artifact;

use crate::port::{Objection, PortOptions, World, plan};

const MEMORY: &str = r#"(memory (export "memory") 1)"#;
const START: &str = r#"(func (export "_start"))"#;
const LISTEN: &str = r#"(import "wasi_snapshot_preview1" "sock_listen" (func (param i32 i32) (result i32)))"#;
const ACCEPT: &str = r#"(import "wasi_snapshot_preview1" "sock_accept" (func (param i32 i32) (result i32)))"#;

fn objections(fields: &[&str], world: Option<World>) -> Vec<Objection> {
    let text = format!("(module {})", fields.concat());
    let artifact = Artifact::from_bytes("program", text.into_bytes()).expect("valid");
    plan(&artifact, &PortOptions { world, ..PortOptions::default() }).err().unwrap_or_default()
}

/// The one objection to these fields.
fn objection(fields: &[&str]) -> String {
    let mut found = objections(fields, None);
    assert_eq!(found.len(), 1, "{fields:?}: {found:?}");
    found.remove(0).to_string()
}

#[test]
fn nothing_stands_in_the_way_of_ordinary_programs() {
    assert!(objections(&[MEMORY, START], None).is_empty());
    assert!(objections(&[LISTEN, MEMORY, START], None).is_empty());
    assert!(objections(&[LISTEN, MEMORY, START], Some(World::ProxyCli)).is_empty());
    // Only what is used again must be undone.
    let drops = r#"(data $d "x") (func (data.drop $d))"#;
    assert!(objections(&[MEMORY, START, drops], None).is_empty());
}

#[test]
fn a_program_must_start_as_programs_do() {
    assert!(objection(&[MEMORY]).contains("reactor"));
    for start in [r#"(func (export "_start") (param i32))"#, r#"(func (export "_start") (result i32) (i32.const 0))"#] {
        assert!(objection(&[MEMORY, start]).contains("`_start`"), "{start}");
    }
    let component = Artifact::from_bytes("program", b"(component)".to_vec()).expect("valid");
    assert!(
        matches!(plan(&component, &PortOptions::default()), Err(found) if matches!(found[0], Objection::Kind { .. }))
    );
}

#[test]
fn an_import_which_is_no_function_is_named() {
    for field in
        [r#"(import "env" "g" (global i32))"#, r#"(import "env" "t" (table 1 funcref))"#, r#"(import "env" "e" (tag))"#]
    {
        let found = objections(&[field, MEMORY, START], None);
        assert!(matches!(found[..], [Objection::NoFunction { .. }]), "{field}: {found:?}");
    }
}

#[test]
fn a_program_has_one_plain_memory_of_its_own() {
    assert!(objection(&[START]).contains("no memory"));
    assert!(objection(&[MEMORY, "(memory 1)", START]).contains("several"));
    assert!(objection(&[r#"(memory (export "memory") i64 1)"#, START]).contains("64-bit"));
    assert!(objection(&[r#"(memory (export "memory") 1 1 shared)"#, START]).contains("threads"));
    let found = objections(&[r#"(import "env" "memory" (memory 1))"#, START], None);
    assert!(found.iter().any(|found| found.to_string().contains("imports its memory")), "{found:?}");
}

#[test]
fn what_cannot_be_undone_is_named_in_a_server() {
    for (field, instruction) in [
        (r#"(data $d "x") (func (data.drop $d))"#, "data.drop"),
        (r#"(elem $e funcref) (func (elem.drop $e))"#, "elem.drop"),
        (r#"(table 1 funcref) (func (drop (table.grow (ref.null func) (i32.const 1))))"#, "table.grow"),
        // Where nobody gets to.
        (r#"(data $d "x") (func (unreachable) (data.drop $d))"#, "data.drop"),
    ] {
        let found = objections(&[LISTEN, MEMORY, field, START], None);
        assert!(
            matches!(found[..], [Objection::Instruction { function: 1, instruction: found }] if found == instruction),
            "{found:?}"
        );
    }
    let found = objections(&[LISTEN, MEMORY, r#"(func (result (ref func)) (unreachable))"#, START], None);
    assert!(matches!(found[..], [Objection::Result { function: 1 }]), "{found:?}");
}

#[test]
fn objects_which_live_on_are_no_constants_of_a_server() {
    let ty = "(type $box (struct (field (mut i32))))";
    let mutable = "(global (mut (ref $box)) (struct.new $box (i32.const 1)))";
    assert!(objections(&[LISTEN, ty, MEMORY, mutable, START], None).is_empty(), "a new one each time");
    for field in [
        "(global (ref $box) (struct.new $box (i32.const 1)))",
        "(table 2 (ref $box) (struct.new $box (i32.const 1)))",
        "(elem (ref null $box) (struct.new_default $box))",
    ] {
        assert!(objections(&[ty, MEMORY, field, START], None).is_empty(), "{field}: it runs once");
        let found = objections(&[ty, LISTEN, MEMORY, field, START], None);
        assert!(matches!(found[..], [Objection::Impossible { .. }]), "{field}: {found:?}");
    }
}

#[test]
fn worlds_fit_programs_or_not() {
    let is_world = |found: &[Objection]| matches!(found, [Objection::World { .. }]);
    assert!(is_world(&objections(&[LISTEN, MEMORY, START], Some(World::Command))));
    assert!(is_world(&objections(&[MEMORY, START], Some(World::Proxy))));
    assert!(is_world(&objections(&[MEMORY, START], Some(World::ProxyCli))));
}

#[test]
fn a_server_of_datagrams_is_none_of_http() {
    let bind = r#"(import "wasi_snapshot_preview1" "sock_bind" (func (param i32 i32 i32) (result i32)))"#;
    let receive =
        r#"(import "wasi_snapshot_preview1" "sock_recv_from" (func (param i32 i32 i32 i32 i32 i32 i32) (result i32)))"#;
    assert!(objection(&[bind, receive, MEMORY, START]).contains("UDP"));
    assert!(objections(&[bind, MEMORY, START], None).is_empty());
    assert!(objections(&[bind, receive, ACCEPT, MEMORY, START], None).is_empty());
}

#[test]
fn a_broken_frozen_state_is_told() {
    let found = objections(&[MEMORY, START, r#"(@custom "prewasm.frozen" "{}")"#], None);
    assert!(matches!(found[..], [Objection::Frozen(_)]), "{found:?}");
}

#[test]
fn everything_is_told_at_once() {
    let found = objections(
        &[
            LISTEN,
            r#"(import "env" "f" (func))"#,
            r#"(import "env" "g" (global i32))"#,
            r#"(import "wasi_snapshot_preview1" "fd_write" (func))"#,
            r#"(import "wasi" "thread-spawn" (func (param i32) (result i32)))"#,
            r#"(memory (export "memory") 1) (memory 2)"#,
            r#"(data $d "x") (func (data.drop $d))"#,
            r#"(func (export "_start") (param i32))"#,
            r#"(@custom "prewasm.frozen" "{}")"#,
        ],
        Some(World::Command),
    );
    // The last is not looked at, as it is not a server that is wanted.
    assert_eq!(found.len(), 8, "{found:#?}");
}
