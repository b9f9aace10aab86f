//! How the process ends. The codes are a contract.

use std::{error::Error, fmt};

use prewasm_artifact::{ArtifactError, WriteError};
use prewasm_ext_http::AuthorityError;
use prewasm_gateway::LoadError;

use crate::{config::ConfigError, output};

/// An end without an error of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// What was asked for is done.
    Done,
    /// Files which were compared differ.
    Different,
    /// The code of a guest that was run.
    Guest(i32),
    /// A guest trapped: the code of a process that aborted, as `wasmtime` and `wasmedge` use it.
    Trapped,
    /// A guest did not end in time: the code that `timeout` uses.
    TimedOut,
}

impl Exit {
    /// The code of the process.
    pub fn code(self) -> i32 {
        match self {
            Self::Done => 0,
            Self::Different => Class::Verification as i32,
            // The system keeps the lowest byte only: a failure must not become a success.
            Self::Guest(code) if code != 0 && code & 0xff == 0 => 1,
            Self::Guest(code) => code,
            Self::Trapped => 134,
            Self::TimedOut => 124,
        }
    }
}

/// Whose fault an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Ours, or the system's.
    Ours = 1,
    /// The command line or the configuration.
    Usage = 2,
    /// The input is not what it should be.
    Rejected = 3,
    /// The guest failed.
    Guest = 4,
    /// The result is not what it should be.
    Verification = 5,
    /// A policy forbids it.
    Policy = 6,
}

/// An error on its way to the user.
#[derive(Debug)]
pub struct Failure {
    class: Class,
    error: anyhow::Error,
}

impl Failure {
    /// Classes an error.
    pub fn new(class: Class, error: impl Into<anyhow::Error>) -> Self {
        Self { class, error: error.into() }
    }

    /// A mistake on the command line which clap cannot see.
    pub fn usage(message: impl fmt::Display) -> Self {
        Self::new(Class::Usage, anyhow::anyhow!("{message}"))
    }

    /// The code of the process.
    pub fn code(&self) -> i32 {
        self.class as i32
    }

    /// Prints the error and what caused it.
    pub fn print(&self) {
        output::message(format_args!("error: {}", chain(self.error.as_ref())));
    }
}

/// An error and its causes, a line each.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string().trim_end().to_owned();
    let mut last = text.clone();
    let mut cause = error.source();
    while let Some(current) = cause {
        let line = current.to_string().trim_end().to_owned();
        // Some errors of libraries show their source's text as theirs.
        if line != last {
            text = format!("{text}\n  caused by: {line}");
            last = line;
        }
        cause = current.source();
    }
    text
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}

impl From<ArtifactError> for Failure {
    fn from(error: ArtifactError) -> Self {
        let class = match &error {
            ArtifactError::Read { .. } => Class::Ours,
            ArtifactError::NotWasm { .. }
            | ArtifactError::Text { .. }
            | ArtifactError::Truncated { .. }
            | ArtifactError::Invalid { .. } => Class::Rejected,
        };
        Self::new(class, error)
    }
}

impl From<WriteError> for Failure {
    fn from(error: WriteError) -> Self {
        Self::new(Class::Ours, error)
    }
}

/// A single program that cannot be read is the input; everything else is configuration.
impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        match error {
            ConfigError::Program(error) => error.into(),
            ConfigError::Scratch { .. } => Self::new(Class::Ours, error),
            ConfigError::Read { .. } | ConfigError::Invalid(_) => Self::new(Class::Usage, error),
        }
    }
}

/// A file named on the command line, as a directory of `--dir` is.
impl From<AuthorityError> for Failure {
    fn from(error: AuthorityError) -> Self {
        Self::new(Class::Usage, error)
    }
}

/// The class of an error of loading code.
pub fn load_class(error: &LoadError) -> Class {
    match error {
        LoadError::Untrusted { .. } => Class::Policy,
        LoadError::Link(_)
        | LoadError::Compile { .. }
        | LoadError::Precompiled { .. }
        | LoadError::Frozen { .. }
        | LoadError::AlreadyCompiled { .. } => Class::Rejected,
        LoadError::Image { .. } => Class::Ours,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guests_failure_never_looks_like_a_success() {
        assert_eq!(Exit::Guest(0).code(), 0);
        assert_eq!(Exit::Guest(7).code(), 7);
        assert_eq!(Exit::Guest(256).code(), 1);
    }

    #[test]
    fn causes_are_listed_once() {
        let error = anyhow::anyhow!("inner").context("middle").context("outer");
        assert_eq!(chain(error.as_ref()), "outer\n  caused by: middle\n  caused by: inner");
    }
}
