//! Routes which match the same requests with the same precedence: nobody could say which of them holds.

use std::collections::BTreeMap;

use prewasm_gateway::{HostPattern, Route};

use super::{
    effective::Reach,
    problem::{Problem, What},
    setting::{Origin, Setting},
};

/// Finds the routes which others have taken already.
pub fn check_routes(reaches: &[Reach]) -> Vec<Problem> {
    let mut taken = Taken::default();
    let mut problems = Vec::new();
    for reach in reaches {
        let hosts = if reach.hosts.value.is_empty() { &[HostPattern::Any][..] } else { &reach.hosts.value };
        for route in &reach.routes.value {
            let first = hosts.iter().filter_map(|host| taken.take(host, route)).next();
            problems.extend(first.map(|first| problem(route, first)));
        }
    }
    problems
}

fn problem(route: &Setting<Route>, first: Origin) -> Problem {
    let first = match first {
        Origin::File(position) => Some(position),
        _ => None,
    };
    Problem { origin: route.origin, what: What::DuplicateRoute { route: route.value.to_string(), first } }
}

/// Routes by host and path.
#[derive(Default)]
struct Taken<'a>(BTreeMap<(&'a HostPattern, String), Vec<&'a Setting<Route>>>);

impl<'a> Taken<'a> {
    /// Adds a route, and returns where another is that holds for the same requests.
    fn take(&mut self, host: &'a HostPattern, route: &'a Setting<Route>) -> Option<Origin> {
        let others = self.0.entry((host, path(&route.value))).or_default();
        let first = others.iter().find(|other| other.value.shares_a_method_with(&route.value));
        let first = first.map(|first| first.origin);
        others.push(route);
        first
    }
}

/// The path without the names of its parameters, which match whatever they are called.
fn path(route: &Route) -> String {
    let text = route.to_string();
    // Methods stand in front.
    let path = text.rsplit(' ').next().unwrap_or(&text);
    let segments = path.split('/').map(|segment| if segment.starts_with(':') { ":" } else { segment });
    segments.collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{position::Position, setting::Setting};

    fn reach(line: usize, routes: &[&str], hosts: &[&str]) -> Reach {
        let origin = Origin::File(Position { line, column: 1 });
        let routes = routes.iter().map(|route| Setting::new(route.parse().expect("a route"), origin)).collect();
        Reach {
            routes: Setting::new(routes, origin),
            hosts: Setting::new(hosts.iter().map(|host| host.parse().expect("a host")).collect(), origin),
        }
    }

    fn problems(reaches: &[Reach]) -> Vec<String> {
        check_routes(reaches).iter().map(|problem| problem.what.to_string()).collect()
    }

    #[test]
    fn names_of_parameters_do_not_tell_routes_apart() {
        let found = problems(&[reach(1, &["/:a/x", "/y"], &[]), reach(7, &["/:b/x"], &[])]);
        assert_eq!(found, ["route `/:b/x` is taken already, at 1:1"]);
    }

    #[test]
    fn hosts_and_methods_tell_routes_apart() {
        let a = reach(1, &["/x", "GET /y"], &["a.example"]);
        let b = reach(2, &["/x", "POST /y", "GET /y"], &["b.example"]);
        let all = reach(3, &["/x", "/y"], &[]);
        assert_eq!(problems(&[a.clone(), b, all]), [""; 0]);
        let again = reach(4, &["/x"], &["c.example", "a.example"]);
        assert_eq!(problems(&[a.clone(), again]).len(), 1);
        assert_eq!(problems(&[a, reach(5, &["/y"], &["a.example"])]).len(), 1, "all methods are some of them");
    }
}
