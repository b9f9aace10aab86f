//! The sections of a file, those of what is nested in it included, and which of them differ.

use std::{collections::HashMap, ops::Range};

use prewasm_artifact::{Artifact, Kind};
use wasmparser::{Encoding, Parser, Payload};

use super::{
    Change, Few,
    text::{printable, size},
};

/// What sections are called, by number (core specification, 5.5.2).
const IN_MODULES: [&str; 14] = [
    "custom",
    "type",
    "import",
    "function",
    "table",
    "memory",
    "global",
    "export",
    "start",
    "element",
    "code",
    "data",
    "data count",
    "tag",
];
/// Likewise, in components.
const IN_COMPONENTS: [&str; 12] = [
    "custom",
    "core module",
    "core instance",
    "core type",
    "component",
    "instance",
    "alias",
    "type",
    "canonical function",
    "start",
    "import",
    "export",
];

/// The sections of a file, in its order.
pub(super) struct Sections<'a> {
    pub(super) wasm: &'a [u8],
    pub(super) sections: Vec<Section>,
    /// The modules: the file itself, or those in a component.
    pub(super) modules: Vec<Module>,
}

/// A section.
pub(super) struct Section {
    /// What it is in; `None` for the file itself.
    pub(super) within: Option<Container>,
    pub(super) name: String,
    /// Its content.
    pub(super) range: Range<usize>,
    /// Whether what it holds has sections of its own.
    is_container: bool,
}

/// A module or component in a component, each numbered in the order of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Container {
    Module(usize),
    Component(usize),
}

/// A core module, in the file or as the file.
pub(super) struct Module {
    pub(super) within: Option<Container>,
    pub(super) range: Range<usize>,
}

impl Container {
    pub(super) fn name(self) -> String {
        match self {
            Self::Module(number) => format!("module {number}"),
            Self::Component(number) => format!("component {number}"),
        }
    }
}

impl<'a> Sections<'a> {
    /// Machine code has none.
    pub(super) fn of(artifact: &'a Artifact) -> Self {
        let mut sections = Self { wasm: artifact.bytes(), sections: Vec::new(), modules: Vec::new() };
        if artifact.kind() != Kind::Precompiled {
            sections.walk().expect("the artifact was validated");
        }
        sections
    }

    fn walk(&mut self) -> wasmparser::Result<()> {
        let (mut modules, mut components) = (0, 0);
        // What is being read, outermost first; the file itself is `None`.
        let mut open: Vec<(Option<Container>, Encoding)> = Vec::new();
        let mut next = None;
        for payload in Parser::new(0).parse_all(self.wasm) {
            let payload = payload?;
            match &payload {
                Payload::Version { encoding, .. } => {
                    if open.is_empty() && *encoding == Encoding::Module {
                        self.modules.push(Module { within: None, range: 0..self.wasm.len() });
                    }
                    open.push((next.take(), *encoding));
                }
                Payload::End(_) => drop(open.pop()),
                _ => {}
            }
            let (Some((id, range)), Some((within, encoding))) = (payload.as_section(), open.last().copied()) else {
                continue;
            };
            match &payload {
                Payload::ModuleSection { .. } => {
                    next = Some(Container::Module(modules));
                    self.modules.push(Module { within: next, range: range.clone() });
                    modules += 1;
                }
                Payload::ComponentSection { .. } => {
                    next = Some(Container::Component(components));
                    components += 1;
                }
                _ => {}
            }
            let name = match &payload {
                Payload::CustomSection(custom) => format!("custom `{}`", printable(custom.name())),
                _ => name(encoding, id),
            };
            self.sections.push(Section { within, name, range, is_container: next.is_some() });
        }
        Ok(())
    }

    /// The number of the section that is at an offset, or whose header is.
    pub(super) fn at(&self, offset: usize) -> Option<usize> {
        let behind = self.sections.partition_point(|section| section.range.start <= offset);
        let last = behind.checked_sub(1).filter(|last| self.sections[*last].range.contains(&offset));
        last.or_else(|| (behind < self.sections.len()).then_some(behind))
    }
}

fn name(encoding: Encoding, id: u8) -> String {
    let names: &[&str] = match encoding {
        Encoding::Module => &IN_MODULES,
        Encoding::Component => &IN_COMPONENTS,
    };
    names.get(usize::from(id)).map_or_else(|| format!("number {id}"), |name| (*name).to_owned())
}

/// The sections which differ, in the order of `a`; then those which only `b` has.
pub(super) fn compare(a: &Sections<'_>, b: &Sections<'_>) -> Few<Change> {
    let mut others: HashMap<_, _> = keyed(b).collect();
    let mut changes = Few::default();
    for (key, section) in keyed(a) {
        let other = others.remove(&key);
        if other.is_none_or(|other| a.wasm[section.range.clone()] != b.wasm[other.range.clone()]) {
            let size_of = |section: &Section| size(section.range.len() as u64);
            changes.push(|| Change { what: title(section), a: Some(size_of(section)), b: other.map(size_of) });
        }
    }
    for (key, section) in keyed(b) {
        if others.contains_key(&key) {
            let b = Some(size(section.range.len() as u64));
            changes.push(|| Change { what: title(section), a: None, b });
        }
    }
    changes
}

/// Each section with what tells it from all others: what it is in, its name, and how many of that name came before.
/// What has sections of its own is not listed, since they are.
fn keyed<'a>(sections: &'a Sections<'_>) -> impl Iterator<Item = ((Option<Container>, &'a str, usize), &'a Section)> {
    let mut seen = HashMap::new();
    sections.sections.iter().filter(|section| !section.is_container).map(move |section| {
        let before = seen.entry((section.within, section.name.as_str())).or_insert(0);
        let key = (section.within, section.name.as_str(), *before);
        *before += 1;
        (key, section)
    })
}

fn title(section: &Section) -> String {
    match section.within {
        None => section.name.clone(),
        Some(container) => format!("{} of {}", section.name, container.name()),
    }
}
