//! Routes, as they are written.
use std::{fmt, str::FromStr};
/// A host.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostPattern(String);
impl FromStr for HostPattern {
    type Err = std::io::Error;
    fn from_str(t: &str) -> Result<Self, Self::Err> {
        Ok(Self(t.to_owned()))
    }
}
impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
/// A route.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Route(pub(crate) String);
impl Route {
    /// All requests.
    pub fn everything() -> Self {
        Self("/...".to_owned())
    }
}
impl FromStr for Route {
    type Err = std::io::Error;
    fn from_str(t: &str) -> Result<Self, Self::Err> {
        Ok(Self(t.to_owned()))
    }
}
impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
