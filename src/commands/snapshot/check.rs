//! `--check`: is a snapshot made before what would be made now?

use std::{
    fs,
    path::{Path, PathBuf},
};

use prewasm_artifact::Artifact;
use prewasm_snapshot::{
    Difference,
    difference::{Place, first_difference},
};

use crate::{
    exit::{Class, Exit, Failure, chain},
    output,
};

/// What the new snapshot is called beside the old one.
const REBUILT: &str = "rebuilt";

/// A snapshot made before.
pub(super) struct Expected {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl Expected {
    /// Reads it, before any work is done.
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let bytes = fs::read(path).map_err(|error| {
            let context = format!("cannot read `{}`\n  hint: make it with `-o` first", path.display());
            Failure::new(Class::Ours, anyhow::Error::new(error).context(context))
        })?;
        Ok(Self { path: path.to_owned(), bytes })
    }

    /// Compares it with what `input` gives now.
    pub(super) fn compare(self, input: &str, rebuilt: Vec<u8>, quiet: bool) -> Result<Exit, Failure> {
        let name = self.path.display();
        let Some(offset) = first_difference(&self.bytes, &rebuilt) else {
            if !quiet {
                output::message(format_args!("`{name}` is what `{input}` gives: {} bytes", rebuilt.len()));
            }
            return Ok(Exit::Done);
        };
        let rebuilt = Artifact::from_bytes(REBUILT, rebuilt)?;
        let found = match self.bytes.starts_with(b"\0asm") {
            true => Artifact::from_bytes(&name.to_string(), self.bytes).map_err(|error| chain(&error)),
            // Text would be taken for the binary that it stands for.
            false => Err(format!("`{name}` is no wasm binary")),
        };
        let details = match found {
            Ok(found) => Difference::between(&found, &rebuilt).to_string(),
            Err(reason) => {
                let place = Place::of(&rebuilt, offset).map_or_else(|| "its end".to_owned(), |place| place.to_string());
                format!("{reason}\n  first differs at offset {offset:#x}: for the rebuilt, {place}")
            }
        };
        let message = anyhow::anyhow!(
            "`{name}` is not what `{input}` gives\n{details}\n  hint: if the new one is right, write it with `-o {name}`"
        );
        Err(Failure::new(Class::Verification, message))
    }
}
