//! What the memories of a module start with, in figures.

use std::cmp::Reverse;

use serde::Serialize;

use crate::{
    layout::is_mapped,
    program::Program,
    state::{Content, Placed, contents, placed},
};

/// How many ranges are listed.
const LISTED: usize = 10;
/// Ranges may have zeros within them, up to this many bytes: a page of most hosts.
const GAP: u64 = 4096;

/// What a module's memories start with.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct InitialData {
    /// Whether Wasmtime, in its default settings, maps it copy-on-write: else each instance is filled by copying.
    pub cow_eligible: bool,
    /// Memories with content. None, if content is not known before the module is instantiated.
    pub memories: Vec<InitialMemory>,
    /// The largest ranges, the largest first.
    pub largest: Vec<InitialRange>,
}

/// What one memory starts with.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct InitialMemory {
    /// Its index.
    pub memory: u32,
    /// Data segments with content.
    pub segments: u64,
    /// The lowest address which a segment writes to.
    pub start: u64,
    /// Bytes from there to behind the highest.
    pub span: u64,
    /// Bytes which are not zero.
    pub non_zero: u64,
    /// Which part of the span is not zero, from 0 to 1.
    pub density: f64,
}

/// Content of a memory without long gaps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct InitialRange {
    /// The memory's index.
    pub memory: u32,
    /// Where it starts.
    pub offset: u64,
    /// How long it is.
    pub bytes: u64,
    /// What is there.
    pub name: String,
}

impl InitialData {
    /// Measures a valid module. `name` tells what is at an address of a memory.
    pub(crate) fn of(program: &Program<'_>, name: impl Fn(u32, u64) -> String) -> Self {
        let (Some(contents), Some(placed)) = (contents(program), placed(program)) else { return Self::default() };
        let mut memories = Vec::new();
        let mut largest = Largest::default();
        for (memory, content) in (0..).zip(&contents) {
            memories.extend(InitialMemory::of(memory, content, &placed));
            for range in ranges(memory, content, &name) {
                largest.add(range);
            }
        }
        Self { cow_eligible: is_mapped(program), memories, largest: largest.listed() }
    }
}

impl InitialMemory {
    fn of(memory: u32, content: &Content<'_>, placed: &[Placed<'_>]) -> Option<Self> {
        let segments = || placed.iter().filter(|segment| segment.memory == memory && !segment.bytes.is_empty());
        let start = segments().map(|segment| segment.offset).min()?;
        let end = segments().map(|segment| segment.offset + segment.bytes.len() as u64).max()?;
        let (span, non_zero) = (end - start, content.non_zero());
        let density = non_zero as f64 / span as f64;
        Some(Self { memory, segments: segments().count() as u64, start, span, non_zero, density })
    }
}

/// What is no farther apart than a page, and has the same name.
fn ranges(
    memory: u32,
    content: &Content<'_>,
    name: &impl Fn(u32, u64) -> String,
) -> impl Iterator<Item = InitialRange> {
    let mut runs = content.runs().into_iter().map(move |run| InitialRange {
        memory,
        offset: run.start,
        bytes: run.end - run.start,
        name: name(memory, run.start),
    });
    let mut current = runs.next();
    std::iter::from_fn(move || {
        let mut range = current.take()?;
        for run in runs.by_ref() {
            if run.offset - range.end() > GAP || run.name != range.name {
                current = Some(run);
                break;
            }
            range.bytes = run.end() - range.offset;
        }
        Some(range)
    })
}

impl InitialRange {
    fn end(&self) -> u64 {
        self.offset + self.bytes
    }
}

/// Keeps a few of many.
#[derive(Default)]
struct Largest(Vec<InitialRange>);

impl Largest {
    fn add(&mut self, range: InitialRange) {
        self.0.push(range);
        // Not at every range, since each time takes as long as sorting.
        if self.0.len() > 10 * LISTED {
            self.trim();
        }
    }

    fn trim(&mut self) {
        self.0.sort_by_key(|range| (Reverse(range.bytes), range.memory, range.offset));
        self.0.truncate(LISTED);
    }

    fn listed(mut self) -> Vec<InitialRange> {
        self.trim();
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(wat: &str) -> InitialData {
        let wasm = wat::parse_str(wat).expect("valid text");
        let name = |memory, offset| format!("{memory}/{}", offset / 10_000);
        InitialData::of(&Program::parse(&wasm).expect("valid"), name)
    }

    #[test]
    fn each_memory_is_measured() {
        let data = data(
            r#"(module (memory 1) (memory 1) (memory 1)
                (data (i32.const 100) "ab\00\00") (data (i32.const 196) "abcd") (data (i32.const 5) "")
                (data (memory 2) (i32.const 7) "\00") (data "passive"))"#,
        );
        assert!(data.cow_eligible);
        let [first, last] = &data.memories[..] else { panic!("{data:?}") };
        assert_eq!((first.memory, first.segments, first.start, first.span, first.non_zero), (0, 2, 100, 100, 6));
        assert!((first.density - 0.06).abs() < 1e-9);
        assert_eq!((last.memory, last.segments, last.start, last.span, last.non_zero), (2, 1, 7, 1, 0));
    }

    #[test]
    fn the_largest_ranges_are_named() {
        let segments: String = (0..150)
            .map(|number| format!(r#"(data (i32.const {}) "{}")"#, number * 5000, "x".repeat(number)))
            .collect();
        let data = data(&format!("(module (memory 20) {segments} (data (i32.const 9900) \"{}\"))", "y".repeat(60)));
        assert_eq!(data.largest.len(), 10);
        let range = |offset, bytes, name: &str| InitialRange { memory: 0, offset, bytes, name: name.to_owned() };
        assert_eq!(data.largest[0], range(745_000, 149, "0/74"));
        assert_eq!(data.largest[9], range(700_000, 140, "0/70"));
    }

    #[test]
    fn ranges_end_at_long_gaps_and_where_the_name_changes() {
        let data = data(
            r#"(module (memory 1) (data (i32.const 100) "a") (data (i32.const 4000) "b") (data (i32.const 8098) "c")
                (data (i32.const 9999) "d") (data (i32.const 10100) "e"))"#,
        );
        let mut places: Vec<_> = data.largest.iter().map(|range| (range.offset, range.bytes)).collect();
        places.sort_unstable();
        assert_eq!(places, [(100, 3901), (8098, 1902), (10_100, 1)]);
    }

    #[test]
    fn what_is_not_known_before_is_not_measured() {
        let data = data(r#"(module (import "a" "b" (memory 1)) (data (i32.const 0) "x"))"#);
        assert!(!data.cow_eligible && data.memories.is_empty() && data.largest.is_empty());
    }

    #[test]
    fn names_in_json_are_those_of_the_report() {
        let json = serde_json::to_value(data(r#"(module (memory 1) (data (i32.const 0) "x"))"#)).expect("plain");
        assert_eq!(json["cowEligible"], true);
        assert_eq!(json["memories"][0]["nonZero"], 1);
        assert_eq!(json["largest"][0]["name"], "0/0");
    }
}
