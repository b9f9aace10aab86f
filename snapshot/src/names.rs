//! What the `name` section calls functions, globals and data segments.

use std::collections::BTreeMap;

use rustc_demangle::try_demangle;
use wasmparser::{BinaryReader, Name, NameMap, NameSectionReader};

use crate::program::Program;

/// Longer names are not demangled: what comes out can be many times as long.
const MAX_MANGLED: usize = 1024;
/// Characters of a name which are shown. Those of generic functions can be thousands.
const MAX_SHOWN: usize = 200;

/// Names by index. They are a courtesy: where the section cannot be read, there are none.
#[derive(Debug, Default)]
pub(crate) struct Names<'a> {
    functions: BTreeMap<u32, &'a str>,
    globals: BTreeMap<u32, &'a str>,
    data: BTreeMap<u32, &'a str>,
}

impl<'a> Names<'a> {
    pub(crate) fn of(program: &Program<'a>) -> Self {
        let mut names = Self::default();
        let Some((_, section)) = program.customs.iter().find(|(_, section)| section.name() == "name") else {
            return names;
        };
        for subsection in NameSectionReader::new(BinaryReader::new(section.data(), 0)).map_while(Result::ok) {
            match subsection {
                Name::Function(map) => names.functions = by_index(map),
                Name::Global(map) => names.globals = by_index(map),
                Name::Data(map) => names.data = by_index(map),
                _ => {}
            }
        }
        names
    }

    /// The name of a function for people.
    pub(crate) fn function(&self, index: u32) -> Option<String> {
        self.functions.get(&index).map(|name| readable(name))
    }

    /// The index of the function which has this name.
    pub(crate) fn function_called(&self, name: &str) -> Option<u32> {
        self.functions.iter().find(|(_, found)| **found == name).map(|(index, _)| *index)
    }

    /// Whether some function's name ends so.
    pub(crate) fn has_function_ending(&self, end: &str) -> bool {
        self.functions.values().any(|name| name.ends_with(end))
    }

    /// The index of the global which has this name.
    pub(crate) fn global_called(&self, name: &str) -> Option<u32> {
        self.globals.iter().find(|(_, found)| **found == name).map(|(index, _)| *index)
    }

    /// The name of a data segment, as it is.
    pub(crate) fn data(&self, index: u32) -> Option<&'a str> {
        self.data.get(&index).copied()
    }
}

fn by_index(map: NameMap<'_>) -> BTreeMap<u32, &str> {
    map.into_iter().map_while(Result::ok).map(|naming| (naming.index, naming.name)).collect()
}

/// A name from a program as it can be shown: demangled if it is Rust's, neither long nor with control characters, which
/// a terminal would obey.
pub(crate) fn readable(name: &str) -> String {
    let demangled = (name.len() <= MAX_MANGLED).then(|| try_demangle(name).ok()).flatten();
    // The alternate form leaves out the hash.
    let name = demangled.map_or_else(|| name.to_owned(), |name| format!("{name:#}"));
    let is_cut = name.chars().nth(MAX_SHOWN).is_some();
    let shown = name.chars().take(MAX_SHOWN).map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c });
    shown.chain(is_cut.then_some('…')).collect()
}

#[cfg(test)]
mod tests {
    use prewasm_artifact::Artifact;

    use super::*;

    #[test]
    fn names_are_those_of_the_section() {
        let wat = r#"(module (import "a" "b" (func $imported)) (memory 1) (func $_ZN3std2io4read17h0123456789abcdefE)
            (global $__stack_pointer (mut i32) (i32.const 8)) (data $.rodata (i32.const 0) "x"))"#;
        let artifact = Artifact::from_bytes("test", wat.into()).expect("valid");
        let program = Program::parse(artifact.bytes()).expect("valid");
        let names = Names::of(&program);
        assert_eq!(names.function(0).as_deref(), Some("imported"));
        assert_eq!(names.function(1).as_deref(), Some("std::io::read"));
        assert_eq!(names.function(2), None);
        assert_eq!(names.function_called("imported"), Some(0));
        assert!(names.has_function_ending("ported") && !names.has_function_ending("import"));
        assert_eq!(names.global_called("__stack_pointer"), Some(0));
        assert_eq!(names.data(0), Some(".rodata"));
    }

    #[test]
    fn what_is_shown_is_short_and_plain() {
        assert_eq!(readable("a\x1b[31mb"), "a\u{fffd}[31mb");
        assert_eq!(readable(&"é".repeat(5000)).chars().count(), MAX_SHOWN + 1);
    }

    #[test]
    fn a_section_which_cannot_be_read_names_nothing() {
        let mut artifact = Artifact::from_bytes("test", b"(module (func))".to_vec()).expect("valid").into_bytes();
        prewasm_artifact::append_section(&mut artifact, "name", &[1, 200, 200, 200, 200, 15, 1]);
        let artifact = Artifact::from_bytes("test", artifact).expect("valid");
        let program = Program::parse(artifact.bytes()).expect("valid");
        assert_eq!(Names::of(&program).function(0), None);
    }
}
