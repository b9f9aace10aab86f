//! One program for each kind of place in which a call can stand.

use super::{holds, holds_at};

#[test]
fn in_both_arms_of_nested_ifs() {
    let checked = holds(
        r#"(module
            (import "host" "f" (func $f (param i32) (result i32)))
            (global $g (mut i32) (i32.const 0))
            (func $arms (param $n i32) (result i32)
                (i32.const 100)
                (if (param i32) (result i32) (i32.and (local.get $n) (i32.const 1))
                    (then
                        (call $f)
                        (if (param i32) (result i32) (i32.and (local.get $n) (i32.const 2))
                            (then (i32.add (call $f (i32.const 1))))
                            (else (i32.sub (call $f (i32.const 2)))))
                        (i32.add (call $f (i32.const 3))))
                    (else
                        (if (param i32) (result i32) (i32.and (local.get $n) (i32.const 2))
                            (then (i32.xor (call $f (i32.const 4))))
                            (else (drop) (i32.const 5) (call $f)))
                        (i32.mul (call $f (i32.const 6)))))
                (if (i32.eqz (local.get $n)) (then (drop (call $f (i32.const 7))))))
            (func (export "_start") (local $i i32)
                (loop $l
                    (global.set $g (i32.add (global.get $g) (call $arms (local.get $i))))
                    (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 4))))))"#,
    );
    assert_eq!(checked.points, 11, "{checked:?}");
}

#[test]
fn in_loops_that_are_left_and_repeated_from_inside() {
    holds(
        r#"(module
            (import "host" "f" (func $f (param i32) (result i32)))
            (global $g (mut i64) (i64.const 0))
            (func $work (param $n i32) (result i64) (local $i i32)
                (block $out (result i64)
                    (i64.const 1) (f64.const 2.5)
                    (loop $outer (param i64 f64) (result i64)
                        (drop)
                        (local.get $i)
                        (loop $inner (param i64 i32) (result i64)
                            (call $f)
                            (i64.extend_i32_u)
                            (i64.add)
                            (local.set $i (i32.add (local.get $i) (i32.const 1)))
                            (br_if $out (i32.gt_u (local.get $i) (local.get $n)))
                            (if (param i64) (result i64) (i32.and (local.get $i) (i32.const 1))
                                (then (local.get $i) (br $inner)))
                            (if (param i64) (result i64) (i32.and (local.get $i) (i32.const 2))
                                (then (f64.const -0.0) (br $outer))))
                        (drop (call $f (i32.const 9)))
                        (f64.const 1)
                        (br $outer))))
            (func (export "_start") (global.set $g (call $work (i32.const 7)))))"#,
    );
}

#[test]
fn with_a_return_and_dead_code_in_the_rest() {
    holds(
        r#"(module
            (import "host" "f" (func $f (param i32) (result i32)))
            (type $t (func (param i32 i32) (result i32)))
            (table 1 funcref)
            (global $g (mut i32) (i32.const 0))
            (func $work (param $n i32) (result i32)
                (i32.const 7)
                (block (result i32)
                    (call $f (local.get $n))
                    (if (i32.and (local.get $n) (i32.const 1))
                        (then (return (call $f (i32.const 1)))))
                    (br_if 0 (call $f (i32.const 2)) (i32.and (local.get $n) (i32.const 2)))
                    (drop)
                    (return (i32.const 4))
                    (call_indirect (type $t))
                    (call $f))
                (i32.add))
            (func (export "_start")
                (global.set $g (call $work (i32.const 0)))
                (global.set $g (call $work (i32.const 1)))
                (global.set $g (call $work (i32.const 2)))))"#,
    );
}

