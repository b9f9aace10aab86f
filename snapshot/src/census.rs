//! What is in a binary: counted for the report.

use std::collections::BTreeSet;

use prewasm_artifact::Artifact;
use rayon::iter::{IntoParallelRefIterator as _, ParallelIterator as _};
use wasmparser::{ConstExpr, DataKind, ElementItems, ExternalKind, FunctionBody, Operator, Parser, Payload, TypeRef};

/// Data and memory of a module, or of all modules of a component.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Census {
    /// Data segments with content.
    pub(crate) data_segments: u64,
    /// Bytes which instantiation writes to memories.
    pub(crate) initialized_bytes: u64,
    /// Pages of all memories at instantiation.
    pub(crate) memory_pages: u64,
}

/// Counts data and memory.
pub(crate) fn census(artifact: &Artifact) -> Census {
    count(artifact.bytes()).expect("the artifact was validated")
}

/// The imported functions which a core module can still reach from its exports, start function and tables; for a
/// component, everything it imports.
pub(crate) fn imports_used(artifact: &Artifact) -> Vec<String> {
    let imports = artifact.imports().iter().map(ToString::to_string);
    if artifact.kind().is_component() {
        return imports.collect();
    }
    let reached = Reach::of(artifact.bytes()).expect("the artifact was validated").imports();
    let mut functions = 0;
    let is_reached = |import: &prewasm_artifact::Import| {
        // Only functions are in the function index space.
        import.signature.is_some() && {
            functions += 1;
            reached.contains(&(functions - 1))
        }
    };
    let keep: Vec<bool> = artifact.imports().iter().map(is_reached).collect();
    imports.zip(keep).filter_map(|(import, keep)| keep.then_some(import)).collect()
}

fn count(wasm: &[u8]) -> wasmparser::Result<Census> {
    let mut census = Census::default();
    for payload in Parser::new(0).parse_all(wasm) {
        match payload? {
            Payload::DataSection(section) => {
                for segment in section {
                    let segment = segment?;
                    census.data_segments += u64::from(!segment.data.is_empty());
                    if let DataKind::Active { .. } = segment.kind {
                        census.initialized_bytes += segment.data.len() as u64;
                    }
                }
            }
            Payload::MemorySection(section) => {
                for memory in section {
                    census.memory_pages += memory?.initial;
                }
            }
            _ => {}
        }
    }
    Ok(census)
}

/// Which function mentions which.
#[derive(Default)]
struct Reach {
    imported: u32,
    /// Functions mentioned from outside of functions.
    roots: BTreeSet<u32>,
    /// By defined function: the functions mentioned in its body.
    bodies: Vec<BTreeSet<u32>>,
}

impl Reach {
    fn of(wasm: &[u8]) -> wasmparser::Result<Self> {
        let mut reach = Self::default();
        let mut bodies = Vec::new();
        for payload in Parser::new(0).parse_all(wasm) {
            match payload? {
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        let is_function = matches!(import?.ty, TypeRef::Func(_) | TypeRef::FuncExact(_));
                        reach.imported += u32::from(is_function);
                    }
                }
                Payload::ExportSection(section) => {
                    for export in section {
                        let export = export?;
                        if matches!(export.kind, ExternalKind::Func | ExternalKind::FuncExact) {
                            reach.roots.insert(export.index);
                        }
                    }
                }
                Payload::StartSection { func, .. } => {
                    reach.roots.insert(func);
                }
                Payload::ElementSection(section) => {
                    for element in section {
                        match element?.items {
                            ElementItems::Functions(functions) => {
                                for function in functions {
                                    reach.roots.insert(function?);
                                }
                            }
                            ElementItems::Expressions(_, expressions) => {
                                for expression in expressions {
                                    reach.root_expression(&expression?)?;
                                }
                            }
                        }
                    }
                }
                Payload::GlobalSection(section) => {
                    for global in section {
                        reach.root_expression(&global?.init_expr)?;
                    }
                }
                Payload::CodeSectionEntry(body) => bodies.push(body),
                _ => {}
            }
        }
        reach.bodies = bodies.par_iter().map(mentioned).collect::<wasmparser::Result<_>>()?;
        Ok(reach)
    }

    fn root_expression(&mut self, expression: &ConstExpr<'_>) -> wasmparser::Result<()> {
        for operator in expression.get_operators_reader() {
            if let Operator::RefFunc { function_index } = operator? {
                self.roots.insert(function_index);
            }
        }
        Ok(())
    }

    fn imports(&self) -> BTreeSet<u32> {
        let mut reached = self.roots.clone();
        let mut pending: Vec<u32> = self.roots.iter().copied().collect();
        while let Some(function) = pending.pop() {
            let defined = function.checked_sub(self.imported).and_then(|index| self.bodies.get(index as usize));
            for &mentioned in defined.into_iter().flatten() {
                if reached.insert(mentioned) {
                    pending.push(mentioned);
                }
            }
        }
        reached.retain(|function| *function < self.imported);
        reached
    }
}

fn mentioned(body: &FunctionBody<'_>) -> wasmparser::Result<BTreeSet<u32>> {
    let mut functions = BTreeSet::new();
    for operator in body.get_operators_reader()? {
        if let Operator::Call { function_index }
        | Operator::ReturnCall { function_index }
        | Operator::RefFunc { function_index } = operator?
        {
            functions.insert(function_index);
        }
    }
    Ok(functions)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn artifact(wat: &str) -> Artifact {
        Artifact::from_bytes("test", wat.into()).expect("valid")
    }

    #[test]
    fn counts_data_and_memory() {
        let artifact =
            artifact(r#"(module (memory 3) (data (i32.const 0) "four") (data (i32.const 9) "") (data "passive"))"#);
        assert_eq!(census(&artifact), Census { data_segments: 2, initialized_bytes: 4, memory_pages: 3 });
    }

    #[test]
    fn an_import_is_used_if_exports_or_tables_lead_to_it() {
        let artifact = artifact(
            r#"(module
                (import "wasi_snapshot_preview1" "fd_close" (func $exported (param i32) (result i32)))
                (import "wasi_snapshot_preview1" "fd_sync" (func $in_table (param i32) (result i32)))
                (import "wasi_snapshot_preview1" "proc_exit" (func $lost (param i32)))
                (table funcref (elem $in_table))
                (func $inner (drop (call $exported (i32.const 3))))
                (func (export "run") (call $inner))
                (func (call $lost (i32.const 1))))"#,
        );
        let used = imports_used(&artifact);
        assert_eq!(used.len(), 2, "{used:?}");
        assert!(used[0].contains("fd_close") && used[1].contains("fd_sync"), "{used:?}");
    }
}
