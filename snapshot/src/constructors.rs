//! Constructors run once.
//!
//! A linker puts each export of a program which has neither `_start` nor `_initialize` into a wrapper,
//! `NAME.command_export`, which runs all constructors first. After an init function, they have run; each would run again
//! at each call, over the state which was made.
//!
//! ```wat
//! (func $serve.command_export (call $__wasm_call_ctors) (call $serve) (call $__wasm_call_dtors))
//! (func $__wasm_call_ctors (call $make_tables))     ;; becomes
//! (func $__wasm_call_ctors (nop) (nop))             ;; of the same length
//! ```

use crate::{names::Names, program::Program};

/// The end of a wrapper's name.
const WRAPPER: &str = ".command_export";
/// What runs all constructors.
const CONSTRUCTORS: &str = "__wasm_call_ctors";

/// Lets constructors do nothing, where wrappers would run them again, and tells whether they would have.
pub(crate) fn silence(wasm: &mut [u8]) -> bool {
    let Some(body) = constructors(wasm) else { return false };
    // No locals, as many instructions which do nothing as there is room for, and the end.
    if let Some([locals, nops @ .., end]) = wasm.get_mut(body) {
        *locals = 0;
        nops.fill(0x01);
        *end = 0x0B;
    }
    true
}

/// Where the body of the function stands which runs all constructors, if wrappers call it.
fn constructors(wasm: &[u8]) -> Option<std::ops::Range<usize>> {
    let program = Program::parse(wasm).ok()?;
    let names = Names::of(&program);
    let function = program.procedure_called(&names, CONSTRUCTORS)?;
    names.has_function_ending(WRAPPER).then(|| program.body(function).range())
}

#[cfg(test)]
mod tests {
    use prewasm_artifact::Artifact;

    use super::*;

    const WRAPPED: &str = r#"(module (memory 1)
        (func $__wasm_call_ctors (local i32) (i32.store (i32.const 0) (i32.const 7)))
        (func $serve (param i32))
        (func $serve.command_export (export "serve") (param i32)
            (call $__wasm_call_ctors) (call $serve (local.get 0))))"#;

    fn binary(wat: &str) -> Vec<u8> {
        Artifact::from_bytes("test", wat.into()).expect("valid").into_bytes()
    }

    #[test]
    fn constructors_which_wrappers_would_run_again_do_nothing() {
        let mut wasm = binary(WRAPPED);
        let length = wasm.len();
        assert!(silence(&mut wasm));
        assert_eq!(wasm.len(), length);
        let program = Program::parse(&wasm).expect("valid");
        let body = program.body(0);
        let operators = body.get_operators_reader().expect("readable").into_iter();
        let effects =
            operators.filter(|operator| !matches!(operator, Ok(wasmparser::Operator::Nop | wasmparser::Operator::End)));
        assert_eq!(effects.count(), 0);
        Artifact::from_bytes("silenced", wasm).expect("still valid");
    }

    #[test]
    fn other_constructors_stay() {
        let mut wasm = binary(&WRAPPED.replace("$serve.command_export", "$other"));
        let before = wasm.clone();
        assert!(!silence(&mut wasm));
        assert!(wasm == before);
    }
}
