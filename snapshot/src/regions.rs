//! What an address of linear memory belongs to, for people.
//!
//! A name is the best that the program still knows: a static variable (from DWARF), the stack, an exported symbol, a
//! data segment, the heap. In order:
//!
//! | Address | Name |
//! |---|---|
//! | in a static variable | `std::hash::random::RandomState::new::KEYS+0x8` |
//! | in the stack | `stack+0x40` |
//! | behind an exported symbol, in the same data segment | `table+0x10` |
//! | in a data segment | `.rodata+0x120`, or `data segment 3+0x10` |
//! | behind all data | `heap+0x20`; where nothing tells how much data is zero at the start, that is here, too |
//! | between data and heap | `.bss+0x20`; where nothing tells how large the stack is, that is here, too |
//! | in another memory | `memory 1+0x20` |

mod variables;

use std::{collections::BTreeMap, ops::Range};

use wasmparser::{DataKind, ExternalKind};

use crate::{
    names::{Names, readable},
    program::Program,
    stack::Stack,
};

use variables::Variables;

/// Where the heap starts, as wasm-ld calls it.
const HEAP_BASE: &str = "__heap_base";
/// Where static data ends, as wasm-ld calls it.
const DATA_END: &str = "__data_end";

/// What is where in the memories of a program before it has run.
#[derive(Debug)]
pub(crate) struct Regions<'a> {
    stack: Option<Range<u64>>,
    /// Data segments of memory 0, by address.
    segments: Vec<Segment<'a>>,
    /// Exported symbols by address, without those which the linker makes.
    symbols: BTreeMap<u64, &'a str>,
    variables: Variables<'a>,
    /// Where the heap starts.
    heap: u64,
}

#[derive(Debug)]
struct Segment<'a> {
    range: Range<u64>,
    index: u32,
    name: Option<&'a str>,
}

impl<'a> Regions<'a> {
    /// What is known of `program`. Debug information is read, which may take a second for large programs.
    pub(crate) fn of(program: &Program<'a>) -> Self {
        let names = Names::of(program);
        let segments = segments(program, &names);
        let (symbols, bounds) = exported(program);
        let stack = Stack::of(program, &names);
        let data_end = segments.iter().map(|segment| segment.range.end).max().unwrap_or(0);
        // A stack which is not in front of the data is between them and the heap.
        let behind_stack = stack.map_or(0, |stack| stack.top);
        let variables = Variables::of(program);
        let static_end = data_end.max(behind_stack).max(variables.end());
        let heap = bounds.get(HEAP_BASE).copied().unwrap_or(static_end);
        let stack = stack.and_then(|stack| match bounds.get(DATA_END) {
            _ if stack.is_first => Some(0..stack.top),
            Some(end) => Some(*end..stack.top),
            None => None,
        });
        Self { stack, segments, symbols, variables, heap }
    }

    /// The name of the byte at `offset` of `memory`.
    pub(crate) fn name(&self, memory: u32, offset: u64) -> String {
        if memory != 0 {
            return format!("memory {memory}+{offset:#x}");
        }
        if let Some((name, distance)) = self.variables.at(offset) {
            return plus(&name, distance);
        }
        if let Some(stack) = self.stack.as_ref().filter(|stack| stack.contains(&offset)) {
            return plus("stack", offset - stack.start);
        }
        let behind = self.segments.partition_point(|segment| segment.range.start <= offset);
        match behind.checked_sub(1).map(|index| &self.segments[index]) {
            Some(segment) if segment.range.contains(&offset) => self.in_segment(segment, offset),
            _ if offset >= self.heap => plus("heap", offset - self.heap),
            Some(segment) => plus(".bss", offset - segment.range.end),
            None => format!("memory 0+{offset:#x}"),
        }
    }

    fn in_segment(&self, segment: &Segment<'_>, offset: u64) -> String {
        if let Some((start, symbol)) = self.symbols.range(segment.range.start..=offset).next_back() {
            return plus(&readable(symbol), offset - start);
        }
        let distance = offset - segment.range.start;
        match segment.name {
            Some(name) => plus(&readable(name), distance),
            None => plus(&unnamed(segment.index), distance),
        }
    }
}

