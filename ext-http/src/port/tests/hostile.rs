//! Modules which nobody meant to be ported: they are, or are told why not, and nothing else.

use std::convert::Infallible;

use arbitrary::Unstructured;
use prewasm_artifact::{Artifact, Kind};
use wasm_encoder::{
    ExportKind, ExportSection,
    reencode::{self, Reencode},
};

use crate::port::{
    LinkError, PortError, PortOptions,
    link::tests::sprinkled::{self, Language, Random},
    module::Module,
    port,
};

/// Whether it was ported.
fn check(artifact: &Artifact, what: &str) -> bool {
    match port(artifact, &PortOptions::default()) {
        Ok(_) => true,
        Err(PortError::Rejected { .. } | PortError::Link { source: LinkError::MemoryFull { .. }, .. }) => false,
        Err(error) => panic!("{what}: {error:?}"),
    }
}

#[test]
fn programs_of_all_kinds_are_ported_whole() {
    for language in [Language::Basic, Language::References, Language::Exceptions, Language::Objects] {
        for seed in 1000..1015 {
            let Some(wasm) = sprinkled::program(language, seed) else { continue };
            let artifact = Artifact::from_bytes("program", wasm).expect("valid");
            check(&artifact, &format!("{language:?}, seed {seed}"));
        }
    }
}

/// Calls one of the functions `_start`, or else it would be a reactor, which is the end of it.
struct Start(u32);

impl Reencode for Start {
    type Error = Infallible;

    fn parse_export_section(
        &mut self,
        exports: &mut ExportSection,
        section: wasmparser::ExportSectionReader<'_>,
    ) -> Result<(), reencode::Error> {
        exports.export("_start", ExportKind::Func, self.0);
        reencode::utils::parse_export_section(self, exports, section)
    }
}

#[test]
fn modules_with_any_imports_are_rejected_at_most() {
    let mut programs = 0;
    for seed in 0..400 {
        let mut random = Random(seed);
        let bytes: Vec<u8> = (0..2048).map(|_| random.below(256).to_le_bytes()[0]).collect();
        let config = wasm_smith::Config {
            gc_enabled: true,
            exceptions_enabled: true,
            max_imports: [0, 0, 5][usize::try_from(random.below(3)).expect("small")],
            max_memories: 3,
            memory64_enabled: random.below(2) == 0,
            threads_enabled: random.below(2) == 0,
            tail_call_enabled: true,
            min_exports: 1,
            min_funcs: 1,
            ..wasm_smith::Config::default()
        };
        let Ok(module) = wasm_smith::Module::new(config, &mut Unstructured::new(&bytes)) else { continue };
        let wasm = module.to_bytes();
        let functions = Module::parse(&wasm).expect("valid").functions.len();
        let start = random.below(functions.max(1) as u64);
        let mut output = wasm_encoder::Module::new();
        Start(u32::try_from(start).expect("few"))
            .parse_core_module(&mut output, wasmparser::Parser::new(0), &wasm)
            .expect("a valid module is written again");
        let Ok(artifact) = Artifact::from_bytes("program", output.finish()) else { continue };
        programs += u32::from(artifact.kind() == Kind::Command);
        check(&artifact, &format!("seed {seed}"));
    }
    assert!(programs > 100, "only {programs} were programs");
}

#[test]
fn a_program_with_other_bytes_is_another_program_or_none() {
    let text = r#"(module
        (type $unit (func))
        (import "wasi_snapshot_preview1" "sock_accept" (func $accept (param i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (memory (export "memory") 2 10)
        (table 3 funcref)
        (global $stack (mut i32) (i32.const 65536))
        (start $begin)
        (elem (i32.const 0) $begin $exit)
        (data (i32.const 1024) "some text, some text")
        (data $passive "more")
        (func $begin (global.set $stack (i32.const 1)))
        (func $grow (result i32) (memory.grow (i32.const 1)))
        (func (export "_start") (local i64)
          (memory.init $passive (i32.const 0) (i32.const 0) (i32.const 4))
          (table.set (i32.const 2) (ref.func $exit))
          (call_indirect (type $unit) (i32.const 0))
          (drop (call $accept (i32.const 600) (call $grow)))
          (drop (call $write (i32.const 1) (i32.const 2) (i32.const 3) (memory.size)))
          (call $exit (i32.const 0))))"#;
    let original = wat::parse_str(text).expect("valid");
    let mut valid = 0;
    for seed in 0..6000 {
        let mut random = Random(seed);
        let mut wasm = original.clone();
        for _ in 0..=random.below(2) {
            let at = usize::try_from(random.below(wasm.len() as u64)).expect("small");
            wasm[at] = random.below(256).to_le_bytes()[0];
        }
        let Ok(artifact) = Artifact::from_bytes("program", wasm) else { continue };
        valid += 1;
        // Whole components take their time.
        if valid % 20 == 0 {
            check(&artifact, &format!("seed {seed}"));
        }
    }
    assert!(valid > 100, "only {valid} were valid");
}
