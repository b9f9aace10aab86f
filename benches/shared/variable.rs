//! Settings from the environment.

use std::{env, str::FromStr};

use anyhow::Context as _;

/// The variable's value, or the default if it is not set.
pub(crate) fn variable<T: FromStr>(name: &str, default: T) -> anyhow::Result<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    match env::var(name) {
        Ok(value) => value.parse().with_context(|| format!("{name}={value}")),
        Err(_) => Ok(default),
    }
}
