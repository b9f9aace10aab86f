//! Where functions go: the index space of a linked program.
//!
//! ```text
//! imports: the program's that are kept, the trampolines' | functions: the program's, the trampolines', those made for it
//! ```

use std::collections::{BTreeMap, BTreeSet};

use wasmparser::{Import, Operator};

use super::{LinkError, count, entry_points, recycle::Recycling, translate::NOWHERE};
use crate::port::{module::Module, plan::Plan};

/// What the trampolines import from the linker.
pub(super) const MADE: [&str; 8] = ["run", "setup", "restore", "pages", "seen", "behind", "limit", "area"];

/// Who comes from where.
pub(super) struct Places<'a> {
    /// Imported functions; the program's own come first.
    pub(super) imports: Vec<Import<'a>>,
    pub(super) own_imports: usize,
    /// The trampolines' functions that are copied, by their index there.
    pub(super) copied: Vec<u32>,
    /// By index in the program, and in the trampolines.
    pub(super) of_program: Vec<u32>,
    pub(super) of_trampolines: Vec<u32>,
    /// Those of the program's imports whose trampoline may find that it is to be left.
    pub(super) leaves: BTreeSet<u32>,
}

impl<'a> Places<'a> {
    pub(super) fn new(program: &Module<'a>, trampolines: &Module<'a>, plan: &Plan) -> Result<Self, LinkError> {
        let replaced = replaced(trampolines, plan)?;
        let live = live(program, trampolines, plan, &replaced)?;
        let mut places = Self {
            imports: Vec::new(),
            own_imports: 0,
            copied: live.iter().copied().filter(|index| *index >= trampolines.imported_functions).collect(),
            of_program: vec![NOWHERE; program.functions.len()],
            of_trampolines: vec![NOWHERE; trampolines.functions.len()],
            leaves: leaves(trampolines, &replaced),
        };
        places.place_imports(program, trampolines, &|index| replaced.contains_key(&index), &live);
        places.place_functions(program, trampolines)?;
        for (import, trampoline) in &replaced {
            places.of_program[*import as usize] = places.of_trampolines[*trampoline as usize];
        }
        Ok(places)
    }

    fn place_imports(
        &mut self,
        program: &Module<'a>,
        trampolines: &Module<'a>,
        is_replaced: &dyn Fn(u32) -> bool,
        live: &BTreeSet<u32>,
    ) {
        for (index, import) in (0..).zip(program.function_imports()) {
            if !is_replaced(index) {
                self.of_program[index as usize] = self.import(import);
            }
        }
        self.own_imports = self.imports.len();
        for (index, import) in (0..).zip(trampolines.function_imports()) {
            if live.contains(&index) && !is_made(import) {
                self.of_trampolines[index as usize] = self.import(import);
            }
        }
    }

    /// The index of an import, which there is once only: components know imports by their names.
    fn import(&mut self, import: &Import<'a>) -> u32 {
        let is_same = |known: &Import<'_>| (known.module, known.name) == (import.module, import.name);
        let known = self.imports.iter().position(is_same);
        let place = known.unwrap_or(self.imports.len());
        if known.is_none() {
            self.imports.push(*import);
        }
        count(&self.imports[..place])
    }

    fn place_functions(&mut self, program: &Module<'a>, trampolines: &Module<'a>) -> Result<(), LinkError> {
        let mut places = count(&self.imports)..;
        let own = &mut self.of_program[program.imported_functions as usize..];
        own.iter_mut().zip(places.by_ref()).for_each(|(slot, place)| *slot = place);
        for (index, place) in self.copied.iter().zip(places.by_ref()) {
            self.of_trampolines[*index as usize] = place;
        }
        let made: BTreeMap<_, _> = MADE.into_iter().zip(places).collect();
        for (index, import) in trampolines.function_imports().enumerate().filter(|(_, import)| is_made(import)) {
            self.of_trampolines[index] = *made.get(import.name).ok_or_else(|| missing(import.name))?;
        }
        Ok(())
    }
}

/// Whether the linker makes what a trampoline imports.
fn is_made(import: &Import<'_>) -> bool {
    import.module == "linker"
}

/// The program's imports which a trampoline stands in for, and that trampoline.
fn replaced(trampolines: &Module<'_>, plan: &Plan) -> Result<BTreeMap<u32, u32>, LinkError> {
    let named = (0..).zip(&plan.trampolines);
    let found = named.filter_map(|(index, name)| Some((index, name.as_ref()?)));
    found.map(|(index, name)| Ok((index, exported(trampolines, name)?))).collect()
}

/// Those of the program's imports whose trampoline may find that it is to be left.
fn leaves(trampolines: &Module<'_>, replaced: &BTreeMap<u32, u32>) -> BTreeSet<u32> {
    const LEAVING: [&str; 4] = ["poll_oneoff", "proc_exit", "sock_accept", "sock_accept/3"];
    let leaving: Vec<_> = LEAVING.iter().filter_map(|name| trampolines.exported_function(name)).collect();
    replaced.iter().filter(|(_, trampoline)| leaving.contains(trampoline)).map(|(import, _)| *import).collect()
}

/// The trampolines' functions which are needed, imported ones included.
fn live(
    program: &Module<'_>,
    trampolines: &Module<'_>,
    plan: &Plan,
    replaced: &BTreeMap<u32, u32>,
) -> Result<BTreeSet<u32>, LinkError> {
    let mut pending: Vec<_> = replaced.values().copied().collect();
    let always = ["memory.size", "memory.grow"];
    let recycling: &[_] = match (plan.world.is_handler(), Recycling::closes_files(program)) {
        (true, true) => &["unpack", "close_files"],
        (true, false) => &["unpack"],
        (false, _) => &[],
    };
    let named = entry_points(plan).into_iter().chain(always).chain(recycling.iter().copied());
    for name in named.chain(plan.setup.callees()) {
        pending.push(exported(trampolines, name)?);
    }
    let mut live = BTreeSet::new();
    while let Some(function) = pending.pop() {
        if !live.insert(function) || function < trampolines.imported_functions {
            continue;
        }
        let body = &trampolines.bodies[(function - trampolines.imported_functions) as usize];
        for operator in body.get_operators_reader()? {
            if let Operator::Call { function_index } = operator? {
                pending.push(function_index);
            }
        }
    }
    Ok(live)
}

pub(super) fn exported(module: &Module<'_>, name: &str) -> Result<u32, LinkError> {
    let index = module.exported_function(name);
    index.ok_or_else(|| missing(name))
}

pub(super) fn missing(name: &str) -> LinkError {
    LinkError::Trampolines(format!("there is no `{name}`"))
}
