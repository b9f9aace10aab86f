//! What a snapshot is made of besides the program: where to stop, declared inputs, limits.

use std::{str::FromStr, time::Duration};

use prewasm_ext_http::{Directory, Pattern};

/// How to make a snapshot.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Where the program is stopped.
    pub until: Until,
    /// The exported init function; `None` looks for Wizer's names.
    pub init: Option<String>,
    /// What becomes of the init function's export.
    pub init_export: InitExport,
    /// Function exports to rename in the output.
    pub renames: Vec<Rename>,
    /// What the program sees while it runs.
    pub inputs: Inputs,
    /// What it may use up.
    pub limits: Limits,
}

/// Where the program is stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Until {
    /// Wherever is best: today, the end of the init function.
    #[default]
    Auto,
    /// The end of the init function.
    Init,
}

/// Why a stop point is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UntilError {
    /// It is planned, but not there.
    #[error(
        "stopping at `{0}` is not supported yet: only a program with an init function can be snapshotted\n  hint: use `init`, and export an init function"
    )]
    NotSupportedYet(String),
    /// It is none.
    #[error("`{0}` is not a stop point\n  hint: use `auto` or `init`")]
    Unknown(String),
}

impl FromStr for Until {
    type Err = UntilError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            "init" => Ok(Self::Init),
            "accept" | "pure" | "marker" => Err(UntilError::NotSupportedYet(text.to_owned())),
            _ if text.starts_with("import:") => Err(UntilError::NotSupportedYet(text.to_owned())),
            _ => Err(UntilError::Unknown(text.to_owned())),
        }
    }
}

/// What becomes of the init function's export.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InitExport {
    /// It is removed: calling it again would initialize twice.
    #[default]
    Remove,
    /// It stays.
    Keep,
}

/// A function export which takes the name of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rename {
    /// The name in the output.
    pub to: String,
    /// The name in the input.
    pub from: String,
}

/// A rename which is not `DST=SRC`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a rename\n  hint: write `DST=SRC`, the new name first")]
pub struct RenameError(pub String);

impl FromStr for Rename {
    type Err = RenameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            Some((to, from)) if !to.is_empty() && !from.is_empty() => {
                Ok(Self { to: to.to_owned(), from: from.to_owned() })
            }
            _ => Err(RenameError(text.to_owned())),
        }
    }
}

/// What the program sees while it is initialized. Everything else is empty.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// Program arguments, the program's name first.
    pub args: Vec<String>,
    /// Environment variables.
    pub env: Vec<(String, String)>,
    /// Directories opened before the start.
    pub dirs: Vec<Directory>,
    /// Whom it may call.
    pub outbound: Vec<Pattern>,
    /// What the realtime clock tells, in seconds since the Unix epoch.
    pub realtime: u64,
}

/// What the init function may use up.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Wall-clock time.
    pub timeout: Duration,
    /// Linear memories together, in bytes.
    pub memory: u64,
    /// Fuel (about one unit per wasm instruction); `None` does not count.
    pub fuel: Option<u64>,
}

impl Default for Limits {
    /// A minute, since interpreters and rule sets take seconds to load; memory is all that a 32-bit program can have.
    fn default() -> Self {
        Self { timeout: Duration::from_secs(60), memory: 4 * 1024 * 1024 * 1024, fuel: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stop_points_to_come_are_told_from_nonsense() {
        assert_eq!("auto".parse(), Ok(Until::Auto));
        assert_eq!("init".parse(), Ok(Until::Init));
        for later in ["accept", "pure", "marker", "import:a.b"] {
            assert!(matches!(later.parse::<Until>(), Err(UntilError::NotSupportedYet(_))), "{later}");
        }
        assert!(matches!("never".parse::<Until>(), Err(UntilError::Unknown(_))));
    }

    #[test]
    fn a_rename_has_the_new_name_first() {
        assert_eq!("_start=resume".parse(), Ok(Rename { to: "_start".into(), from: "resume".into() }));
        assert!("_start".parse::<Rename>().is_err());
        assert!("=x".parse::<Rename>().is_err());
    }
}
