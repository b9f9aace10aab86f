//! Data segments, taken out of a program: a pool's slots hold what they would write.
//!
//! ```wat
//! (memory 1)                                      (memory 1)
//! (data (i32.const 8) "ab")                ->     (data "")
//! (data $passive "cd")                            (data $passive "cd")
//! ```
//!
//! An active segment counts as dropped once an instance has begun (core specification, 4.5.4), which is how an empty
//! passive one behaves: `memory.init` takes no bytes from it, and `data.drop` has no effect. Segments keep their
//! numbers. Programs without a data count section cannot speak of segments, and lose the section.

use std::ops::Range;

use wasm_encoder::Encode as _;
use wasmparser::{
    BinaryReader, BinaryReaderError, Data, DataKind, Encoding, MemoryType, Operator, Parser, Payload, TypeRef,
};

/// Bytes and where they go, in order: later ones may overwrite earlier ones.
pub(super) type Segments<'a> = Vec<(usize, &'a [u8])>;

/// A program without the active segments of its memory, and what they would have written.
#[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "pools read it, and there are none elsewhere"))]
pub(crate) struct Lifted<'a> {
    /// The program, a module or a component.
    pub(crate) wasm: Vec<u8>,
    /// Bytes that its memory has at the start.
    pub(super) size: usize,
    pub(super) segments: Segments<'a>,
}

/// Why a program writes its data itself. It runs as well as others, but pays for it at each start.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unliftable {
    /// There is nothing to take out.
    #[error("it has no memory of its own")]
    NoMemory,
    /// Which memory is made at a time could not be told.
    #[error("it has several memories")]
    SeveralMemories,
    /// Memories of threads outlive instances; large ones and those with pages of another size do not fit the pool.
    #[error("its memory is shared, of 64 bits, or has pages of a size of its own")]
    KindOfMemory,
    /// The place of a segment depends on a global.
    #[error("where a data segment goes is computed")]
    ComputedOffset,
    /// It traps at its start.
    #[error("a data segment does not fit its memory")]
    OutOfBounds,
    /// The compiler will say more.
    #[error("it is malformed")]
    Malformed,
}

impl From<BinaryReaderError> for Unliftable {
    fn from(_: BinaryReaderError) -> Self {
        Self::Malformed
    }
}

/// A module of the program, as far as memory is concerned.
#[derive(Default)]
struct Module<'a> {
    range: Range<usize>,
    memories: Vec<MemoryType>,
    imports_memory: bool,
    data: Vec<Data<'a>>,
    counts_data: bool,
}

/// Takes the active segments out of a module, or of that module of a component which has the memory.
///
/// # Errors
/// [`Unliftable`], if that would change what the program does.
pub(crate) fn lift(wasm: &[u8]) -> Result<Lifted<'_>, Unliftable> {
    let mut owners = modules(wasm)?.into_iter().filter(|module| !module.memories.is_empty());
    let module = owners.next().ok_or(Unliftable::NoMemory)?;
    let [memory] = &*module.memories else { return Err(Unliftable::SeveralMemories) };
    if module.imports_memory || owners.next().is_some() {
        return Err(Unliftable::SeveralMemories);
    }
    if memory.shared || memory.memory64 || memory.page_size_log2.is_some() {
        return Err(Unliftable::KindOfMemory);
    }
    // At most 4 GiB, as the memory has 32 bits.
    let size = memory.initial.checked_mul(64 * 1024).and_then(|size| usize::try_from(size).ok());
    let size = size.ok_or(Unliftable::KindOfMemory)?;
    let segments = active(&module.data, size)?;
    let mut lifted = Vec::with_capacity(wasm.len() - segments.iter().map(|(_, bytes)| bytes.len()).sum::<usize>());
    rewrite(wasm, 0..wasm.len(), &module, &mut lifted)?;
    Ok(Lifted { wasm: lifted, size, segments })
}

/// All modules of a program: one, unless it is a component.
fn modules(wasm: &[u8]) -> Result<Vec<Module<'_>>, Unliftable> {
    let mut modules: Vec<Module<'_>> = Vec::new();
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload?;
        match (&payload, modules.last_mut()) {
            (Payload::Version { encoding: Encoding::Module, range, .. }, _) => {
                modules.push(Module { range: range.start..range.start, ..Module::default() });
            }
            (Payload::ImportSection(imports), Some(module)) => {
                for import in imports.clone().into_imports() {
                    module.imports_memory |= matches!(import?.ty, TypeRef::Memory(_));
                }
            }
            (Payload::MemorySection(memories), Some(module)) => {
                module.memories = memories.clone().into_iter().collect::<Result<_, _>>()?;
            }
            (Payload::DataCountSection { .. }, Some(module)) => module.counts_data = true,
            (Payload::DataSection(data), Some(module)) => {
                module.data = data.clone().into_iter().collect::<Result<_, _>>()?;
            }
            // Within a component this ends a nested one as well, whose range nobody asks for.
            (Payload::End(end), Some(module)) if module.range.is_empty() => module.range.end = *end,
            _ => {}
        }
    }
    Ok(modules)
}

