//! How memories become as new: what the system can do, and what the user asks for.

use std::{env, fmt};

use super::Unsupported;

/// The variable which the user asks with.
const VARIABLE: &str = "PREWASM_RESET";

/// How the memory of an instance is made as new for the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reset {
    /// In a pool of our own, which restores the pages that the guest has written: Linux keeps a record of them.
    Scan,
    /// In Wasmtime's pool. Small memories are copied as a whole, the pages of others given back.
    Copy,
    /// In Wasmtime's pool. The pages of all memories are given back.
    Decommit,
}

/// The way to reset, and why it is no better one.
#[derive(Debug)]
pub struct Choice {
    /// The way.
    pub reset: Reset,
    /// What the system lacks for [`Reset::Scan`], if that is why.
    pub lacks: Option<String>,
}

/// The user asks for a way to reset which there is not.
#[derive(Debug, thiserror::Error)]
pub enum ResetError {
    /// The word means nothing.
    #[error("`{VARIABLE}` is `{value}`\n  hint: it can be `scan`, `copy` or `decommit`")]
    Unknown {
        /// The word.
        value: String,
    },
    /// The system cannot do it.
    #[error("`{VARIABLE}` is `scan`, which this system does not support: {lacks}")]
    Unsupported {
        /// What it lacks.
        lacks: String,
    },
}

impl Reset {
    /// The way that the environment asks for, or the best that the system can do.
    ///
    /// # Errors
    /// [`ResetError`] if the environment asks for one that there is not.
    pub fn detect() -> Result<Choice, ResetError> {
        let wish = env::var_os(VARIABLE).map(|value| value.to_string_lossy().into_owned());
        choose(wish.as_deref(), super::trial)
    }
}

fn choose(wish: Option<&str>, trial: impl FnOnce() -> Result<(), Unsupported>) -> Result<Choice, ResetError> {
    let given = |reset| Ok(Choice { reset, lacks: None });
    match wish {
        Some("copy") => given(Reset::Copy),
        Some("decommit") => given(Reset::Decommit),
        None | Some("" | "scan") => match (trial(), wish) {
            (Ok(()), _) => given(Reset::Scan),
            (Err(unsupported), Some("scan")) => Err(ResetError::Unsupported { lacks: chain(&unsupported) }),
            (Err(unsupported), _) => Ok(Choice { reset: Reset::Copy, lacks: Some(chain(&unsupported)) }),
        },
        Some(value) => Err(ResetError::Unknown { value: value.to_owned() }),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

impl fmt::Display for Reset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scan => "scan",
            Self::Copy => "copy",
            Self::Decommit => "decommit",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fails() -> Result<(), Unsupported> {
        Err(Unsupported::PageSize)
    }

    #[test]
    fn the_scan_is_used_where_it_works() {
        assert_eq!(choose(None, || Ok(())).expect("supported").reset, Reset::Scan);
        assert_eq!(choose(Some("scan"), || Ok(())).expect("supported").reset, Reset::Scan);
        let choice = choose(None, fails).expect("there is another way");
        assert_eq!(choice.reset, Reset::Copy);
        assert!(choice.lacks.expect("a reason").contains("pages"));
    }

    #[test]
    fn what_the_user_asks_for_is_used_or_refused() {
        assert_eq!(choose(Some("copy"), || Ok(())).expect("always there").reset, Reset::Copy);
        assert_eq!(choose(Some("decommit"), || Ok(())).expect("always there").reset, Reset::Decommit);
        assert!(matches!(choose(Some("scan"), fails), Err(ResetError::Unsupported { .. })));
        assert!(matches!(choose(Some("quick"), || Ok(())), Err(ResetError::Unknown { .. })));
    }
}
