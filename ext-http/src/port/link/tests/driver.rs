//! A program which makes the calls that a test names, and does nothing else to its memory.

use std::{
    fmt::Write as _,
    sync::{Arc, Mutex},
};

use super::harness::{Answer, Call, Program};
use crate::imports::{Entry, TABLE};

/// Three calls of preview 1, of which no trampoline knows, tell the driver what to do, and its host what came of it.
const NEXT: &str = "wasi.sched_yield";
const ARGUMENT: &str = "wasi.clock_res_get";
const RESULT: &str = "wasi.proc_raise";

/// Pages of the driver's memory.
pub(super) const PAGES: usize = 1;

pub(super) struct Driver(Program);

/// What a call came to.
#[derive(Debug)]
pub(super) struct Outcome {
    /// `None` if the program was left, or trapped.
    pub(super) result: Option<i64>,
    pub(super) has_trapped: bool,
    pub(super) memory: Vec<u8>,
    /// Of the host, but the driver's own.
    pub(super) calls: Vec<Call>,
}

fn driven() -> impl Iterator<Item = &'static Entry> {
    let is_hook = |entry: &&Entry| ["sched_yield", "clock_res_get", "proc_raise"].contains(&entry.name);
    TABLE.iter().filter(move |entry| !is_hook(entry))
}

fn text() -> String {
    let mut imports = String::new();
    let mut calls = String::new();
    for (index, entry) in driven().enumerate() {
        let import = entry.import();
        let (params, results) = import.signature.expect("a function");
        let _ = write!(imports, "(import {:?} {:?} (func $f{index} (param", entry.module, entry.name);
        let mut arguments = String::new();
        for (place, ty) in params.iter().enumerate() {
            let get = format!("(call $argument (i32.const {place}) (i32.const 0))");
            let is_long = *ty == prewasm_artifact::ValueType::I64;
            imports.push_str(if is_long { " i64" } else { " i32" });
            arguments.push_str(&if is_long { format!("(i64.extend_i32_u {get})") } else { get });
        }
        imports.push_str(if results.is_empty() { ")))" } else { ") (result i32)))" });
        let call = match results.is_empty() {
            true => format!("(call $f{index} {arguments}) (drop (call $result (i32.const 0)))"),
            false => format!("(drop (call $result (call $f{index} {arguments})))"),
        };
        let _ = write!(calls, "(if (i32.eq (local.get $which) (i32.const {index})) (then {call}))");
    }
    format!(
        r#"(module
          (import "wasi_snapshot_preview1" "sched_yield" (func $next (result i32)))
          (import "wasi_snapshot_preview1" "clock_res_get" (func $argument (param i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "proc_raise" (func $result (param i32) (result i32)))
          {imports}
          (memory (export "memory") {PAGES})
          (func (export "_start") (local $which i32)
            (loop $again
              (local.set $which (call $next))
              (if (i32.lt_s (local.get $which) (i32.const 0)) (then (return)))
              {calls}
              (br $again))))"#
    )
}

impl Driver {
    pub(super) fn new() -> Self {
        Self(Program::new(text()))
    }

    /// Makes one call in a new instance which has this memory.
    pub(super) fn call(
        &self,
        name: &str,
        arguments: &[usize],
        memory: &[u8],
        mut answer: impl FnMut(&Call) -> Answer + Send + 'static,
    ) -> Outcome {
        let which = driven().position(|entry| entry.link_name() == name).expect("a known call");
        let arguments: Vec<i64> = arguments
            .iter()
            .map(|argument| i64::from(u32::try_from(*argument).expect("32 bits").cast_signed()))
            .collect();
        let result = Arc::new(Mutex::new(None));
        let told = Arc::clone(&result);
        let mut is_made = false;
        let mut running = self.0.start(move |call| match call.name.as_str() {
            NEXT => Answer::Number(if std::mem::replace(&mut is_made, true) { -1 } else { which as i64 }),
            ARGUMENT => Answer::Number(arguments[usize::try_from(call.numbers[0]).expect("an index")]),
            RESULT => {
                *told.lock().expect("no panic") =
                    Some(i64::from(u32::try_from(call.numbers[0]).expect("a word").cast_signed()));
                Answer::Number(0)
            }
            "server.begin" | "server.end" => Answer::Number(0),
            _ => answer(call),
        });
        running.memory()[..memory.len()].copy_from_slice(memory);
        let has_trapped = running.handle().is_err();
        let is_own =
            |call: &Call| [NEXT, ARGUMENT, RESULT].contains(&call.name.as_str()) || call.name.starts_with("server.");
        let calls = running.calls().into_iter().filter(|call| !is_own(call)).collect();
        let result = *result.lock().expect("no panic");
        Outcome { result, has_trapped, memory: running.memory()[..memory.len()].to_vec(), calls }
    }
}
