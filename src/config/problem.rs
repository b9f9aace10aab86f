//! What is wrong with a configuration: everything at once, in the order of the file.

use std::{fmt, io, path::PathBuf};

use prewasm_artifact::ArtifactError;

use super::{
    position::Position,
    setting::{Origin, variable},
};

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read `{path}`", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The program which is served without a configuration cannot be read.
    #[error(transparent)]
    Program(#[from] ArtifactError),
    /// Something in it is wrong.
    #[error("{0}")]
    Invalid(Problems),
    /// Files could not be put together for a guest.
    #[error("cannot put the files of app `{app}` into a temporary folder")]
    Scratch {
        /// The app.
        app: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// All problems of one configuration; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    file: Option<PathBuf>,
    found: Vec<Problem>,
}

/// One problem, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Whose value is wrong.
    pub origin: Origin,
    /// What is wrong with it.
    pub what: What,
}

/// What can be wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum What {
    /// It is not TOML.
    #[error("{0}")]
    Syntax(String),
    /// A key which means nothing here.
    #[error("unknown key `{key}` in {within}{}", did_you_mean(suggestion.as_deref()))]
    UnknownKey {
        /// The key.
        key: String,
        /// The table.
        within: String,
        /// The key that may have been meant.
        suggestion: Option<String>,
    },
    /// A key which must be there.
    #[error("{within} needs `{key}`")]
    MissingKey {
        /// The key.
        key: String,
        /// The table.
        within: String,
    },
    /// A value of another type.
    #[error("`{key}` must be {expected}, not {found}")]
    Type {
        /// The key.
        key: String,
        /// What is expected.
        expected: &'static str,
        /// What is there.
        found: &'static str,
    },
    /// A value which cannot be understood.
    #[error("`{key}`: {reason}")]
    Value {
        /// The key.
        key: String,
        /// What its parser says.
        reason: String,
    },
    /// A name which is none of those that exist.
    #[error("{what} `{name}` does not exist{}", did_you_mean(suggestion.as_deref()))]
    UnknownName {
        /// What is named.
        what: &'static str,
        /// The name.
        name: String,
        /// The name that may have been meant.
        suggestion: Option<String>,
    },
    /// Something which another host offers and we do not.
    #[error("{what} is not supported{}", hint(*remedy))]
    NotSupported {
        /// What it is.
        what: String,
        /// What to do instead.
        remedy: Option<&'static str>,
    },
    /// Two apps of one name.
    #[error("there is another app `{name}`, at {first}")]
    DuplicateApp {
        /// The name.
        name: String,
        /// The first of them.
        first: Position,
    },
    /// Two routes for the same requests.
    #[error("route `{route}` is taken{}", at(*first))]
    DuplicateRoute {
        /// The route.
        route: String,
        /// The first of them.
        first: Option<Position>,
    },
    /// A route which the gateway itself answers.
    #[error("route `{route}` is reserved: {reserved} is answered by the gateway")]
    ReservedRoute {
        /// The route.
        route: String,
        /// What is reserved.
        reserved: &'static str,
    },
    /// Nothing leads to an app.
    #[error(
        "app `{name}` has no routes, so that no request can reach it\n  hint: write `routes = [\"/...\"]` for all paths, or `routes = []` if only other apps call it"
    )]
    NoRoutes {
        /// The app.
        name: String,
    },
    /// A program which cannot be served.
    #[error("{0}")]
    Source(String),
    /// A file or folder which cannot be used.
    #[error("{0}")]
    Path(String),
    /// A secret which is not there.
    #[error("`{key}`: {reason}")]
    Secret {
        /// The key.
        key: String,
        /// Why not.
        reason: String,
    },
}

fn did_you_mean(suggestion: Option<&str>) -> String {
    suggestion.map(|name| format!("\n  hint: did you mean `{name}`?")).unwrap_or_default()
}

fn hint(remedy: Option<&'static str>) -> String {
    remedy.map(|remedy| format!("\n  hint: {remedy}")).unwrap_or_default()
}

fn at(first: Option<Position>) -> String {
    first.map(|position| format!(" already, at {position}")).unwrap_or_default()
}

impl Problems {
    /// Sorts what was found; `None` if that is nothing.
    pub fn new(file: Option<PathBuf>, mut found: Vec<Problem>) -> Option<Self> {
        found.sort_by_key(|problem| problem.origin);
        (!found.is_empty()).then_some(Self { file, found })
    }

    fn one(&self, problem: &Problem) -> String {
        let what = &problem.what;
        match (&self.file, problem.origin) {
            (Some(file), Origin::File(position)) => format!("{}:{position}: {what}", file.display()),
            (_, Origin::Flag(flag)) => format!("--{flag}: {what}"),
            (_, Origin::Variable(flag)) => format!("{}: {what}", variable(flag)),
            (Some(file), Origin::Default) => format!("{}: {what}", file.display()),
            (None, Origin::File(_) | Origin::Default) => what.to_string(),
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [problem] = &self.found[..] {
            return f.write_str(&self.one(problem));
        }
        write!(f, "{} problems", self.found.len())?;
        if let Some(file) = &self.file {
            write!(f, " in `{}`", file.display())?;
        }
        for problem in &self.found {
            write!(f, "\n  {}", self.one(problem).replace('\n', "\n  "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(line: usize, text: &str) -> Problem {
        Problem { origin: Origin::File(Position { line, column: 1 }), what: What::Syntax(text.to_owned()) }
    }

    #[test]
    fn problems_are_shown_in_the_order_of_the_file() {
        let problems = Problems::new(Some("a.toml".into()), vec![problem(7, "b\n  hint: c"), problem(3, "a")]);
        let shown = problems.expect("problems").to_string();
        assert_eq!(shown, "2 problems in `a.toml`\n  a.toml:3:1: a\n  a.toml:7:1: b\n    hint: c");
    }

    #[test]
    fn a_single_problem_needs_no_heading() {
        let problems = Problems::new(Some("a.toml".into()), vec![problem(7, "b")]).expect("problems");
        assert_eq!(problems.to_string(), "a.toml:7:1: b");
        assert_eq!(Problems::new(None, Vec::new()), None);
    }
}
