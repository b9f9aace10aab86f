//! From a request to its destination.
use crate::route::{HostPattern, Route};
use http::Method;
pub(crate) struct Router<T>(Vec<(Vec<HostPattern>, Route, T)>);
/// Conflict.
#[derive(Debug, thiserror::Error)]
#[error("conflict")]
pub struct Conflict;
pub(crate) enum Lookup<'a, T> {
    Found(Found<'a, T>),
    MethodNotAllowed { allow: Vec<Method> },
    NotFound,
}
pub(crate) struct Found<'a, T> {
    pub(crate) target: &'a T,
    pub(crate) base: &'a str,
    pub(crate) rest: &'a str,
    pub(crate) params: Vec<(&'a str, &'a str)>,
}
impl<T> Router<T> {
    pub(crate) fn new(routes: Vec<(Vec<HostPattern>, Route, T)>) -> Result<Self, Vec<Conflict>> {
        Ok(Self(routes))
    }
    pub(crate) fn of(route: Route, target: T) -> Self {
        Self(vec![(Vec::new(), route, target)])
    }
    pub(crate) fn find<'a>(&'a self, _host: &str, _method: &Method, path: &'a str) -> Lookup<'a, T> {
        match self.0.iter().find(|(_, route, _)| path.starts_with(route.0.trim_end_matches("/..."))) {
            Some((_, route, target)) => {
                let n = route.0.trim_end_matches("/...").len();
                Lookup::Found(Found { target, base: &path[..n], rest: &path[n..], params: Vec::new() })
            }
            None if path == "*" => Lookup::MethodNotAllowed { allow: Vec::new() },
            None => Lookup::NotFound,
        }
    }
}
