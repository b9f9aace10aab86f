//! How two modules differ: what their memories and globals start with, functions, imports and exports.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Serialize;
use wasmparser::{KnownCustom, Name, Payload};

use super::{
    Change, Few, MANY,
    sections::{Container, Sections},
    text::{printable, size},
};
use crate::{
    program::Program,
    state::{Content, Value},
};

/// How a module differs from its counterpart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ModuleDifference {
    /// Which one, in a component; null for the file itself.
    pub module: Option<String>,
    /// Memories which start differently.
    pub memories: Vec<MemoryDifference>,
    /// Globals which start differently.
    pub globals: Few<Change>,
    /// Functions whose bodies differ.
    pub functions: Few<Change>,
    /// Imports which only one has, or which stand in another place.
    pub imports: Few<Change>,
    /// Exports which only one has, or which are something else.
    pub exports: Few<Change>,
}

/// How a memory differs when the module is instantiated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct MemoryDifference {
    /// Its index.
    pub memory: u32,
    /// Its sizes, if they differ.
    pub pages: Option<Pages>,
    /// How many bytes differ; null if that depends on imports.
    pub bytes: Option<u64>,
    /// Where.
    pub ranges: Few<Range>,
}

/// How large a memory is at instantiation; null where it is not the module's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Pages {
    /// In one file.
    pub a: Option<u64>,
    /// In the other.
    pub b: Option<u64>,
}

/// Addresses, the end excluded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Range {
    /// The first.
    pub start: u64,
    /// The one behind the last.
    pub end: u64,
}

/// Modules which differ; those which only one file has are among its sections.
pub(super) fn compare(a: &Sections<'_>, b: &Sections<'_>) -> Few<ModuleDifference> {
    let others: HashMap<_, _> = b.modules.iter().map(|module| (module.within, module)).collect();
    let mut found = Few::default();
    for module in &a.modules {
        let Some(other) = others.get(&module.within) else { continue };
        let (a, b) = (&a.wasm[module.range.clone()], &b.wasm[other.range.clone()]);
        let (false, Ok(a), Ok(b)) = (a == b, Program::parse(a), Program::parse(b)) else { continue };
        let difference = ModuleDifference::between(module.within, &a, &b);
        if !difference.is_empty() {
            found.push(|| difference);
        }
    }
    found
}

/// How many memories there are, imported ones counted.
fn memories(program: &Program<'_>) -> u32 {
    program.imported_memories.saturating_add(u32::try_from(program.memories.len()).unwrap_or(u32::MAX))
}

/// `None` for an imported one, or one that is not there.
fn pages(program: &Program<'_>, memory: u32) -> Option<u64> {
    let own = memory.checked_sub(program.imported_memories)?;
    Some(program.memories.get(own as usize)?.initial)
}

/// How many bytes differ, and where.
fn differing(a: &Content<'_>, b: &Content<'_>) -> (u64, Few<Range>) {
    let (mut bytes, mut open, mut ranges) = (0, None::<Range>, Few::default());
    a.compare(b, |at| {
        bytes += 1;
        match &mut open {
            Some(range) if range.end == at => range.end += 1,
            open => {
                if let Some(range) = open.replace(Range { start: at, end: at + 1 }) {
                    ranges.push(|| range);
                }
            }
        }
    });
    if let Some(range) = open {
        ranges.push(|| range);
    }
    (bytes, ranges)
}

impl ModuleDifference {
    fn between(module: Option<Container>, a: &Program<'_>, b: &Program<'_>) -> Self {
        let memories = 0..memories(a).max(memories(b));
        Self {
            module: module.map(Container::name),
            memories: memories.filter_map(|memory| MemoryDifference::between(memory, a, b)).collect(),
            globals: globals(a, b),
            functions: functions(a, b),
            imports: listed(&imports(a), &imports(b)),
            exports: listed(&exports(a), &exports(b)),
        }
    }

    /// Whether nothing was found: then it is in custom sections, or in how the rest is written down.
    pub fn is_empty(&self) -> bool {
        let Self { module: _, memories, globals, functions, imports, exports } = self;
        memories.is_empty() && [globals, functions, imports, exports].into_iter().all(Few::is_empty)
    }
}

impl MemoryDifference {
    fn between(memory: u32, a: &Program<'_>, b: &Program<'_>) -> Option<Self> {
        let pages = Pages { a: pages(a, memory), b: pages(b, memory) };
        let pages = (pages.a != pages.b).then_some(pages);
        let (bytes, ranges) = match (Content::of(a, memory), Content::of(b, memory)) {
            (Some(a), Some(b)) => {
                let (bytes, ranges) = differing(&a, &b);
                (Some(bytes), ranges)
            }
            _ => (None, Few::default()),
        };
        let differs = pages.is_some() || bytes.is_none_or(|bytes| bytes > 0);
        differs.then_some(Self { memory, pages, bytes, ranges })
    }
}

