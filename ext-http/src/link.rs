//! Linking: from a guest's imports to host functions.

mod rename;
#[cfg(feature = "wasmedge")]
pub mod wasmedge;
mod wasmtime;

pub use self::wasmtime::{ServedOut, end_without_backtrace, externs, linker, start_function};

use std::borrow::Cow;

use prewasm_artifact::{Artifact, Import};

use crate::imports::{ImportError, resolve};

/// A module which cannot be linked: every import at fault, not just the first.
#[derive(Debug, thiserror::Error)]
#[error("`{origin}` cannot be linked:{}", list(errors))]
pub struct LinkError {
    /// The module.
    pub origin: String,
    /// What is wrong with which import.
    pub errors: Vec<ImportError>,
}

fn list(errors: &[ImportError]) -> String {
    errors.iter().map(|error| format!("\n  {error}")).collect()
}

/// Checks that every import is provided.
///
/// # Errors
/// [`LinkError`], naming each import that is not.
pub fn check(artifact: &Artifact) -> Result<(), LinkError> {
    let errors: Vec<_> = artifact.imports().iter().filter_map(|import| resolve(import).err()).collect();
    if errors.is_empty() { Ok(()) } else { Err(LinkError { origin: artifact.origin().to_owned(), errors }) }
}

/// Checks imports, and makes the module fit a [`linker`]: a linker holds one function per name, so imports which share
/// a name and differ in type are renamed. Most modules come back as they are.
///
/// # Errors
/// [`LinkError`], naming each import that is not provided.
pub fn prepare(artifact: &Artifact) -> Result<Cow<'_, [u8]>, LinkError> {
    check(artifact)?;
    let link_name = |import: &Import| match resolve(import) {
        Ok(entry) => entry.link_name(),
        Err(_) => Cow::Owned(import.name.clone()),
    };
    let names: Vec<_> = artifact.imports().iter().map(link_name).collect();
    let fits = artifact.imports().iter().zip(&names).all(|(import, name)| import.name == *name);
    if fits {
        return Ok(Cow::Borrowed(artifact.bytes()));
    }
    Ok(Cow::Owned(rename::rename_imports(artifact.bytes(), &names)))
}
