//! What a program sees of its surroundings: WasmEdge's own WASI, with nothing but what was declared.

use wasmedge_sdk::wasi::WasiModule;

use super::{Program, StartError};
use crate::{Access, Directory};

/// WASI for a program.
pub(super) fn module(program: &Program) -> Result<WasiModule, StartError> {
    let env: Vec<_> = program.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let dirs = program.dirs.iter().map(preopen).collect::<Result<Vec<_>, _>>()?;
    if let Some(text) = program.args.iter().chain(&env).chain(&dirs).find(|text| text.contains('\0')) {
        return Err(StartError::Nul { text: text.clone() });
    }
    WasiModule::create(Some(borrowed(&program.args)), Some(borrowed(&env)), Some(borrowed(&dirs)))
        .map_err(StartError::Engine)
}

fn borrowed(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

/// `GUEST:HOST[:readonly]`, in which no path can have a colon.
fn preopen(directory: &Directory) -> Result<String, StartError> {
    let mode = match directory.access {
        Access::ReadOnly => ":readonly",
        Access::ReadWrite => "",
    };
    let Directory { guest, host, .. } = directory;
    let text = format!("{guest}:{}{mode}", host.display());
    if guest.contains(':') || host.to_str().is_none_or(|host| host.contains(':')) {
        return Err(StartError::Path { directory: text });
    }
    Ok(text)
}
