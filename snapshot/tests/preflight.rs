//! Objections: what is refused before anything of the program runs.

#[path = "harness/building.rs"]
#[allow(dead_code, reason = "no test program uses all of it")]
mod building;

use building::{constructs, objections, snapshot, snapshot_with};
use prewasm_snapshot::{Objection, Options, Rename, Until};

#[test]
fn a_missing_init_function_is_an_objection_which_names_candidates() {
    let wat = r#"(module
        (func (export "_start")) (func (export "warm_up")) (func (export "handle") (param i32)))"#;
    let until_init = Options { until: Until::Init, ..Options::default() };
    let found = objections(snapshot_with(wat, &until_init));
    assert_eq!(found, [Objection::NoInit { candidates: vec!["warm_up".into()] }]);
    let message = found[0].to_string();
    assert!(message.contains("`warm_up`") && message.contains("with `_start` can be frozen"), "{message}");

    let named = |name: &str| Options { init: Some(name.into()), ..Options::default() };
    let found = objections(snapshot_with(wat, &named("init")));
    assert!(matches!(&found[..], [Objection::NoSuchInit { name, .. }] if name == "init"), "{found:?}");
    let found = objections(snapshot_with(wat, &named("handle")));
    assert!(matches!(&found[..], [Objection::InitType { name }] if name == "handle"), "{found:?}");
}

#[test]
fn all_objections_come_at_once() {
    let wat = r#"(module
        (import "env" "one" (func))
        (import "env" "two" (func))
        (table 1 funcref)
        (func (export "run") (table.set (i32.const 0) (ref.null func)) (table.set (i32.const 0) (ref.null func))))"#;
    let options = Options { renames: vec![Rename { to: "a".into(), from: "missing".into() }], ..Options::default() };
    let found = objections(snapshot_with(wat, &options));
    let message: String = found.iter().map(|objection| format!("{objection}\n")).collect();
    assert_eq!(found.len(), 5, "{message}");
    for part in ["no init function", "env.one", "env.two", "`missing`", "`table.set`", "and 1 more"] {
        assert!(message.contains(part), "{part} in {message}");
    }
}

#[test]
fn what_wizer_cannot_record_is_refused_by_name() {
    const INIT: &str = "(func (export \"wizer-initialize\"))";
    for (wat, construct) in [
        ("(table 1 funcref) (func (drop (table.grow (ref.null func) (i32.const 1))))", "instruction `table.grow`"),
        ("(memory 1) (data \"x\") (func (data.drop 0))", "instruction `data.drop`"),
        ("(elem funcref (ref.null func)) (func (elem.drop 0))", "instruction `elem.drop`"),
        ("(global (mut funcref) (ref.null func))", "mutable global of a reference type"),
        ("(memory 1 2 shared)", "shared memory"),
        ("(memory (export \"__wizer_memory_0\") 1)", "export `__wizer_memory_0`, whose name is reserved"),
    ] {
        assert_eq!(constructs(&format!("(module {wat} {INIT})")), [construct], "{wat}");
    }
    // These are unknown imports as well.
    for (wat, construct) in [
        ("(import \"env\" \"memory\" (memory 1))", "imported memory `env.memory`"),
        ("(import \"env\" \"table\" (table 1 funcref))", "imported table `env.table`"),
        ("(import \"env\" \"global\" (global i32))", "imported global `env.global`"),
        ("(import \"env\" \"tag\" (tag))", "imported tag `env.tag`"),
    ] {
        let found = objections(snapshot(&format!("(module {wat} {INIT})")));
        let named = |found: &Objection| matches!(found, Objection::Construct { construct: c, .. } if c == construct);
        assert!(found.iter().any(named), "{wat}: {found:?}");
    }
}
