//! The theorem: to run through is to freeze, at any host call, and to go on from there.
//!
//! The host answers each call by its number alone, so that a run is determined. What must agree are the calls with
//! their arguments, the end, memories, globals and tables.

mod constructs;
mod fuzz;
mod generator;
mod harness;
mod refusals;
mod smith;

use crate::random::Random;
use harness::{Checked, Harness, Points};

/// Checks every host call of a module as a place to freeze, and most frozen modules once more.
#[track_caller]
fn holds(wat: &str) -> Checked {
    check(wat, Points::All)
}

/// Checks as many host calls.
#[track_caller]
fn holds_at(count: usize, wat: &str) -> Checked {
    check(wat, Points::Some { count, random: &mut Random::new(0) })
}

#[track_caller]
fn check(wat: &str, points: Points<'_>) -> Checked {
    let wasm = wat::parse_str(wat).expect("valid text");
    let mut checked = Checked::default();
    let result = Harness::new().check(&wasm, "_start", points, &mut checked);
    result.unwrap_or_else(|error| panic!("{error}"));
    assert!(checked.skipped.is_empty(), "{checked:?}");
    checked
}

#[test]
fn in_nested_constructs_with_operands_across_the_call() {
    let checked = holds(
        r#"(module
            (import "host" "f" (func $f (param i32) (result i32)))
            (import "host" "g" (func $g (param i64 f64) (result i64 f32)))
            (memory (export "memory") 1)
            (global $sum (mut i64) (i64.const 0))
            (type $step (func (param i32 i64) (result i32)))
            (table 2 funcref)
            (elem (i32.const 0) $even $odd)
            (func $even (param i32 i64) (result i32)
                (i32.add (call $f (local.get 0)) (i32.wrap_i64 (local.get 1))))
            (func $odd (param $n i32) (param i64) (result i32) (local $v v128)
                (local.set $v (v128.const i64x2 0x1234 -1))
                (if (result i32) (i32.gt_u (local.get $n) (i32.const 2))
                    (then (i32.add
                        (i32.const 7)
                        (call_indirect (type $step)
                            (i32.sub (local.get $n) (i32.const 1)) (local.get 1)
                            (i32.and (i32.sub (local.get $n) (i32.const 1)) (i32.const 1)))))
                    (else (i32.xor (call $f (i32.const 99)) (i32x4.extract_lane 0 (local.get $v))))))
            (func $main (result i64) (local $i i32) (local $x i64)
                (i64.const 1000)
                (loop $again (param i64) (result i64)
                    (local.set $x)
                    (block $out (result i64)
                        (block $two
                            (block $one
                                (block $zero
                                    (br_table $zero $one $two (i32.rem_u (local.get $i) (i32.const 3))))
                                (br $out (i64.extend_i32_u (call $f (local.get $i)))))
                            (br $out (i64.add (i64.const 5) (i64.extend_i32_s
                                (call_indirect (type $step) (local.get $i) (local.get $x)
                                    (i32.and (local.get $i) (i32.const 1)))))))
                        (call $g (local.get $x) (f64.const -0.5))
                        (drop))
                    (i64.add (local.get $x))
                    (i64.store (i32.mul (local.get $i) (i32.const 8)) (local.get $x))
                    (local.set $i (i32.add (local.get $i) (i32.const 1)))
                    (br_if $again (i32.lt_u (local.get $i) (i32.const 9)))))
            (func (export "_start") (global.set $sum (call $main))))"#,
    );
    assert!(checked.points >= 9, "{checked:?}");
}

#[test]
fn in_recursion_and_behind_tail_calls() {
    holds(
        r#"(module
            (import "host" "f" (func $f (param i32) (result i32)))
            (global $g (mut i32) (i32.const 0))
            (type $t (func (param i32) (result i32)))
            (table 1 funcref) (elem (i32.const 0) $f)
            (func $down (param $n i32) (result i32)
                (if (i32.eqz (local.get $n)) (then (return (call $f (i32.const 0)))))
                (i32.add (call $down (i32.sub (local.get $n) (i32.const 1))) (call $f (local.get $n))))
            (func $tail (param i32) (result i32) (return_call $f (i32.add (local.get 0) (i32.const 1))))
            (func $indirect (param i32) (result i32)
                (return_call_indirect (type $t) (local.get 0) (i32.const 0)))
            (func $root (result i32)
                (i32.add (call $down (i32.const 4))
                    (i32.add (call $tail (i32.const 8)) (call $indirect (i32.const 9)))))
            (func $go (global.set $g (call $root)))
            (func (export "_start") (return_call $go)))"#,
    );
}

