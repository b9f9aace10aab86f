//! When Wasmtime maps the initial content of memories copy-on-write.
//!
//! Wasmtime 48 makes an image of all memories of a module, or of none (`ModuleTranslation::try_static_init`), and maps
//! it for each instance. It does if
//!
//! - no active segment is for an imported memory,
//! - each segment's offset is a single constant, and the segment is within the memory's initial size,
//! - the pages of a memory with content are no smaller than those of the host,
//! - for each memory, the range from the first to the last byte of all segments is less than twice as long as the
//!   segments together, or is shorter than `Config::memory_guaranteed_dense_image_size`, by default 16 MiB.

use wasmparser::{DataKind, Operator};

use crate::{program::Program, state::bytes};

/// Wasmtime's default for the size up to which an image is made even if it is nearly empty.
const ALWAYS_DENSE: u64 = 16 << 20;
/// The host's pages, as a power of two: where they are larger, no common size of a memory's pages is smaller still.
const HOST_PAGE_LOG2: u32 = 12;

/// What active segments write to one memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Extent {
    /// Their sizes together, in bytes.
    data: u64,
    /// The lowest address.
    start: u64,
    /// Behind the highest address.
    end: u64,
}

/// Whether Wasmtime, in its default settings, maps what this module's memories start with.
pub(crate) fn is_mapped(program: &Program<'_>) -> bool {
    let Some(extents) = extents(program) else { return false };
    program.memories.iter().zip(extents).all(|(ty, extent)| {
        let is_paged = ty.page_size_log2.is_none_or(|log2| log2 >= HOST_PAGE_LOG2);
        extent.data == 0 || (is_paged && fills_enough(extent.end - extent.start, extent.data))
    })
}

/// Whether a range with this much data in it is worth an image.
pub(super) fn fills_enough(span: u64, data: u64) -> bool {
    span < data.saturating_mul(2) || span < ALWAYS_DENSE
}

/// What active segments write to each memory; `None` if their places are not plain constants within the memory.
fn extents(program: &Program<'_>) -> Option<Vec<Extent>> {
    let mut extents = vec![Extent::default(); program.memories.len()];
    for data in &program.data {
        let DataKind::Active { memory_index, offset_expr } = &data.kind else { continue };
        let defined = memory_index.checked_sub(program.imported_memories)? as usize;
        let mut operators = offset_expr.get_operators_reader().into_iter();
        let start = match operators.next()?.ok()? {
            Operator::I32Const { value } => u64::from(value.cast_unsigned()),
            Operator::I64Const { value } => value.cast_unsigned(),
            _ => return None,
        };
        if !matches!(operators.next(), Some(Ok(Operator::End))) {
            return None;
        }
        let end = start.checked_add(data.data.len() as u64)?;
        if end > bytes(*program.memories.get(defined)?) {
            return None;
        }
        if !data.data.is_empty() {
            extents[defined].add(start, end);
        }
    }
    Some(extents)
}

impl Extent {
    fn add(&mut self, start: u64, end: u64) {
        self.start = if self.data == 0 { start } else { self.start.min(start) };
        self.end = self.end.max(end);
        self.data = self.data.saturating_add(end - start);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapped(wat: &str) -> bool {
        let wasm = wat::parse_str(wat).expect("valid text");
        is_mapped(&Program::parse(&wasm).expect("valid"))
    }

    #[test]
    fn places_must_be_constants_in_a_memory_of_the_module() {
        assert!(mapped(r#"(module (memory 1) (data (i32.const 5) "x"))"#));
        assert!(mapped(r#"(module (memory 1) (memory i64 1) (data "x") (data (memory 1) (i64.const 5) "x"))"#));
        assert!(mapped("(module)"));
        assert!(!mapped(r#"(module (import "a" "b" (memory 1)) (data (i32.const 5) "x"))"#));
        assert!(!mapped(r#"(module (memory 1) (data (i32.add (i32.const 5) (i32.const 1)) "x"))"#));
        assert!(!mapped(r#"(module (memory 1) (data (i32.const 65535) "xy"))"#));
        assert!(!mapped(r#"(module (memory 1 (pagesize 1)) (data (i32.const 0) "x"))"#));
    }

    #[test]
    fn a_long_range_must_be_half_full() {
        let far = |data: usize, end: u64| {
            let data = "x".repeat(data);
            mapped(&format!(
                r#"(module (memory 1000) (data (i32.const 0) "{data}") (data (i32.const {}) "x"))"#,
                end - 1
            ))
        };
        assert!(far(10, ALWAYS_DENSE - 1));
        assert!(!far(10, ALWAYS_DENSE));
        assert!(far(ALWAYS_DENSE as usize / 2, ALWAYS_DENSE));
    }
}
