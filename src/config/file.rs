//! One file of configuration: ours, Spin's or WAGI's, told apart by what is in it.

use std::{fs, path::Path};

use super::{
    effective::Config,
    problem::ConfigError,
    raw::{RawConfig, RawServer},
    reader::{Reading, Record as _, Table},
    resolve::{Parts, Resolver, resolve},
    spin, wagi,
};

/// Whose format a file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Prewasm,
    Spin,
    Wagi,
}

impl Format {
    /// The name of the file says nothing: it is what its user likes.
    fn of(table: &Table<'_>) -> Self {
        if table.origin_of("spin_manifest_version").or(table.origin_of("spin_version")).is_some() {
            Self::Spin
        } else if table.origin_of("module").is_some() {
            Self::Wagi
        } else {
            Self::Prewasm
        }
    }
}

/// Reads a configuration; `flags` are put over what it says about the process.
///
/// # Errors
/// [`ConfigError`], with all problems.
pub fn read(path: &Path, flags: RawServer) -> Result<Config, ConfigError> {
    let text = fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    let reading = Reading::new(&text);
    let document = reading.parse(&text);
    let mut resolver = Resolver::new(path.parent().unwrap_or(Path::new("")));
    // What a text means that is not TOML is anybody's guess.
    let parts = match reading.is_right() {
        true => parts(Table::root(&reading, &document), flags, &mut resolver),
        false => Parts::nothing(),
    };
    drop(document);
    resolver.add(reading.into_problems());
    resolver.finish(Some(path), parts)
}

fn parts(mut table: Table<'_>, flags: RawServer, resolver: &mut Resolver<'_>) -> Parts {
    let parts = match Format::of(&table) {
        Format::Prewasm => resolve(RawConfig::take(&mut table), flags, resolver),
        Format::Spin => spin::resolve(&mut table, flags, resolver),
        Format::Wagi => wagi::resolve(&mut table, flags, resolver),
    };
    table.finish();
    parts
}
