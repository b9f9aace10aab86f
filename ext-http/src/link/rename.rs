//! Renames imports.
//!
//! ```wat
//! (import "wasi_snapshot_preview1" "sock_accept" (func (param i32 i32) (result i32)))
//! (import "wasi_snapshot_preview1" "sock_accept" (func (param i32 i32 i32) (result i32)))
//! ;; becomes
//! (import "wasi_snapshot_preview1" "sock_accept" (func (param i32 i32) (result i32)))
//! (import "wasi_snapshot_preview1" "sock_accept/3" (func (param i32 i32 i32) (result i32)))
//! ```
//!
//! Every other section is copied as it is.

use std::borrow::Cow;

use wasm_encoder::{
    ImportSection, Module, RawSection,
    reencode::{Reencode as _, RoundtripReencoder},
};
use wasmparser::{Parser, Payload};

/// Gives the imports of `wasm`, a valid module, these names, in order.
pub(super) fn rename_imports(wasm: &[u8], names: &[Cow<'static, str>]) -> Vec<u8> {
    let mut module = Module::new();
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload.expect("the artifact was validated");
        match &payload {
            Payload::ImportSection(section) => {
                let mut imports = ImportSection::new();
                for (import, name) in section.clone().into_imports().zip(names) {
                    let import = import.expect("the artifact was validated");
                    let ty = RoundtripReencoder.entity_type(import.ty).expect("imports of a valid module re-encode");
                    imports.import(import.module, name, ty);
                }
                module.section(&imports);
            }
            other => {
                if let Some((id, range)) = other.as_section() {
                    module.section(&RawSection { id, data: &wasm[range] });
                }
            }
        }
    }
    module.finish()
}

#[cfg(test)]
mod tests {
    use prewasm_artifact::Artifact;

    use super::super::prepare;

    #[test]
    fn imports_that_share_a_name_are_told_apart() {
        let wat = r#"(module
            (import "wasi_snapshot_preview1" "sock_accept" (func (param i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "sock_accept" (func (param i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (data (i32.const 0) "kept")
            (func (export "_start")))"#;
        let artifact = Artifact::from_bytes("mixed", wat.into()).expect("valid");
        let renamed = Artifact::from_bytes("renamed", prepare(&artifact).expect("known imports").into_owned())
            .expect("still valid");
        let names: Vec<_> = renamed.imports().iter().map(|import| import.name.as_str()).collect();
        assert_eq!(names, ["sock_accept", "sock_accept/3"]);
        assert_eq!(renamed.exports(), artifact.exports());
        let tail = &artifact.bytes()[artifact.bytes().len() - 8..];
        assert!(renamed.bytes().ends_with(tail), "later sections are copied");
    }
}
