//! Versions of what is compared.

use anyhow::Context as _;

/// The version of a crate in our `Cargo.lock`; the newest, if there are several.
pub(crate) fn locked_version(name: &str) -> anyhow::Result<&'static str> {
    let lock = include_str!("../../Cargo.lock");
    let start = format!("name = \"{name}\"\nversion = \"");
    let found = lock.split(start.as_str()).skip(1).filter_map(|rest| rest.split('"').next());
    // They come in ascending order.
    found.last().context("not in Cargo.lock")
}
