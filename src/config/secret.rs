//! Values which are never shown.

use std::{
    env, fmt, fs, io,
    path::{Path, PathBuf},
};

/// A value that came from outside of the configuration. What shows it shows where it came from.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    value: String,
    source: SecretSource,
}

/// Where a secret comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// A variable of the environment.
    Variable(String),
    /// A file.
    File(PathBuf),
    /// Variables of the environment which are parts of a longer text.
    Variables(Vec<String>),
}

/// Why there is no secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The variable is not set.
    #[error("variable `{0}` is not set")]
    Unset(String),
    /// The variable is not text.
    #[error("variable `{0}` is not valid UTF-8")]
    NotText(String),
    /// The file cannot be read, or is not text.
    #[error("cannot read `{path}`: {source}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Secret {
    /// The value of a variable.
    ///
    /// # Errors
    /// [`SecretError`], which names the variable.
    pub fn of_variable(name: &str) -> Result<Self, SecretError> {
        Ok(Self { value: variable(name)?, source: SecretSource::Variable(name.to_owned()) })
    }

    /// The content of a file, without the line break at its end.
    ///
    /// # Errors
    /// [`SecretError`], which names the file.
    pub fn of_file(path: PathBuf) -> Result<Self, SecretError> {
        Ok(Self { value: file(&path)?, source: SecretSource::File(path) })
    }

    /// A longer text in which the values of variables are.
    pub fn derived(value: String, variables: Vec<String>) -> Self {
        Self { value, source: SecretSource::Variables(variables) }
    }

    /// Where it comes from.
    pub fn source(&self) -> &SecretSource {
        &self.source
    }

    /// The value, for those who must have it.
    pub fn reveal(&self) -> &str {
        &self.value
    }
}

fn variable(name: &str) -> Result<String, SecretError> {
    env::var(name).map_err(|error| match error {
        env::VarError::NotPresent => SecretError::Unset(name.to_owned()),
        env::VarError::NotUnicode(_) => SecretError::NotText(name.to_owned()),
    })
}

/// Editors and `echo` end a file with a line break, which belongs to no password.
fn file(path: &Path) -> Result<String, SecretError> {
    let mut value = fs::read_to_string(path).map_err(|source| SecretError::File { path: path.to_owned(), source })?;
    if value.ends_with('\n') {
        value.pop();
        if value.ends_with('\r') {
            value.pop();
        }
    }
    Ok(value)
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            SecretSource::Variable(name) => write!(f, "(from variable {name})"),
            SecretSource::File(path) => write!(f, "(from file {})", path.display()),
            SecretSource::Variables(names) => write!(f, "(from variable {})", names.join(", ")),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_shows_where_it_comes_from_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("token");
        fs::write(&path, "hunter2\n").expect("writable");
        let secret = Secret::of_file(path).expect("readable");
        assert_eq!(secret.reveal(), "hunter2");
        for shown in [secret.to_string(), format!("{secret:?}"), format!("{:#?}", Some(&secret))] {
            assert!(!shown.contains("hunter2") && shown.contains("(from file "), "{shown}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let unset = Secret::of_variable("PREWASM_TEST_NOT_SET").expect_err("unset");
        assert_eq!(unset.to_string(), "variable `PREWASM_TEST_NOT_SET` is not set");
        let missing = Secret::of_file("/nonexistent/token".into()).expect_err("missing");
        assert!(missing.to_string().contains("`/nonexistent/token`"), "{missing}");
    }
}