fn globals(a: &Program<'_>, b: &Program<'_>) -> Few<Change> {
    let known = |program: &Program<'_>| -> BTreeMap<u32, Option<Value>> {
        (program.imported_globals..).zip(program.constants.globals()).collect()
    };
    let (a, b) = (known(a), known(b));
    let mut found = Few::default();
    for index in a.keys().chain(b.keys()).collect::<BTreeSet<_>>() {
        let (a, b) = (a.get(index), b.get(index));
        if a != b {
            let text = |value: Option<&Option<Value>>| value.map(|value| value.map_or_else(unknown, value_text));
            found.push(|| Change { what: index.to_string(), a: text(a), b: text(b) });
        }
    }
    found
}

fn unknown() -> String {
    "not constant".to_owned()
}

fn value_text(value: Value) -> String {
    match value {
        Value::I32(value) => format!("i32 {value}"),
        Value::I64(value) => format!("i64 {value}"),
        Value::F32(bits) => format!("f32 {:?} ({bits:#x})", f32::from_bits(bits)),
        Value::F64(bits) => format!("f64 {:?} ({bits:#x})", f64::from_bits(bits)),
        Value::V128(value) => format!("v128 {value:#x}"),
        Value::Null => "null".to_owned(),
        Value::Function(index) => format!("function {index}"),
    }
}

/// By index; names are looked up only for those which are told.
fn functions(a: &Program<'_>, b: &Program<'_>) -> Few<Change> {
    let mut indices: Few<u32> = Few::default();
    let imported = |program: &Program<'_>| program.shape().imported_functions;
    let ends = a.functions().max(b.functions());
    for index in imported(a).min(imported(b))..ends {
        if body(a, index) != body(b, index) {
            indices.push(|| index);
        }
    }
    let mut names = function_names(b, &indices.first);
    names.extend(function_names(a, &indices.first));
    let change = |index: &u32| Change {
        what: names.get(index).map_or_else(|| index.to_string(), |name| format!("{index} `{name}`")),
        a: body(a, *index).map(|body| size(body.len() as u64)),
        b: body(b, *index).map(|body| size(body.len() as u64)),
    };
    Few { count: indices.count, first: indices.first.iter().map(change).collect() }
}

fn body<'a>(program: &Program<'a>, function: u32) -> Option<&'a [u8]> {
    let own = function.checked_sub(program.shape().imported_functions)?;
    program.wasm.get(program.bodies.get(own as usize)?.range())
}

/// The names of some functions, printable, as far as the name section says them.
pub(super) fn function_names(program: &Program<'_>, wanted: &[u32]) -> BTreeMap<u32, String> {
    debug_assert!(wanted.len() <= MANY, "each is looked for in turn");
    let mut found = BTreeMap::new();
    for (_, custom) in &program.customs {
        let KnownCustom::Name(names) = custom.as_known() else { continue };
        for subsection in names {
            let Ok(Name::Function(names)) = subsection else { continue };
            for naming in names.into_iter().map_while(Result::ok) {
                if wanted.contains(&naming.index) {
                    found.insert(naming.index, printable(naming.name));
                }
            }
        }
    }
    found
}

/// Each import once: what it is, and where it stands.
fn imports(program: &Program<'_>) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut place = 0u32;
    for payload in &program.payloads {
        let Payload::ImportSection(section) = payload else { continue };
        for import in section.clone().into_imports().map_while(Result::ok) {
            let name = format!("{}.{}", printable(import.module), printable(import.name));
            let text: &mut String = found.entry(name).or_default();
            if !text.is_empty() {
                text.push_str(", ");
            }
            text.push_str(&format!("{:?} as number {place}", import.ty));
            place += 1;
        }
    }
    found
}

fn exports(program: &Program<'_>) -> BTreeMap<String, String> {
    let text = |export: &wasmparser::Export<'_>| format!("{:?} {}", export.kind, export.index).to_lowercase();
    program.exports.iter().map(|export| (printable(export.name), text(export))).collect()
}

fn listed(a: &BTreeMap<String, String>, b: &BTreeMap<String, String>) -> Few<Change> {
    let mut found = Few::default();
    for name in a.keys().chain(b.keys()).collect::<BTreeSet<_>>() {
        if a.get(name) != b.get(name) {
            let text = |side: &BTreeMap<String, String>| side.get(name).map(|text| printable(text));
            found.push(|| Change { what: name.clone(), a: text(a), b: text(b) });
        }
    }
    found
}