fn active<'a>(data: &[Data<'a>], size: usize) -> Result<Segments<'a>, Unliftable> {
    let mut segments = Vec::new();
    for segment in data {
        let DataKind::Active { offset_expr, .. } = &segment.kind else { continue };
        let mut expression = offset_expr.get_operators_reader();
        let (Operator::I32Const { value }, Operator::End) = (expression.read()?, expression.read()?) else {
            return Err(Unliftable::ComputedOffset);
        };
        let offset = value.cast_unsigned() as usize;
        if offset.checked_add(segment.data.len()).is_none_or(|end| end > size) {
            return Err(Unliftable::OutOfBounds);
        }
        segments.push((offset, segment.data));
    }
    Ok(segments)
}

/// Copies a module or component, with the data section of one module exchanged.
fn rewrite(wasm: &[u8], range: Range<usize>, module: &Module<'_>, to: &mut Vec<u8>) -> Result<(), Unliftable> {
    const HEADER: usize = 8;
    const CORE_MODULE: u8 = 1;
    const COMPONENT: u8 = 4;
    const DATA: u8 = 11;

    let is_module = range == module.range;
    let mut reader = BinaryReader::new(&wasm[range.clone()], range.start);
    to.extend_from_slice(reader.read_bytes(HEADER)?);
    while !reader.eof() {
        let id = reader.read_u8()?;
        let length = reader.read_var_u32()? as usize;
        let start = reader.original_position();
        let content = reader.read_bytes(length)?;
        let range = start..start + length;
        let holds_module = range.start <= module.range.start && module.range.end <= range.end;
        match id {
            DATA if is_module => data_section(module, to),
            CORE_MODULE | COMPONENT if !is_module && holds_module => {
                let mut part = Vec::with_capacity(length);
                rewrite(wasm, range, module, &mut part)?;
                to.push(id);
                part.encode(to);
            }
            _ => {
                to.push(id);
                content.encode(to);
            }
        }
    }
    Ok(())
}

fn data_section(module: &Module<'_>, to: &mut Vec<u8>) {
    if !module.counts_data {
        return;
    }
    let mut section = wasm_encoder::DataSection::new();
    for segment in &module.data {
        section.passive(match segment.kind {
            DataKind::Active { .. } => [].iter().copied(),
            DataKind::Passive => segment.data.iter().copied(),
        });
    }
    to.push(wasm_encoder::Section::id(&section));
    section.encode(to);
}

#[cfg(test)]
mod tests {
    use wasmtime::{Config, Engine, Linker, Module, Store, component};

    use super::*;

    fn lift_text(text: &str) -> (Vec<u8>, Result<String, Unliftable>) {
        let wasm = wat::parse_str(text).expect("valid");
        let text = lift(&wasm).map(|lifted| {
            let mut config = Config::new();
            config.wasm_multi_memory(true);
            let engine = Engine::new(&config).expect("supported");
            if Parser::is_component(&lifted.wasm) {
                component::Component::new(&engine, &lifted.wasm).expect("valid");
            } else {
                Module::new(&engine, &lifted.wasm).expect("valid");
            }
            let mut segments = String::new();
            for (offset, bytes) in &lifted.segments {
                segments += &format!("{offset}:{} ", bytes.escape_ascii());
            }
            segments
        });
        (wasm, text)
    }

    fn reason(text: &str) -> Unliftable {
        lift_text(text).1.expect_err("not liftable")
    }

    #[test]
    fn segments_are_taken_out_in_order() {
        let (_, segments) = lift_text(
            r#"(module (memory 1) (data (i32.const 8) "ab") (data (i32.const 9) "cd") (data (i32.const 65535) "e"))"#,
        );
        assert_eq!(segments, Ok("8:ab 9:cd 65535:e ".to_owned()));
    }

