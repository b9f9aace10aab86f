//! What a snapshot is made of besides the program: where to stop, declared inputs, limits.

use std::{fmt, str::FromStr, time::Duration};

use bytes::Bytes;
use prewasm_ext_http::{Access, Directory, Pattern};

use crate::{layout::Layout, secrets::SecretRules, warm_up::WarmUp};

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
    /// Requests which a server answers before it is frozen, in order.
    pub warm_ups: Vec<WarmUp>,
    /// What the program sees while it runs.
    pub inputs: Inputs,
    /// What it may use up.
    pub limits: Limits,
    /// Which random bytes may be in the snapshot.
    pub entropy: EntropyPolicy,
    /// How the content of memories is cut into data segments.
    pub layout: Layout,
    /// Which sizes of the result are told.
    pub sizes: Sizes,
    /// Whether code goes which only the start-up could reach.
    pub strip: Strip,
    /// Whether the snapshot is compared with the program.
    pub verification: Verification,
    /// Which secrets are looked for in the snapshot.
    pub secrets: SecretRules,
}

/// Which sizes of a snapshot are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sizes {
    /// The file's.
    #[default]
    File,
    /// Compressed, too, which takes a second for each ten megabytes.
    Compressed,
}

/// Whether code goes which nothing can reach any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strip {
    /// It stays: function bodies are those of the program, byte for byte.
    #[default]
    Nothing,
    /// Functions, types and segments go, and debug information with them.
    Unreachable,
}

/// Whether a snapshot is compared with the program it was made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verification {
    /// Both are run side by side, where that can be done.
    #[default]
    Compare,
    /// It must be valid, and what was stopped.
    Skip,
}

/// Which random bytes may be in the snapshot, where every instance would have the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EntropyPolicy {
    /// Not even what depends on hash keys.
    DenyHashKeys,
    /// What depends on the hash keys of Rust's standard library: the order of maps. Maps made later have fresh keys.
    #[default]
    HashKeys,
    /// Any.
    Any,
}

/// Where the program is stopped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Until {
    /// At the end of the init function, if one is exported; else where a server accepts, or a command has its first
    /// effect.
    #[default]
    Auto,
    /// At the end of the init function.
    Init,
    /// Where it runs by itself.
    Stop(Stop),
}

/// Where a running program is frozen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// A server waits for a connection, and has none open.
    Accept,
    /// Before the first host call with an effect outside of linear memory.
    Pure,
    /// Before the first call of `prewasm:marker` `here`.
    Marker,
    /// Before the first call of an import.
    Import {
        /// The import's module.
        module: String,
        /// The import's name.
        name: String,
    },
}

/// Not a stop point.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a stop point\n  hint: use `auto`, `init`, `accept`, `pure`, `marker` or `import:MODULE.NAME`")]
pub struct UntilError(pub String);

impl FromStr for Until {
    type Err = UntilError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "auto" => Self::Auto,
            "init" => Self::Init,
            "accept" => Self::Stop(Stop::Accept),
            "pure" => Self::Stop(Stop::Pure),
            "marker" => Self::Stop(Stop::Marker),
            _ => {
                let import = text.strip_prefix("import:").and_then(|import| import.rsplit_once('.'));
                let (module, name) = import.ok_or_else(|| UntilError(text.to_owned()))?;
                Self::Stop(Stop::Import { module: module.to_owned(), name: name.to_owned() })
            }
        })
    }
}

impl fmt::Display for Until {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Init => f.write_str("init"),
            Self::Stop(stop) => stop.fmt(f),
        }
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accept => f.write_str("accept"),
            Self::Pure => f.write_str("pure"),
            Self::Marker => f.write_str("marker"),
            Self::Import { module, name } => write!(f, "import:{module}.{name}"),
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
    /// What can be read from standard input; `None` is at its end from the start.
    pub stdin: Option<Bytes>,
    /// Whom it may call.
    pub outbound: Vec<Pattern>,
    /// What the realtime clock tells, in seconds since the Unix epoch.
    pub realtime: u64,
}

impl Inputs {
    /// Whether a further run would find everything as the first did, and change nothing outside.
    pub(crate) fn is_repeatable(&self) -> bool {
        self.outbound.is_empty() && self.dirs.iter().all(|dir| dir.access == Access::ReadOnly)
    }
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
    fn stop_points_are_told_from_nonsense() {
        assert_eq!("auto".parse(), Ok(Until::Auto));
        for text in ["accept", "pure", "marker", "import:wasi_snapshot_preview1.fd_write", "import:a.b.c"] {
            let Ok(Until::Stop(stop)) = text.parse() else { panic!("{text}") };
            assert_eq!(stop.to_string(), text);
            assert_eq!(Until::Stop(stop).to_string(), text);
        }
        for text in ["never", "import:", "import:fd_write", ""] {
            assert_eq!(text.parse::<Until>(), Err(UntilError(text.to_owned())));
        }
    }

    #[test]
    fn a_rename_has_the_new_name_first() {
        assert_eq!("_start=resume".parse(), Ok(Rename { to: "_start".into(), from: "resume".into() }));
        assert!("_start".parse::<Rename>().is_err());
        assert!("=x".parse::<Rename>().is_err());
    }
}
