//! A value together with where it comes from.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::{position::Position, reader::Described};

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// A place in the configuration file.
    File(Position),
    /// A flag of the command line, by its name.
    Flag(&'static str),
    /// The variable of the environment which stands for a flag, by the flag's name.
    Variable(&'static str),
    /// Nobody has said anything else.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(Position { line, .. }) => write!(f, "file, line {line}"),
            Self::Flag(flag) => write!(f, "flag --{flag}"),
            Self::Variable(flag) => write!(f, "variable {}", variable(flag)),
            Self::Default => f.write_str("default"),
        }
    }
}

/// The variable which stands for a flag.
pub fn variable(flag: &str) -> String {
    format!("PREWASM_{}", flag.to_uppercase().replace('-', "_"))
}

/// A value and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting<T> {
    /// The value.
    pub value: T,
    /// Where it comes from.
    pub origin: Origin,
}

impl<T> Setting<T> {
    /// A value from somewhere.
    pub fn new(value: T, origin: Origin) -> Self {
        Self { value, origin }
    }

    /// A value which nobody has set.
    pub fn default_of(value: T) -> Self {
        Self { value, origin: Origin::Default }
    }

    /// What was written, or else the default.
    pub fn or(written: Option<Self>, default: T) -> Self {
        written.unwrap_or_else(|| Self::default_of(default))
    }

    /// The same origin with another value.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Setting<U> {
        Setting { value: change(self.value), origin: self.origin }
    }
}

/// The schema is that of the value: an origin is never written.
impl<T: Described> JsonSchema for Setting<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Setting".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::schema(generator)
    }
}