    #[test]
    fn a_program_without_data_stays_as_it_is() {
        let (wasm, segments) = lift_text(r#"(module (memory 1) (func (export "f")) (@custom "x" "y"))"#);
        assert_eq!(segments, Ok(String::new()));
        assert_eq!(lift(&wasm).expect("liftable").wasm, wasm);
    }

    #[test]
    fn what_may_not_be_taken_out_is_told() {
        let computed = r#"(module (import "a" "b" (global $g i32)) (memory 1) (data (global.get $g) "x"))"#;
        assert_eq!(reason(computed), Unliftable::ComputedOffset);
        let extended = r#"(module (memory 1) (data (i32.add (i32.const 1) (i32.const 2)) "x"))"#;
        assert_eq!(reason(extended), Unliftable::ComputedOffset);
        assert_eq!(reason(r#"(module (memory 1) (data (i32.const 65536) "x"))"#), Unliftable::OutOfBounds);
        assert_eq!(reason(r#"(module (memory 1) (data (i32.const -1) "x"))"#), Unliftable::OutOfBounds);
        assert_eq!(reason(r#"(module (memory 1) (data (i32.const -1) ""))"#), Unliftable::OutOfBounds);
        assert_eq!(reason("(module)"), Unliftable::NoMemory);
        assert_eq!(reason(r#"(module (import "a" "b" (memory 1)) (data (i32.const 1) "x"))"#), Unliftable::NoMemory);
        assert_eq!(reason("(module (memory 1) (memory 1))"), Unliftable::SeveralMemories);
        assert_eq!(reason(r#"(module (import "a" "b" (memory 1)) (memory 1))"#), Unliftable::SeveralMemories);
        assert_eq!(reason("(module (memory 1 1 shared))"), Unliftable::KindOfMemory);
        assert_eq!(reason(r#"(module (memory i64 1) (data (i64.const 1) "x"))"#), Unliftable::KindOfMemory);
        assert_eq!(reason("(module (memory 1 (pagesize 1)))"), Unliftable::KindOfMemory);
        assert_eq!(lift(b"\0asm\x01\0\0\0\x0B").err(), Some(Unliftable::Malformed));
    }

    /// What a program does with its segments, by number, is the same without those that were active.
    #[test]
    fn segments_keep_their_numbers_and_count_as_dropped() {
        let wasm = wat::parse_str(
            r#"(module
                (memory (export "memory") 1)
                (data $first (i32.const 0) "first")
                (data $passive "passive")
                (data $second (i32.const 100) "second")
                (func (export "init") (param i32 i32)
                    (memory.init $passive (i32.const 200) (i32.const 0) (i32.const 7))
                    (data.drop $passive)
                    (data.drop $second)
                    (memory.init $second (i32.const 0) (i32.const 0) (i32.const 0))
                    (memory.init $first (i32.const 300) (local.get 0) (local.get 1))))"#,
        )
        .expect("valid");
        let lifted = lift(&wasm).expect("liftable");
        assert_eq!(lifted.segments, [(0, &b"first"[..]), (100, b"second")]);
        let engine = Engine::default();
        for (start, length) in [(0, 0), (0, 1), (1, 0), (5, 0)] {
            let [original, without] = [&wasm, &lifted.wasm].map(|wasm| {
                let module = Module::new(&engine, wasm).expect("valid");
                let mut store = Store::new(&engine, ());
                let instance = Linker::new(&engine).instantiate(&mut store, &module).expect("valid");
                let init = instance.get_typed_func::<(i32, i32), ()>(&mut store, "init").expect("exported");
                let result = init.call(&mut store, (start, length));
                let memory = instance.get_memory(&mut store, "memory").expect("exported");
                (result.is_ok(), memory.data(&store)[200..].to_vec())
            });
            assert_eq!(original, without, "memory.init of {length} bytes from {start}");
        }
    }

    #[test]
    fn the_module_of_a_component_that_has_the_memory_is_found() {
        let component = |inner: &str| {
            format!(
                r#"(component
                    (core module (func (export "f")))
                    (component
                        (core module $user (import "m" "memory" (memory 1)) (data (i32.const 500) "stays"))
                        {inner})
                    (core module (table 1 funcref)))"#
            )
        };
        let memory = r#"(core module (memory (export "memory") 1) (data (i32.const 7) "moves"))"#;
        let (wasm, segments) = lift_text(&component(memory));
        assert_eq!(segments, Ok("7:moves ".to_owned()));
        let lifted = lift(&wasm).expect("liftable").wasm;
        let holds = |wasm: &[u8], text: &[u8]| wasm.windows(text.len()).any(|window| window == text);
        assert!(holds(&lifted, b"stays") && !holds(&lifted, b"moves"));
        assert_eq!(reason(&component(&memory.repeat(2))), Unliftable::SeveralMemories);
    }
}