#[test]
fn behind_references_of_functions() {
    holds(
        r#"(module
            (type $t (func (param i32) (result i32)))
            (import "host" "f" (func $f (type $t)))
            (global $g (mut i32) (i32.const 0))
            (global $only (mut (ref null $t)) (ref.func $leaf))
            (elem declare func $f $caller)
            (func $leaf (type $t) (call_ref $t (local.get 0) (ref.func $f)))
            (func $caller (type $t) (local $r (ref null $t))
                (local.set $r (global.get $only))
                (global.set $only (ref.func $f))
                (i32.add
                    (call_ref $t (local.get 0) (local.get $r))
                    (call_ref $t (i32.const 3) (global.get $only))))
            (func $tail (type $t) (return_call_ref $t (local.get 0) (ref.func $caller)))
            (func $hold (param $a (ref null $t)) (result i32)
                (local.get $a)
                (drop (call $f (i32.const 1)))
                (if (ref.is_null) (then (return (i32.const 0))))
                (call $f (i32.const 2)))
            (func (export "_start")
                (global.set $g (i32.add (call $tail (i32.const 4)) (call $hold (ref.func $caller))))))"#,
    );
}

#[test]
fn with_a_function_that_only_a_changed_global_declares() {
    holds(
        r#"(module
            (import "host" "f" (func $f))
            (global $g (mut funcref) (ref.func $declared))
            (table 1 funcref)
            (func $declared (call $f))
            (func (export "_start")
                (global.set $g (ref.null func))
                (call $f)
                (table.set (i32.const 0) (ref.func $declared))
                (call_indirect (i32.const 0))))"#,
    );
}

#[test]
fn where_calls_stand_side_by_side() {
    holds(
        r#"(module
            (import "host" "f" (func $f))
            (import "host" "g" (func $g (result i32)))
            (tag $e)
            (global $n (mut i32) (i32.const 0))
            (func $plain (call $f) (call $f) (call $g) (call $f) (drop))
            (func $throws (call $f) (throw $e))
            (func $handled
                (block $caught
                    (try_table (catch $e $caught) (call $f) (call $f) (call $plain) (call $throws) (call $f))
                    (call $f))
                (call $f))
            (func $without_clauses (result i32)
                (try_table (result i32)
                    (call $f) (call $g) (call $f)
                    (try_table (call $f))
                    (i32.add (call $g))))
            (func $second_clause (result i32)
                (block $all
                    (block $caught
                        (try_table (catch $e $caught) (catch_all $all)
                            (i32.const 1) (call $f)
                            (if (then (call $throws)))
                            (call $f)))
                    (return (call $g)))
                (i32.const 2))
            (func (export "_start")
                (call $plain) (call $handled)
                (global.set $n (i32.add (call $without_clauses) (call $second_clause)))))"#,
    );
}

#[test]
fn with_a_loop_as_the_target_of_a_clause() {
    holds(
        r#"(module
            (import "host" "f" (func $f (param i32) (result i32)))
            (tag $e (param i32))
            (global $g (mut i32) (i32.const 0))
            (func (export "_start") (local $n i32)
                (i32.const 3)
                (loop $again (param i32)
                    (local.set $n)
                    (try_table (catch $e $again)
                        (drop (call $f (local.get $n)))
                        (if (local.get $n) (then (throw $e (i32.sub (local.get $n) (i32.const 1)))))
                        (drop (call $f (i32.const 77))))
                    (global.set $g (call $f (i32.const 88))))))"#,
    );
}

#[test]
fn with_vectors_and_nans() {
    holds(
        r#"(module
            (import "host" "f" (func $f))
            (memory (export "memory") 1)
            (func $work (param f32 f64 v128) (local $v v128) (local $a f32)
                (local.set $v (v128.const i32x4 1 -1 0x80000000 7))
                (local.set $a (f32.const -nan:0x200001))
                (i32.const 64) (v128.const i64x2 -1 0x7ff0000000000001)
                (i32.const 96) (f32.const nan:0x1234)
                (i32.const 112) (f64.const -nan:0x1)
                (i32.const 128) (f64.const -0.0)
                (call $f)
                (f64.store) (f64.store) (f32.store) (v128.store)
                (f32.store (i32.const 0) (local.get 0))
                (f64.store (i32.const 8) (local.get 1))
                (v128.store (i32.const 16) (local.get 2))
                (v128.store (i32.const 32) (local.get $v))
                (f32.store (i32.const 48) (local.get $a)))
            (func (export "_start")
                (call $work (f32.const nan:0x1) (f64.const nan:0x4000000000001) (v128.const i64x2 5 0xfff0000000000001))
                (call $f)))"#,
    );
}

