//! A module with other data segments: data section, data count and names of data change; the rest is copied.

use std::{collections::BTreeMap, ops::Range};

use wasm_encoder::{ConstExpr, Encode as _};
use wasmparser::{Data, DataKind};

use super::{
    Layout, LayoutError, append,
    image::is_mapped,
    names::{self, Names},
    plan,
};
use crate::{
    program::Program,
    sections::{CUSTOM, PREAMBLE, Section, sections},
    state::{Content, Placed, bytes, contents, placed},
};

const DATA: u8 = 11;
const DATA_COUNT: u8 = 12;
/// Engines take no more segments than this in a module.
const MAX_SEGMENTS: usize = 100_000;
/// What tells that a segment is active and for memory 0, passive, or active and for the memory that follows.
const ACTIVE: u32 = 0;
const PASSIVE: u32 = 1;
const ACTIVE_IN: u32 = 2;

/// The module laid out, or `None` if it had better stay as it is.
pub(super) fn laid_out(wasm: &[u8], layout: Layout) -> Result<Option<Vec<u8>>, LayoutError> {
    let program = Program::parse(wasm)?;
    let is_shared = program.memories.iter().any(|memory| memory.shared);
    let (false, false, Some(contents), Some(placed)) =
        (is_shared, program.data.is_empty(), contents(&program), placed(&program))
    else {
        return Ok(None);
    };
    let segments = segments(&program, &contents, layout);
    let kept = kept(&program);
    if kept.len() + segments.len() > MAX_SEGMENTS {
        return Ok(None);
    }
    let out = Writer { program: &program, contents: &contents, placed: &placed, kept, segments: &segments }.write()?;
    // Zeros in the input may have made an image dense that is not without them.
    let is_worse = layout == Layout::Cow && is_mapped(&program) && !is_mapped(&Program::parse(&out)?);
    Ok((!is_worse).then_some(out))
}

/// A segment to write.
struct Segment {
    memory: u32,
    range: Range<u64>,
}

fn segments(program: &Program<'_>, contents: &[Content<'_>], layout: Layout) -> Vec<Segment> {
    let mut segments = Vec::new();
    for ((memory, ty), content) in (0..).zip(&program.memories).zip(contents) {
        let ranges = plan::ranges(&content.runs(), bytes(*ty), layout);
        segments.extend(ranges.into_iter().map(|range| Segment { memory, range }));
    }
    segments
}

/// The segments up to the last that code names: each must stay in its place.
fn kept<'p, 'a>(program: &'p Program<'a>) -> &'p [Data<'a>] {
    if !program.code_may_name_data() {
        return &[];
    }
    let code = program.code();
    let named = code.reads_data.keys().chain(&code.drops_data).max();
    let count = named.map_or(0, |last| *last as usize + 1);
    &program.data[..count.min(program.data.len())]
}

struct Writer<'p, 'a> {
    program: &'p Program<'a>,
    contents: &'p [Content<'a>],
    placed: &'p [Placed<'a>],
    kept: &'p [Data<'a>],
    segments: &'p [Segment],
}

impl Writer<'_, '_> {
    fn write(&self) -> Result<Vec<u8>, LayoutError> {
        let wasm = self.program.wasm;
        let mut out = wasm[..PREAMBLE].to_vec();
        for section in sections(wasm)? {
            match section.id {
                DATA => append(&mut out, DATA, &self.data()?)?,
                DATA_COUNT => {
                    let mut count = Vec::new();
                    self.count()?.encode(&mut count);
                    append(&mut out, DATA_COUNT, &count)?;
                }
                _ => match self.renamed(&section) {
                    Some(renamed) => append(&mut out, CUSTOM, &renamed)?,
                    None => out.extend_from_slice(section.whole),
                },
            }
        }
        Ok(out)
    }

    fn count(&self) -> Result<u32, LayoutError> {
        u32::try_from(self.kept.len() + self.segments.len()).map_err(|_| LayoutError::TooLarge)
    }

    fn data(&self) -> Result<Vec<u8>, LayoutError> {
        let mut out = Vec::new();
        self.count()?.encode(&mut out);
        for data in self.kept {
            // An active segment is empty once the module is instantiated, and so is this one.
            let content = if matches!(data.kind, DataKind::Passive) { data.data } else { &[] };
            PASSIVE.encode(&mut out);
            content.encode(&mut out);
        }
        for segment in self.segments {
            self.segment(segment, &mut out)?;
        }
        Ok(out)
    }

    fn segment(&self, Segment { memory, range }: &Segment, out: &mut Vec<u8>) -> Result<(), LayoutError> {
        if *memory == 0 {
            ACTIVE.encode(out);
        } else {
            ACTIVE_IN.encode(out);
            memory.encode(out);
        }
        let place = *memory as usize;
        let offset = if self.program.memories[place].memory64 {
            ConstExpr::i64_const(range.start.cast_signed())
        } else {
            let offset = u32::try_from(range.start).expect("content is within a memory of 4 GiB");
            ConstExpr::i32_const(offset.cast_signed())
        };
        offset.encode(out);
        let size = u32::try_from(range.end - range.start).map_err(|_| LayoutError::TooLarge)?;
        size.encode(out);
        for (length, part) in self.contents[place].parts(range.clone()) {
            match part {
                Some(part) => out.extend_from_slice(part),
                None => out.resize(out.len() + usize::try_from(length).map_err(|_| LayoutError::TooLarge)?, 0),
            }
        }
        Ok(())
    }

    /// The `name` section with names for the segments as they are now.
    fn renamed(&self, section: &Section<'_>) -> Option<Vec<u8>> {
        let (name, content) = section.custom().filter(|(name, _)| *name == "name")?;
        let old = names::of_data(content)?;
        let mut out = Vec::new();
        name.encode(&mut out);
        out.extend(names::with_data(content, &self.names(&old))?);
        Some(out)
    }

    /// Segments which stay keep their names; each other one has the name of the region in which its content starts.
    fn names<'n>(&self, old: &Names<'n>) -> Names<'n> {
        let kept = u32::try_from(self.kept.len()).unwrap_or(u32::MAX);
        let mut names: Names<'n> = old.range(..kept).map(|(index, name)| (*index, *name)).collect();
        let regions = Regions::new(self.placed, old);
        for (index, segment) in (kept..).zip(self.segments) {
            let parts = self.contents[segment.memory as usize].parts(segment.range.clone());
            // Pages are completed with zeros in front of the content.
            let padding: u64 = parts.iter().map_while(|(length, part)| part.is_none().then_some(*length)).sum();
            if let Some(name) = regions.name(segment.memory, segment.range.start + padding) {
                names.insert(index, name);
            }
        }
        names
    }
}

/// Names by where segments were.
struct Regions<'n> {
    /// By memory and start: the end, and the name.
    regions: BTreeMap<(u32, u64), (u64, &'n str)>,
}

impl<'n> Regions<'n> {
    fn new(placed: &[Placed<'_>], names: &Names<'n>) -> Self {
        let region = |segment: &Placed<'_>| {
            let name = names.get(&segment.segment)?;
            Some(((segment.memory, segment.offset), (segment.offset + segment.bytes.len() as u64, *name)))
        };
        Self { regions: placed.iter().filter_map(region).collect() }
    }

    fn name(&self, memory: u32, offset: u64) -> Option<&'n str> {
        let (_, (end, name)) = self.regions.range((memory, 0)..=(memory, offset)).next_back()?;
        (offset < *end).then_some(*name)
    }
}