/// What a data segment without a name is called.
pub(crate) fn unnamed(segment: u32) -> String {
    format!("data segment {segment}")
}

/// A place `distance` bytes behind the start of what has this name.
pub(crate) fn plus(name: &str, distance: u64) -> String {
    if distance == 0 { name.to_owned() } else { format!("{name}+{distance:#x}") }
}

fn segments<'a>(program: &Program<'_>, names: &Names<'a>) -> Vec<Segment<'a>> {
    let known = (0..).zip(&program.data).filter_map(|(index, data)| {
        let DataKind::Active { memory_index: 0, offset_expr } = &data.kind else { return None };
        let start = program.constants.address(offset_expr)?;
        let end = start.checked_add(data.data.len() as u64)?;
        Some(Segment { range: start..end, index, name: names.data(index) })
    });
    let mut segments: Vec<_> = known.filter(|segment| !segment.range.is_empty()).collect();
    segments.sort_by_key(|segment| segment.range.start);
    segments
}

/// Exported constants: addresses of symbols, and bounds which the linker has set.
fn exported<'a>(program: &Program<'a>) -> (BTreeMap<u64, &'a str>, BTreeMap<&'a str, u64>) {
    let (mut symbols, mut bounds) = (BTreeMap::new(), BTreeMap::new());
    for export in &program.exports {
        if export.kind != ExternalKind::Global {
            continue;
        }
        let index = export.index.checked_sub(program.imported_globals);
        let Some(global) = index.and_then(|index| program.globals.get(index as usize)) else { continue };
        let Some(address) = program.constants.address(&global.init_expr).filter(|_| !global.ty.mutable) else {
            continue;
        };
        if export.name.starts_with("__") {
            bounds.insert(export.name, address);
        } else {
            symbols.insert(address, export.name);
        }
    }
    (symbols, bounds)
}

#[cfg(test)]
mod tests {
    use prewasm_artifact::{Artifact, append_section};

    use super::*;

    fn name_all(wasm: Vec<u8>, places: &[(u32, u64)]) -> Vec<String> {
        let artifact = Artifact::from_bytes("test", wasm).expect("valid");
        let program = Program::parse(artifact.bytes()).expect("valid");
        let regions = Regions::of(&program);
        places.iter().map(|(memory, offset)| regions.name(*memory, *offset)).collect()
    }

    fn binary(wat: &str) -> Vec<u8> {
        Artifact::from_bytes("test", wat.into()).expect("valid").into_bytes()
    }

