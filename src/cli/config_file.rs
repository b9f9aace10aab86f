//! `-c FILE`, and what is used without it.

use std::path::{Path, PathBuf};

use clap::Args;

use super::Given;
use crate::{
    config::{Origin, Setting},
    exit::Failure,
};

/// The configuration that is used where none is named.
const DEFAULT_FILE: &str = "prewasm.toml";

/// The file of configuration.
#[derive(Args, Clone, Debug)]
pub struct ConfigFileArgs {
    /// The configuration: a `prewasm.toml`, a `spin.toml` or a WAGI `modules.toml` [default: ./prewasm.toml]
    #[arg(short, long, value_name = "FILE", env = "PREWASM_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,
}

impl Given<ConfigFileArgs> {
    /// The file that was named.
    pub fn named(&self) -> Option<Setting<PathBuf>> {
        self.setting("config", self.args.config.clone())
    }

    /// Whether it was named on the command line, and not by a variable.
    pub fn is_flag(&self) -> bool {
        self.named().is_some_and(|named| matches!(named.origin, Origin::Flag(_)))
    }

    /// The file that was named, or the one that is used without a name.
    pub fn path(&self) -> Result<PathBuf, Failure> {
        match self.named() {
            Some(named) => Ok(named.value),
            None if Path::new(DEFAULT_FILE).exists() => Ok(DEFAULT_FILE.into()),
            None => Err(Failure::usage(
                "no configuration is named, and there is no `prewasm.toml` here\n  hint: name one with `-c FILE`",
            )),
        }
    }
}