#[test]
fn under_handlers_of_exceptions() {
    holds(
        r#"(module
            (import "host" "f" (func $f (param i32) (result i32)))
            (tag $e (param i32))
            (global $g (mut i32) (i32.const 0))
            (func $thrower (param i32)
                (if (i32.and (call $f (local.get 0)) (i32.const 1)) (then (throw $e (local.get 0)))))
            (func $try (param $n i32) (result i32)
                (block $caught (result i32)
                    (loop $again
                        (try_table (catch $e $caught)
                            (call $thrower (local.get $n))
                            (drop (call $f (i32.const 50))))
                        (drop (call $f (i32.const 60)))
                        (local.set $n (i32.sub (local.get $n) (i32.const 1)))
                        (br_if $again (i32.gt_s (local.get $n) (i32.const 0))))
                    (i32.const -1)))
            (func (export "_start") (local $i i32)
                (loop $l
                    (global.set $g (i32.add (global.get $g) (call $try (local.get $i))))
                    (local.set $i (i32.add (local.get $i) (i32.const 1)))
                    (br_if $l (i32.lt_s (local.get $i) (i32.const 5))))))"#,
    );
}

#[test]
fn with_tables_segments_and_memories_that_change() {
    holds(
        r#"(module
            (import "host" "f" (func $f (param i32) (result i32)))
            (memory (export "memory") 1 10)
            (memory $second 1)
            (table $t 4 20 funcref)
            (global $r (mut funcref) (ref.null func))
            (type $t (func (result i32)))
            (elem $active (table $t) (i32.const 0) func $a)
            (elem $passive func $b $a)
            (elem $kept func $b)
            (elem declare func $b)
            (data $d "hello")
            (data $e "world")
            (data (i32.const 100) "active")
            (func $a (result i32) (call $f (i32.const 1)))
            (func $b (result i32) (call $f (i32.const 2)))
            (func (export "_start")
                (memory.init $d (i32.const 0) (i32.const 0) (i32.const 5))
                (drop (call $f (i32.const 10)))
                (data.drop $d)
                (drop (call $f (i32.const 11)))
                (table.init $t $passive (i32.const 1) (i32.const 0) (i32.const 2))
                (elem.drop $passive)
                (drop (table.grow $t (ref.func $b) (i32.const 3)))
                (global.set $r (ref.func $b))
                (drop (call $f (i32.const 12)))
                (drop (memory.grow (i32.const 2)))
                (i32.store (i32.const 150000) (i32.const -1))
                (i32.store $second (i32.const 4) (i32.const 77))
                (drop (call_indirect $t (type $t) (i32.const 0)))
                (drop (call_indirect $t (type $t) (i32.const 1)))
                (drop (call_indirect $t (type $t) (i32.const 5)))
                (table.set $t (i32.const 0) (ref.null func))
                (table.init $t $kept (i32.const 3) (i32.const 0) (i32.const 1))
                (memory.init $e (i32.const 200) (i32.const 0) (i32.const 5))
                (drop (call $f (i32.const 13)))
                (drop (call_indirect $t (type $t) (i32.const 3)))
                (memory.init $d (i32.const 0) (i32.const 0) (i32.const 5))))"#,
    );
}

#[test]
fn with_blocks_that_take_and_give_several_values() {
    holds(
        r#"(module
            (import "host" "f" (func $f (param i32) (result i32)))
            (import "host" "many" (func $many (result i32 i64 f32 f64)))
            (global $g (mut i64) (i64.const 0))
            (func $work (param $n i32) (result i64 i32)
                (i64.const 3) (local.get $n)
                (loop $l (param i64 i32) (result i64 i32)
                    (block (param i32) (result i32)
                        (call $f)
                        (if (param) (result i32) (i32.and (i32.const 3))
                            (then (drop (drop (drop (call $many)))) (call $f (i32.const 4)))
                            (else (i32.const 6) (call $f) (call $f))))
                    (local.set $n (i32.sub (local.get $n) (i32.const 1)))
                    (br_if $l (i32.gt_s (local.get $n) (i32.const 0)))
                    (return)))
            (func (export "_start")
                (call $work (i32.const 3))
                (drop)
                (global.set $g)))"#
            .replace("(drop (drop (drop (call $many))))", "(call $many) drop drop drop drop")
            .as_str(),
    );
}
