//! Custom sections: they are kept, but for names of functions, which move, and for what would be wrong in another module.

use std::collections::BTreeMap;

use wasm_encoder::{CustomSection, Module as Output, NameMap, NameSection, reencode::Reencode as _};
use wasmparser::{KnownCustom, Name, NameSectionReader};

use super::{LinkError, translate, translate::Translation};
use crate::port::module::Module;

/// How the names of custom sections begin which tell offsets in the code, would be taken for the component's own, or are
/// used up.
const DROPPED: [&str; 9] = [
    ".debug_",
    "component-type",
    "dylink",
    "external_debug_info",
    "linking",
    "metadata.code.",
    "prewasm.frozen",
    "reloc.",
    "sourceMappingURL",
];

/// The program, the trampolines, and where their functions went.
pub(super) struct Customs<'a> {
    pub(super) program: &'a Module<'a>,
    pub(super) of_program: &'a mut Translation,
    pub(super) trampolines: &'a Module<'a>,
    pub(super) of_trampolines: &'a Translation,
}

impl Customs<'_> {
    pub(super) fn write(&mut self, module: &mut Output) {
        for section in &self.program.customs {
            match section.as_known() {
                KnownCustom::Name(names) => {
                    // Names are for people: if they cannot be read, there are none.
                    if let Ok(names) = self.names(names) {
                        module.section(&names);
                    }
                }
                _ if DROPPED.iter().any(|start| section.name().starts_with(start)) => {}
                _ => {
                    module.section(&CustomSection { name: section.name().into(), data: section.data().into() });
                }
            }
        }
    }

    /// The names of the program's functions, in their new places, and of the trampolines.
    fn names(&mut self, names: NameSectionReader<'_>) -> Result<NameSection, LinkError> {
        let mut section = NameSection::new();
        let mut functions = function_names(self.trampolines, self.of_trampolines)?;
        for subsection in names {
            match subsection? {
                Name::Function(map) => {
                    for name in map {
                        let name = name?;
                        functions.insert(self.of_program.function(name.index), name.name.to_owned());
                    }
                }
                // Locals go by functions, which have moved: their order is that of the indices no more.
                Name::Local(_) | Name::Label(_) => {}
                other => self.of_program.parse_custom_name_subsection(&mut section, other)?,
            }
        }
        let mut map = NameMap::new();
        for (index, name) in functions.into_iter().filter(|(index, _)| *index != translate::NOWHERE) {
            map.append(index, &name);
        }
        section.functions(&map);
        Ok(section)
    }
}

fn function_names(module: &Module<'_>, places: &Translation) -> Result<BTreeMap<u32, String>, LinkError> {
    let mut names = BTreeMap::new();
    for section in &module.customs {
        let KnownCustom::Name(subsections) = section.as_known() else { continue };
        for subsection in subsections {
            if let Name::Function(map) = subsection? {
                for name in map {
                    let name = name?;
                    names.insert(places.function(name.index), format!("port:{}", name.name));
                }
            }
        }
    }
    Ok(names)
}
