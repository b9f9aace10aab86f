//! Routes which match the same requests with the same precedence: nobody could say which of them holds.

use std::collections::BTreeMap;

use super::{
    effective::Reach,
    problem::{Problem, What},
    setting::Origin,
};

/// Finds the routes which others have taken already.
pub fn check_routes(reaches: &[Reach]) -> Vec<Problem> {
    let mut taken = BTreeMap::new();
    let mut problems = Vec::new();
    for reach in reaches {
        for route in &reach.routes.value {
            let shape = shape(&route.value.to_string());
            let mut hosts: Vec<_> = reach.hosts.value.iter().map(ToString::to_string).collect();
            if hosts.is_empty() {
                hosts.push("*".to_owned());
            }
            let first = hosts.into_iter().filter_map(|host| taken.insert((host, shape.clone()), route.origin)).next();
            if let Some(first) = first {
                let first = match first {
                    Origin::File(position) => Some(position),
                    _ => None,
                };
                let what = What::DuplicateRoute { route: route.value.to_string(), first };
                problems.push(Problem { origin: route.origin, what });
            }
        }
    }
    problems
}

/// A route without the names of its parameters, which match whatever they are called.
fn shape(route: &str) -> String {
    let segments = route.split('/').map(|segment| if segment.starts_with(':') { ":" } else { segment });
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
        let b = reach(2, &["/x", "POST /y"], &["b.example"]);
        let all = reach(3, &["/x", "/y"], &[]);
        assert_eq!(problems(&[a.clone(), b, all]), [""; 0]);
        let again = reach(4, &["/x"], &["c.example", "a.example"]);
        assert_eq!(problems(&[a, again]).len(), 1);
    }
}
