//! Whether a component uses its own export of the init function.
//!
//! An export makes a new index for what it exports. Removing it shifts the indices behind it, and leaves nothing for
//! whatever refers to the export itself:
//!
//! ```wat
//! (export $init "wizer-initialize" (func $f))
//! (export "again" (func $init))                ;; refers to the export, not to $f
//! ```

use wasmparser::{
    CanonicalFunction, ComponentAlias, ComponentExport, ComponentExternalKind, ComponentInstance, Parser, Payload,
};

use super::Objection;

/// Looks for something which refers to the export `init` of the component `wasm`.
pub(super) fn to_removed_export(wasm: &[u8], init: &str) -> Option<Objection> {
    let mut depth = 0usize;
    let mut functions = 0u32;
    let mut removed = None;
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload.expect("the artifact was validated");
        match &payload {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > 0 {
            continue;
        }
        let found = scan(&payload, init, &mut functions, &mut removed).expect("the artifact was validated");
        if let Some(offset) = found {
            return Some(Objection::Construct {
                construct: format!("a reference to the export `{init}`"),
                offset,
                count: 1,
                hint: "\n  hint: pass `--keep-init`",
            });
        }
    }
    None
}

/// Counts functions, finds the index of the export to remove, and tells the offset of a reference to it.
fn scan(
    payload: &Payload<'_>,
    init: &str,
    functions: &mut u32,
    removed: &mut Option<u32>,
) -> wasmparser::Result<Option<usize>> {
    let is_removed = |kind: ComponentExternalKind, index: u32, removed: &Option<u32>| {
        kind == ComponentExternalKind::Func && *removed == Some(index)
    };
    match payload {
        Payload::ComponentAliasSection(section) => {
            for alias in section.clone() {
                if let ComponentAlias::InstanceExport { kind: ComponentExternalKind::Func, .. } = alias? {
                    *functions += 1;
                }
            }
        }
        Payload::ComponentCanonicalSection(section) => {
            for function in section.clone().into_iter_with_offsets() {
                match function? {
                    (_, CanonicalFunction::Lift { .. }) => *functions += 1,
                    (offset, CanonicalFunction::Lower { func_index, .. }) if *removed == Some(func_index) => {
                        return Ok(Some(offset));
                    }
                    _ => {}
                }
            }
        }
        Payload::ComponentImportSection(section) => {
            for import in section.clone() {
                *functions += u32::from(import?.ty.kind() == ComponentExternalKind::Func);
            }
        }
        Payload::ComponentInstanceSection(section) => {
            for instance in section.clone().into_iter_with_offsets() {
                let (offset, instance) = instance?;
                let refers = match &instance {
                    ComponentInstance::Instantiate { args, .. } => {
                        args.iter().any(|arg| is_removed(arg.kind, arg.index, removed))
                    }
                    ComponentInstance::FromExports(exports) => {
                        exports.iter().any(|export| is_removed(export.kind, export.index, removed))
                    }
                };
                if refers {
                    return Ok(Some(offset));
                }
            }
        }
        Payload::ComponentExportSection(section) => {
            for export in section.clone().into_iter_with_offsets() {
                let (offset, ComponentExport { name, kind, index, .. }) = export?;
                if is_removed(kind, index, removed) {
                    return Ok(Some(offset));
                }
                if kind == ComponentExternalKind::Func {
                    if name.name == init {
                        *removed = Some(*functions);
                    }
                    *functions += 1;
                }
            }
        }
        _ => {}
    }
    Ok(None)
}
