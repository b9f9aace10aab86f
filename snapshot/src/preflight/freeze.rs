//! Objections against freezing a program while it runs.

use prewasm_artifact::{Artifact, Family, Kind, MARKER};
use wasmparser::{Parser, Payload, TypeRef};

use super::{Method, Objection, Plan, import_objections};
use crate::options::{InitExport, Options, Stop};

/// What stands against stopping `artifact` at `stop`.
pub(super) fn preflight<'a>(
    artifact: &'a Artifact,
    options: &'a Options,
    stop: Stop,
) -> Result<Plan<'a>, Vec<Objection>> {
    let mut objections = Vec::new();
    if let Kind::SocketServer | Kind::Command = artifact.kind() {
        objections.extend(import_objections(artifact));
        objections.extend(state_objections(artifact.bytes()));
        objections.extend(never_reached(artifact, &stop));
    } else {
        objections.push(Objection::NoStart { kind: artifact.kind() });
    }
    objections.extend(option_objections(options, &stop));
    if objections.is_empty() { Ok(Plan { artifact, options, method: Method::Freeze(stop) }) } else { Err(objections) }
}

/// State which is not the program's own.
fn state_objections(wasm: &[u8]) -> Vec<Objection> {
    const LINK: &str = "\n  hint: link statically, so that the module defines it itself";
    const THREADS: &str = "\n  hint: build without threads";
    let mut objections = Vec::new();
    let mut add = |construct: String, offset: usize, hint| {
        objections.push(Objection::Construct { construct, offset, count: 1, hint });
    };
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.expect("the artifact was validated") {
            Payload::ImportSection(section) => {
                let offset = section.range().start;
                for import in section.into_imports() {
                    let import = import.expect("the artifact was validated");
                    let what = match import.ty {
                        TypeRef::Memory(_) => "memory",
                        TypeRef::Table(_) => "table",
                        TypeRef::Global(_) => "global",
                        TypeRef::Tag(_) => "tag",
                        TypeRef::Func(_) | TypeRef::FuncExact(_) => continue,
                    };
                    add(format!("imported {what} `{}.{}`", import.module, import.name), offset, LINK);
                }
            }
            Payload::MemorySection(section) => {
                for memory in section.into_iter_with_offsets() {
                    let (offset, memory) = memory.expect("the artifact was validated");
                    if memory.shared {
                        add("shared memory".to_owned(), offset, THREADS);
                    }
                }
            }
            _ => {}
        }
    }
    objections
}

fn never_reached(artifact: &Artifact, stop: &Stop) -> Option<Objection> {
    let imports = artifact.imports();
    let reason = match stop {
        Stop::Pure => return None,
        Stop::Accept if artifact.kind() == Kind::SocketServer => return None,
        Stop::Accept => {
            "it is no server, for it imports neither `sock_listen` nor `sock_accept`\n  hint: use `--until pure`"
                .to_owned()
        }
        Stop::Marker if imports.iter().any(|import| import.family == Family::Marker) => return None,
        Stop::Marker => format!(
            "it does not import `{MARKER}` `here`\n  hint: import that function and call it where the program is to be frozen"
        ),
        Stop::Import { module, name } => {
            if imports.iter().any(|import| import.module == *module && import.name == *name) {
                return None;
            }
            let names: Vec<_> = imports.iter().map(|import| format!("{}.{}", import.module, import.name)).collect();
            format!("it does not import that function\n  hint: its imports are {}", names.join(", "))
        }
    };
    Some(Objection::NeverReached { stop: stop.clone(), reason })
}

fn option_objections(options: &Options, stop: &Stop) -> Vec<Objection> {
    let mut objections = Vec::new();
    let mut add = |option, hint| objections.push(Objection::Option { option, stop: stop.to_string(), hint });
    let for_init = "it is about init functions: use `--until init`, or leave it out";
    if options.init.is_some() {
        add("--init", for_init);
    }
    if options.init_export == InitExport::Keep {
        add("--keep-init", for_init);
    }
    if !options.renames.is_empty() {
        add("--rename", for_init);
    }
    if !options.warm_ups.is_empty() && *stop != Stop::Accept {
        add("--warm-up", "requests are answered by a server: use `--until accept`");
    }
    objections
}
