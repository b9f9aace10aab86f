//! What a component may import while it is initialized.

use wasmtime::{
    Engine, Result, bail,
    component::{Component, Linker, ResourceType, types::ComponentItem},
};

use super::{component_files, surroundings::ComponentState};

/// Packages of WASI 0.2 which wasmtime-wasi provides, whatever the last part of their version.
const PROVIDED: [&str; 6] =
    ["wasi:cli/", "wasi:clocks/", "wasi:filesystem/", "wasi:io/", "wasi:random/", "wasi:sockets/"];
/// The interface of theirs which it does not.
const TIMEZONE: &str = "wasi:clocks/timezone@";

/// A linker for `component`: WASI, with files that look the same everywhere. Init will hardly use interfaces which are
/// not provided here (wasi:http), so they may be imported, and a call of theirs ends the component.
///
/// Wasmtime's own way to do the latter goes by whole versions: WASI 0.2.6 would be unknown where 0.2.12 is provided.
pub(crate) fn component_linker(engine: &Engine, component: &Component) -> Result<Linker<ComponentState>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    component_files::add_to_linker(&mut linker)?;
    for (name, import) in component.component_type().imports(engine) {
        let ComponentItem::ComponentInstance(interface) = import.ty else { continue };
        if is_provided(name) {
            continue;
        }
        let mut stub = linker.instance(name)?;
        for (member, item) in interface.exports(engine) {
            match item.ty {
                ComponentItem::ComponentFunc(_) => {
                    let call = format!("{name}#{member}");
                    stub.func_new(member, move |_, _, _, _| {
                        bail!("`{call}` is not provided while a snapshot is made")
                    })?;
                }
                ComponentItem::Resource(_) => stub.resource(member, ResourceType::host::<()>(), |_, _| Ok(()))?,
                _ => {}
            }
        }
    }
    Ok(linker)
}

fn is_provided(interface: &str) -> bool {
    let is_known = PROVIDED.iter().any(|package| interface.starts_with(package));
    is_known && interface.contains("@0.2.") && !interface.starts_with(TIMEZONE)
}