#[test]
fn with_several_memories_and_tables_of_both_widths() {
    holds(
        r#"(module
            (import "host" "f" (func $f))
            (memory $a 1 4)
            (memory $b i64 1 8)
            (memory $c 0 2)
            (table $t 2 9 funcref)
            (table $u i64 2 9 funcref)
            (table $x 3 9 externref)
            (type $v (func))
            (elem $s func $leaf)
            (data $d "passive")
            (elem (table $t) (i32.const 1) func $leaf)
            (func $leaf (call $f))
            (func (export "_start")
                (i64.store $b (i64.const 65528) (i64.const -1))
                (drop (memory.grow $b (i64.const 2)))
                (i64.store $b (i64.const 130000) (i64.const 0x1234))
                (memory.init $b $d (i64.const 5) (i32.const 0) (i32.const 7))
                (data.drop $d)
                (call $f)
                (drop (memory.grow $c (i32.const 1)))
                (memory.copy $c $b (i32.const 9) (i64.const 0) (i32.const 90))
                (table.init $u $s (i64.const 1) (i32.const 0) (i32.const 1))
                (elem.drop $s)
                (call $f)
                (drop (table.grow $x (ref.null extern) (i32.const 2)))
                (table.set $t (i32.const 0) (ref.func $leaf))
                (call_indirect $t (type $v) (i32.const 1))
                (call_indirect $u (type $v) (i64.const 1))
                (call_indirect $t (type $v) (i32.const 0))
                (call $f)))"#,
    );
}

#[test]
fn thousands_of_calls_deep() {
    let checked = holds_at(
        3,
        r#"(module
            (import "host" "f" (func $f (param i32) (result i32)))
            (global $g (mut i32) (i32.const 0))
            (func $down (param $n i32) (result i32)
                (if (result i32) (local.get $n)
                    (then (i32.add (local.get $n) (call $down (i32.sub (local.get $n) (i32.const 1)))))
                    (else (i32.add (call $f (i32.const 1)) (i32.add (call $f (i32.const 2)) (call $f (i32.const 3)))))))
            (func (export "_start") (global.set $g (call $down (i32.const 3000)))))"#,
    );
    assert!(checked.frames >= 9000, "{checked:?}");
}

#[test]
fn whose_segments_do_not_matter_once_they_are_dropped() {
    let checked = holds(
        r#"(module
            (import "host" "f" (func $f))
            (elem $e externref (ref.null extern))
            (data $d "unread")
            (func (export "_start") (elem.drop $e) (data.drop $d) (call $f)))"#,
    );
    assert!(checked.refused.is_empty(), "{checked:?}");
}

#[test]
fn whose_segments_are_read_once_more() {
    for read in [
        "(table.init $e (i32.const 0) (i32.const 0) (i32.const 1))",
        "(memory.init $d (i32.const 0) (i32.const 1) (i32.const 2))",
        "(drop (array.new_elem $functions $e (i32.const 0) (i32.const 1)))",
        "(drop (array.new_data $bytes $d (i32.const 1) (i32.const 2)))",
    ] {
        let wat = format!(
            r#"(module
                (import "host" "f" (func $f))
                (type $bytes (array i8))
                (type $functions (array funcref))
                (memory 1)
                (table 1 funcref)
                (elem $e func $f)
                (data $d "bytes")
                (func $read {read} (call $f))
                (func (export "_start")
                    (call $f) (call $read)
                    (data.drop $d)
                    (elem.drop $e)
                    (call $f) (call $read)))"#
        );
        let checked = holds(&wat);
        assert_eq!(checked.points, 3, "the last read traps: {checked:?}");
    }
}
