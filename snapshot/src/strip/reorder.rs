//! A module with its functions in another order.

use std::convert::Infallible;

use wasm_encoder::{
    CodeSection, FunctionSection, IndirectNameMap, Module, NameMap, NameSection,
    reencode::{self, Reencode, utils},
};
use wasmparser::{CodeSectionReader, FunctionSectionReader, Name, Naming, Parser};

use super::similar;
use crate::program::Program;

type Result<T> = std::result::Result<T, reencode::Error<Infallible>>;

/// Puts alike functions side by side, which makes the module smaller when it is compressed. Their names follow.
///
/// Custom sections but `name` must not be about functions.
pub(super) fn alike_together(wasm: &[u8]) -> Result<Vec<u8>> {
    let program = Program::parse(wasm)?;
    let bodies: Vec<&[u8]> = program.bodies.iter().map(|body| &wasm[body.range()]).collect();
    reordered(&program, similar::order(&bodies))
}

/// The program with the functions which are not imported in this order.
pub(super) fn reordered(program: &Program<'_>, order: Vec<usize>) -> Result<Vec<u8>> {
    let imported = program.imported_functions();
    let mut indices: Vec<u32> = (0..program.functions()).collect();
    for (index, function) in (imported..).zip(&order) {
        indices[imported as usize + function] = index;
    }
    let mut module = Module::new();
    Reordered { order, indices }.parse_core_module(&mut module, Parser::new(0), program.wasm)?;
    Ok(module.finish())
}

struct Reordered {
    /// The functions which are not imported, as they shall stand.
    order: Vec<usize>,
    /// The new index of each function, imported ones first.
    indices: Vec<u32>,
}

impl Reencode for Reordered {
    type Error = Infallible;

    fn function_index(&mut self, function: u32) -> Result<u32> {
        Ok(self.indices[function as usize])
    }

    fn parse_function_section(
        &mut self,
        functions: &mut FunctionSection,
        section: FunctionSectionReader<'_>,
    ) -> Result<()> {
        let types = section.into_iter().collect::<wasmparser::Result<Vec<u32>>>()?;
        for function in &self.order {
            functions.function(types[*function]);
        }
        Ok(())
    }

    fn parse_code_section(&mut self, code: &mut CodeSection, section: CodeSectionReader<'_>) -> Result<()> {
        let bodies = section.into_iter().collect::<wasmparser::Result<Vec<_>>>()?;
        for function in self.order.clone() {
            self.parse_function_body(code, bodies[function].clone())?;
        }
        Ok(())
    }

    /// Names must be in the order of what they name.
    fn parse_custom_name_subsection(&mut self, names: &mut NameSection, subsection: Name<'_>) -> Result<()> {
        match subsection {
            Name::Function(map) => {
                let mut functions = NameMap::new();
                for (index, name) in self.by_new_index(map, |naming: &Naming<'_>| naming.index)? {
                    functions.append(index, name.name);
                }
                names.functions(&functions);
            }
            Name::Local(map) => names.locals(&self.indirect(map)?),
            Name::Label(map) => names.labels(&self.indirect(map)?),
            other => utils::parse_custom_name_subsection(self, names, other)?,
        }
        Ok(())
    }
}

impl Reordered {
    /// Names of what is in functions.
    fn indirect(&self, map: wasmparser::IndirectNameMap<'_>) -> Result<IndirectNameMap> {
        let mut functions = IndirectNameMap::new();
        for (index, naming) in self.by_new_index(map, |naming| naming.index)? {
            functions.append(index, &utils::name_map(naming.names, Ok)?);
        }
        Ok(functions)
    }

    /// `named` functions, sorted by their new indices. Names of functions which do not exist are left out.
    fn by_new_index<T>(
        &self,
        named: impl IntoIterator<Item = wasmparser::Result<T>>,
        index: impl Fn(&T) -> u32,
    ) -> Result<Vec<(u32, T)>> {
        let mut sorted = Vec::new();
        for name in named {
            let name = name?;
            if let Some(new) = self.indices.get(index(&name) as usize) {
                sorted.push((*new, name));
            }
        }
        sorted.sort_by_key(|(index, _)| *index);
        Ok(sorted)
    }
}

#[cfg(test)]
mod tests {
    use wasmparser::{BinaryReader, NameSectionReader, Operator, Validator};

    use super::*;

    #[test]
    fn names_are_in_order_where_functions_are_not() {
        // Each is like that which stands 8 further on.
        let step = |at: usize, step: usize| {
            format!("(drop (i64.mul (i64.const {}) (local.get $product{at})))", 1_000_000 * (at % 8 + 1) + step)
        };
        let body = |at: usize| (0..40).map(|number| step(at, number)).collect::<String>();
        let function = |at: usize| {
            format!(
                r#"(func $f{at} (export "f{at}") (param $factor i64) (local $product{at} i64) (block $here{at} {}) (call $f{} (local.get $factor)))"#,
                body(at),
                63 - at
            )
        };
        let wasm =
            wat::parse_str(format!("(module {})", (0..64).map(function).collect::<String>())).expect("valid text");
        let out = alike_together(&wasm).expect("valid");
        Validator::new().validate_all(&out).expect("still valid");
        let program = Program::parse(&out).expect("valid");
        let exported = |index: u32| {
            let export = program.exports.iter().find(|export| export.index == index).expect("all are exported");
            export.name
        };
        let order: Vec<&str> = (0..64).map(exported).collect();
        assert!(order != (0..64).map(|at| format!("f{at}")).collect::<Vec<_>>(), "nothing has moved");
        let (_, names) = program.customs.iter().find(|(_, section)| section.name() == "name").expect("names");
        let (mut functions, mut inner) = (Vec::new(), Vec::new());
        for subsection in NameSectionReader::new(BinaryReader::new(names.data(), 0)) {
            match subsection.expect("valid") {
                Name::Function(names) => {
                    functions.extend(names.into_iter().map(|naming| naming.expect("valid")));
                }
                Name::Local(names) | Name::Label(names) => {
                    for function in names {
                        let function = function.expect("valid");
                        let last = function.names.into_iter().last().expect("one or two").expect("valid").name;
                        inner.push((function.index, last.trim_start_matches(char::is_alphabetic)));
                    }
                }
                _ => {}
            }
        }
        assert_eq!(functions.iter().map(|naming| naming.index).collect::<Vec<_>>(), (0..64).collect::<Vec<_>>());
        assert!(functions.iter().all(|naming| naming.name == exported(naming.index)));
        let numbered: Vec<(u32, &str)> = (0..64).map(|index| (index, &exported(index)[1..])).collect();
        assert_eq!(inner, [numbered.clone(), numbered].concat());
        for (index, body) in program.bodies.iter().enumerate() {
            let mut called = body.get_operators_reader().expect("valid").into_iter().filter_map(|operator| {
                match operator.expect("valid") {
                    Operator::Call { function_index } => Some(exported(function_index)),
                    _ => None,
                }
            });
            let at: usize = order[index][1..].parse().expect("a number");
            assert_eq!(called.next(), Some(format!("f{}", 63 - at).as_str()));
        }
    }
}
