//! Custom sections of a linked program: its names, and whatever still holds.

use std::collections::BTreeMap;

use wasm_encoder::{CustomSection, NameMap, NameSection, reencode::Reencode as _};
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
/// Copies the program's sections.
pub(super) fn copy(
    into: &mut wasm_encoder::Module,
    (program, of_program): (&Module<'_>, &mut Translation),
    (trampolines, of_trampolines): (&Module<'_>, &Translation),
) {
    for section in &program.customs {
        match section.as_known() {
            KnownCustom::Name(names) => {
                // Names are for people: if they cannot be read, there are none.
                if let Ok(names) = function_names(trampolines, of_trampolines)
                    .and_then(|functions| moved(names, of_program, functions))
                {
                    into.section(&names);
                }
            }
            _ if DROPPED.iter().any(|start| section.name().starts_with(start)) => {}
            _ => {
                into.section(&CustomSection { name: section.name().into(), data: section.data().into() });
            }
        }
    }
}

/// The program's names, those of functions in their new places and beside `functions`.
fn moved(
    names: NameSectionReader<'_>,
    of_program: &mut Translation,
    mut functions: BTreeMap<u32, String>,
) -> Result<NameSection, LinkError> {
    let mut section = NameSection::new();
    for subsection in names {
        match subsection? {
            Name::Function(map) => {
                for name in map {
                    let name = name?;
                    functions.insert(of_program.function(name.index), name.name.to_owned());
                }
            }
            // Locals go by functions, which have moved: their order is that of the indices no more.
            Name::Local(_) | Name::Label(_) => {}
            other => of_program.parse_custom_name_subsection(&mut section, other)?,
        }
    }
    let mut map = NameMap::new();
    for (index, name) in functions.into_iter().filter(|(index, _)| *index != translate::NOWHERE) {
        map.append(index, &name);
    }
    section.functions(&map);
    Ok(section)
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
