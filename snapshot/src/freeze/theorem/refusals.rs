//! States which cannot be written down are refused, by name.

use super::holds;

#[track_caller]
fn refuses(reason: &str, wat: &str) {
    let checked = holds(wat);
    assert!(checked.refused.keys().any(|refused| refused.contains(reason)), "{checked:?}");
}

#[test]
fn a_start_section_under_way() {
    refuses(
        "it is in its start section",
        r#"(module
            (import "host" "f" (func $f))
            (memory 1)
            (func $work (param i32) (call $f) (i32.store (i32.const 0) (local.get 0)))
            (func $start (call $work (i32.const 5)))
            (start $start)
            (func (export "_start") (call $f) (call $start) (call $f)))"#,
    );
}

#[test]
fn an_import_as_the_start_function() {
    refuses(
        "it is in its start section",
        r#"(module
            (import "host" "f" (func $f))
            (start $f)
            (func (export "_start") (call $f)))"#,
    );
}

#[test]
fn an_import_that_is_the_entry() {
    refuses(
        "no code of the program is running",
        r#"(module (import "host" "f" (func $f)) (export "_start" (func $f)) (func))"#,
    );
}

#[test]
fn a_changed_table_with_an_initial_value() {
    refuses(
        "has an initial value",
        r#"(module
            (import "host" "f" (func $f))
            (table 2 funcref (ref.func $f))
            (func (export "_start") (table.set (i32.const 0) (ref.null func)) (call $f)))"#,
    );
}

#[test]
fn objects_of_the_host() {
    for code in [
        "(local.set 0 (call $object)) (call $f)",
        "(call $object) (call $f) (drop)",
        "(global.set $g (call $object)) (call $f)",
        "(table.set (i32.const 0) (call $object)) (call $f)",
        "(call $takes (call $object))",
    ] {
        let wat = format!(
            r#"(module
                (import "host" "f" (func $f))
                (import "host" "object" (func $object (result externref)))
                (import "host" "takes" (func $takes (param externref)))
                (global $g (mut externref) (ref.null extern))
                (table 1 externref)
                (func (export "_start") (local externref) {code}))"#
        );
        refuses("a reference to an object", &wat);
    }
}

#[test]
fn objects_that_constants_make() {
    for (constant, use_of_it) in [
        ("(global $g (ref $s) (struct.new $s (i32.const 1)))", "(global.get $g)"),
        ("(table $t 1 (ref null $s) (struct.new $s (i32.const 1)))", "(table.get $t (i32.const 0))"),
        (
            "(type $a (array (ref null $s))) (elem $e (ref null $s) (struct.new $s (i32.const 1)))",
            "(array.get $a (array.new_elem $a $e (i32.const 0) (i32.const 1)) (i32.const 0))",
        ),
    ] {
        let wat = format!(
            r#"(module
                (import "host" "f" (func $f (param i32)))
                (type $s (struct (field (mut i32))))
                {constant}
                (func (export "_start")
                    (struct.set $s 0 {use_of_it} (i32.const 2))
                    (call $f (i32.const 0))
                    (call $f (struct.get $s 0 {use_of_it}))))"#
        );
        refuses("a reference to an object", &wat);
    }
}

#[test]
fn a_local_without_a_default() {
    refuses(
        "a local of a non-nullable reference type",
        r#"(module
            (import "host" "f" (func $f))
            (elem declare func $f)
            (func $holds (param (ref func)) (call $f))
            (func (export "_start") (call $holds (ref.func $f))))"#,
    );
}

#[test]
fn a_null_of_a_concrete_type() {
    refuses(
        "a null reference of a concrete type",
        r#"(module
            (import "host" "f" (func $f))
            (type $t (func))
            (func (export "_start") (ref.null $t) (call $f) (drop)))"#,
    );
}