    #[test]
    fn places_of_a_linked_program_have_names() {
        let wat = r#"(module (memory 1) (memory 1)
            (global $__stack_pointer (mut i32) (i32.const 1024))
            (global (export "__heap_base") i32 (i32.const 2048)) (global (export "table") i32 (i32.const 1536))
            (global (export "counter") (mut i32) (i32.const 1025))
            (data $.rodata (i32.const 1024) "0123456789abcdef") (data (i32.const 1536) "0123456789abcdef")
            (data (i32.const 1600) "x"))"#;
        let places =
            [(0, 64), (0, 1024), (0, 1030), (0, 1540), (0, 1600), (0, 1602), (0, 2048), (0, 2080), (1, 16), (9, 0)];
        let names = [
            "stack+0x40",
            ".rodata",
            ".rodata+0x6",
            "table+0x4",
            "data segment 2",
            ".bss+0x1",
            "heap",
            "heap+0x20",
            "memory 1+0x10",
            "memory 9+0x0",
        ];
        assert_eq!(name_all(binary(wat), &places), names);
    }

    #[test]
    fn without_names_the_heap_is_what_comes_behind_data() {
        let wat = r#"(module (memory 1) (data (i32.const 100) "abc"))"#;
        let names = ["memory 0+0x5", "data segment 0+0x2", "heap", "heap+0x1"];
        assert_eq!(name_all(binary(wat), &[(0, 5), (0, 102), (0, 103), (0, 104)]), names);
        assert_eq!(name_all(binary("(module (memory 1))"), &[(0, 0), (0, u64::MAX)])[0], "heap");
    }

    #[test]
    fn a_stack_behind_the_data_has_bounds_if_the_linker_tells() {
        let wat = r#"(module (memory 1) (global $__stack_pointer (mut i32) (i32.const 4096))
            (global (export "__data_end") i32 (i32.const 2048)) (data $.data (i32.const 1024) "x"))"#;
        let names = ["memory 0+0x8", ".bss+0xf", "stack+0x10", "heap"];
        assert_eq!(name_all(binary(wat), &[(0, 8), (0, 1040), (0, 2064), (0, 4096)]), names);
    }

    /// A compile unit with the namespace `app`, in it an array `KEYS` of three `u64`s at 2000, and `_ZN3app4ONCEE`,
    /// whose type is not known, at 3000.
    fn with_debug_information(mut wasm: Vec<u8>) -> Vec<u8> {
        let abbreviations = [
            &[1, 0x11, 1, 0, 0][..],                                 // compile unit
            &[2, 0x39, 1, 0x03, 0x08, 0, 0],                         // namespace: name
            &[3, 0x34, 0, 0x03, 0x0e, 0x02, 0x18, 0x49, 0x13, 0, 0], // variable: name, location, type
            &[4, 0x34, 0, 0x03, 0x08, 0x6e, 0x08, 0x02, 0x18, 0, 0], // variable: linkage name
            &[5, 0x01, 1, 0x49, 0x13, 0, 0],                         // array: type
            &[6, 0x21, 0, 0x37, 0x0b, 0, 0],                         // subrange: count
            &[7, 0x24, 0, 0x0b, 0x0b, 0, 0],                         // base type: size
            &[0],
        ]
        .concat();
        let entries = [
            &[1][..],
            &[7, 8],                    // at 12
            &[5, 12, 0, 0, 0, 6, 3, 0], // at 14
            b"\x02app\0",
            &[3, 1, 0, 0, 0, 5, 3, 0xd0, 0x07, 0, 0, 14, 0, 0, 0],
            b"\x04ONCE\0_ZN3app4ONCEE\0",
            &[5, 3, 0xb8, 0x0b, 0, 0],
            &[0, 0],
        ]
        .concat();
        let header = [4, 0, 0, 0, 0, 0, 4]; // version 4, abbreviations at 0, addresses of four bytes
        let length = u32::try_from(header.len() + entries.len()).expect("short");
        append_section(&mut wasm, ".debug_info", &[&length.to_le_bytes()[..], &header, &entries].concat());
        append_section(&mut wasm, ".debug_abbrev", &abbreviations);
        append_section(&mut wasm, ".debug_str", b"?KEYS\0");
        wasm
    }

    #[test]
    fn static_variables_have_names_from_debug_information() {
        let wasm = with_debug_information(binary(r#"(module (memory 1) (data (i32.const 1024) "x"))"#));
        let names = ["app::KEYS", "app::KEYS+0x17", ".bss+0x3e7", "app::ONCE", "heap"];
        assert_eq!(name_all(wasm, &[(0, 2000), (0, 2023), (0, 2024), (0, 3000), (0, 3001)]), names);
    }

    #[test]
    fn damaged_debug_information_is_no_failure() {
        let whole = with_debug_information(binary("(module (memory 1))"));
        let start = whole.windows(11).position(|window| window == b".debug_info").expect("there is one") + 11;
        for at in start..whole.len() {
            for byte in [0, 1, 3, 0x7f, 0x80, 0xff] {
                let mut damaged = whole.clone();
                damaged[at] = byte;
                // Some damage is to the module itself.
                if Artifact::from_bytes("test", damaged.clone()).is_ok() {
                    name_all(damaged, &[(0, 2000)]);
                }
            }
        }
    }
}
