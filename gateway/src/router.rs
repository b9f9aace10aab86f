//! From a request to its destination.
//!
//! Routes are compared segment by segment, from the left: a literal goes before a name (`:id`), a name before `/...`. So
//! an exact route goes before one with a wildcard, and a longer prefix before a shorter one. The host is looked at first:
//! what a route for a more specific host has to say counts, and where it has nothing to say, routes for less specific
//! hosts hold as well. A route for other methods is passed over; if no route is left, but would be for another method,
//! the method is not allowed.
//!
//! The tables of routes known as crates rank routes otherwise than Spin, whose manifests are read as they are, or refuse
//! tables that are legal there; and a tree of segments is small.

use std::collections::HashMap;

use http::Method;

use crate::route::{HostPattern, Route, Segment};

/// Routes, and where each leads.
pub(crate) struct Router<T> {
    routes: Vec<(Route, T)>,
    exact: HashMap<String, Node>,
    /// The longest first.
    suffixes: Vec<(String, Node)>,
    any: Node,
}

/// The routes that have the same segments so far.
#[derive(Default)]
struct Node {
    literals: HashMap<String, Node>,
    named: Option<Box<Node>>,
    /// Routes that end here, by index.
    exact: Vec<usize>,
    /// Routes that end here with `/...`.
    prefixes: Vec<usize>,
}

/// Two routes for the same requests.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("routes `{first}` and `{second}` match the same requests to host `{host}`")]
pub struct Conflict {
    /// The one that was first.
    pub first: String,
    /// The other.
    pub second: String,
    /// The hosts for which both hold.
    pub host: HostPattern,
}

/// What was found.
#[derive(Debug, PartialEq)]
pub(crate) enum Lookup<'a, T> {
    Found(Found<'a, T>),
    /// Only for these methods.
    MethodNotAllowed {
        allow: Vec<&'a str>,
    },
    NotFound,
}

/// A route that matches.
#[derive(Debug, PartialEq)]
pub(crate) struct Found<'a, T> {
    pub(crate) target: &'a T,
    /// The part of the path that matches the route, without what `/...` stands for.
    pub(crate) base: &'a str,
    /// What `/...` stands for: nothing, or a path.
    pub(crate) rest: &'a str,
    /// What names stand for.
    pub(crate) params: Vec<(&'a str, &'a str)>,
}

impl<T> Router<T> {
    /// A table of routes. A route without hosts is for all.
    ///
    /// # Errors
    /// Every two routes of which one would never be found.
    pub(crate) fn new(routes: Vec<(Vec<HostPattern>, Route, T)>) -> Result<Self, Vec<Conflict>> {
        let mut router = Self { routes: Vec::new(), exact: HashMap::new(), suffixes: Vec::new(), any: Node::default() };
        let mut conflicts = Vec::new();
        for (mut hosts, route, target) in routes {
            if hosts.is_empty() {
                hosts.push(HostPattern::Any);
            }
            hosts.sort();
            hosts.dedup();
            let index = router.routes.len();
            router.routes.push((route, target));
            for host in hosts {
                conflicts.extend(router.insert(index, host));
            }
        }
        router.suffixes.sort_by_key(|(suffix, _)| std::cmp::Reverse(suffix.len()));
        if conflicts.is_empty() { Ok(router) } else { Err(conflicts) }
    }

    /// A table of one route, for all hosts.
    pub(crate) fn of(route: Route, target: T) -> Self {
        let mut router =
            Self { routes: vec![(route, target)], exact: HashMap::new(), suffixes: Vec::new(), any: Node::default() };
        router.insert(0, HostPattern::Any);
        router
    }

    fn insert(&mut self, index: usize, host: HostPattern) -> Option<Conflict> {
        let (route, _) = &self.routes[index];
        let mut node = match &host {
            HostPattern::Exact(name) => self.exact.entry(name.clone()).or_default(),
            HostPattern::Suffix(suffix) => {
                let known = self.suffixes.iter().position(|(known, _)| known == suffix);
                let at = known.unwrap_or_else(|| {
                    self.suffixes.push((suffix.clone(), Node::default()));
                    self.suffixes.len() - 1
                });
                &mut self.suffixes[at].1
            }
            HostPattern::Any => &mut self.any,
        };
        for segment in &route.segments {
            node = match segment {
                Segment::Literal(literal) => node.literals.entry(literal.clone()).or_default(),
                Segment::Named(_) => node.named.get_or_insert_default(),
            };
        }
        let ends = if route.is_prefix { &mut node.prefixes } else { &mut node.exact };
        let other = ends.iter().find(|other| self.routes[**other].0.shares_a_method_with(route));
        let conflict =
            other.map(|other| Conflict { first: self.routes[*other].0.to_string(), second: route.to_string(), host });
        ends.push(index);
        conflict
    }

    /// The route for a request. `host` is in lower case and without port, `path` is normalized.
    pub(crate) fn find<'a>(&'a self, host: &str, method: &Method, path: &'a str) -> Lookup<'a, T> {
        let Some(segments) = path.strip_prefix('/') else { return Lookup::NotFound };
        let mut search =
            Search { router: self, method, segments: segments.split('/').collect(), passed_over: Vec::new() };
        let found = self.tables(host).find_map(|table| search.walk(table, 0));
        if let Some((index, depth)) = found {
            return Lookup::Found(self.found(index, depth, path, &search.segments));
        }
        if search.passed_over.is_empty() {
            return Lookup::NotFound;
        }
        let mut allow: Vec<_> = search.passed_over.iter().flat_map(|index| self.routes[*index].0.methods()).collect();
        allow.sort_unstable();
        allow.dedup();
        Lookup::MethodNotAllowed { allow }
    }

    /// The tables of a host, the most specific first.
    fn tables<'a>(&'a self, host: &str) -> impl Iterator<Item = &'a Node> {
        let is_below =
            |suffix: &str| host.strip_suffix(suffix).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'));
        let below = self.suffixes.iter().filter(move |(suffix, _)| is_below(suffix)).map(|(_, table)| table);
        // Collected, since the closure borrows the host, which the result does not.
        let below: Vec<_> = if self.suffixes.is_empty() { Vec::new() } else { below.collect() };
        self.exact.get(host).into_iter().chain(below).chain([&self.any])
    }

    fn found<'a>(&'a self, index: usize, depth: usize, path: &'a str, segments: &[&'a str]) -> Found<'a, T> {
        let (route, target) = &self.routes[index];
        let length: usize = segments[..depth].iter().map(|segment| segment.len() + 1).sum();
        let (base, rest) = path.split_at(length);
        let named = route.segments.iter().zip(segments).filter_map(|(segment, value)| match segment {
            Segment::Named(name) => Some((name.as_str(), *value)),
            Segment::Literal(_) => None,
        });
        Found { target, base, rest, params: named.collect() }
    }
}

/// One search in the tables of a host.
struct Search<'a, 's, T> {
    router: &'a Router<T>,
    method: &'s Method,
    segments: Vec<&'a str>,
    /// Routes that match but for the method.
    passed_over: Vec<usize>,
}

impl<T> Search<'_, '_, T> {
    /// The best route below `node`, and how many segments it has. Each node is visited at most once.
    fn walk(&mut self, node: &Node, depth: usize) -> Option<(usize, usize)> {
        match self.segments.get(depth).copied() {
            None => {
                if let Some(index) = self.pick(&node.exact) {
                    return Some((index, depth));
                }
            }
            Some(segment) => {
                if let Some(child) = node.literals.get(segment)
                    && let Some(found) = self.walk(child, depth + 1)
                {
                    return Some(found);
                }
                if let Some(child) = &node.named
                    && !segment.is_empty()
                    && let Some(found) = self.walk(child, depth + 1)
                {
                    return Some(found);
                }
            }
        }
        self.pick(&node.prefixes).map(|index| (index, depth))
    }

    fn pick(&mut self, ends: &[usize]) -> Option<usize> {
        let found = ends.iter().copied().find(|index| self.router.routes[*index].0.allows(self.method));
        if found.is_none() {
            self.passed_over.extend(ends);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A table of routes, each with its hosts in front, which leads to the route's own text.
    fn router(routes: &[(&str, &str)]) -> Result<Router<String>, Vec<Conflict>> {
        let parsed = routes.iter().map(|(hosts, route)| {
            let patterns = hosts.split_whitespace().map(|host| host.parse().expect("a host")).collect();
            (patterns, route.parse().expect("a route"), format!("{hosts}|{route}"))
        });
        Router::new(parsed.collect())
    }

    fn find<'a>(router: &'a Router<String>, host: &str, method: &str, path: &'a str) -> Option<&'a str> {
        match router.find(host, &method.parse().expect("a method"), path) {
            Lookup::Found(found) => Some(found.target.split_once('|').expect("hosts").1),
            _ => None,
        }
    }

    #[test]
    fn the_more_specific_route_goes_first() {
        let routes = ["/...", "/a/...", "/a/b", "/a/:x", "/a/:x/c", "/:y/b", "/a/b/..."];
        let router = router(&routes.map(|route| ("", route))).expect("no conflict");
        for (path, route) in [
            ("/", "/..."),
            ("/x", "/..."),
            ("/a", "/a/..."),
            ("/a/", "/a/..."),
            ("/a/b", "/a/b"),
            ("/a/b/", "/a/b/..."),
            ("/a/z", "/a/:x"),
            ("/a/z/c", "/a/:x/c"),
            ("/a/b/c", "/a/b/..."),
            ("/a/z/d", "/a/..."),
            ("/q/b", "/:y/b"),
            ("/ab", "/..."),
        ] {
            assert_eq!(find(&router, "", "GET", path), Some(route), "{path}");
        }
    }

    #[test]
    fn what_matched_and_what_is_left_add_up_to_the_path() {
        let router = router(&[("", "/shop/:id/..."), ("", "/exact")]).expect("no conflict");
        let Lookup::Found(found) = router.find("", &Method::GET, "/shop/7/x/y") else { panic!("not found") };
        assert_eq!((found.base, found.rest, found.params), ("/shop/7", "/x/y", vec![("id", "7")]));
        let Lookup::Found(found) = router.find("", &Method::GET, "/exact") else { panic!("not found") };
        assert_eq!((found.base, found.rest), ("/exact", ""));
        assert_eq!(router.find("", &Method::GET, "/shop//x"), Lookup::NotFound, "a name is not empty");
    }

    #[test]
    fn hosts_are_looked_at_before_paths() {
        let routes = [
            ("", "/..."),
            ("", "/all"),
            ("*.example", "/below/..."),
            ("*.shop.example", "/..."),
            ("shop.example", "/exact"),
        ];
        let router = router(&routes).expect("no conflict");
        let host_of = |host: &str, path: &str| match router.find(host, &Method::GET, path) {
            Lookup::Found(found) => found.target.clone(),
            _ => "none".to_owned(),
        };
        assert_eq!(host_of("shop.example", "/exact"), "shop.example|/exact");
        assert_eq!(host_of("shop.example", "/below/x"), "*.example|/below/...");
        assert_eq!(host_of("shop.example", "/all"), "|/all", "a route for all hosts is one for this host");
        assert_eq!(host_of("a.shop.example", "/below/x"), "*.shop.example|/...");
        assert_eq!(host_of("example", "/below/x"), "|/...", "not the bare name");
        assert_eq!(host_of("notshop.example", "/exact"), "|/...");
    }

    #[test]
    fn a_route_for_other_methods_is_passed_over() {
        let router = router(&[("", "GET /a"), ("", "PUT,POST /a")]).expect("no conflict");
        assert_eq!(find(&router, "", "HEAD", "/a"), Some("GET /a"));
        assert_eq!(find(&router, "", "POST", "/a"), Some("PUT,POST /a"));
        assert_eq!(
            router.find("", &Method::DELETE, "/a"),
            Lookup::MethodNotAllowed { allow: vec!["GET", "POST", "PUT"] }
        );
        assert_eq!(router.find("", &Method::POST, "/c"), Lookup::NotFound);
    }

    #[test]
    fn routes_for_the_same_requests_are_reported_all_at_once() {
        let routes =
            [("", "/a/:x"), ("", "GET /a/:y"), ("b", "/..."), ("a b", "/..."), ("", "POST /c"), ("", "GET /c")];
        let conflicts = router(&routes).err().expect("conflicts");
        let told: Vec<_> = conflicts.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "routes `/a/:x` and `GET /a/:y` match the same requests to host `*`",
                "routes `/...` and `/...` match the same requests to host `b`",
            ]
        );
    }

    /// How a route ranks for a path, if it matches; less is better.
    fn rank(route: &Route, path: &str) -> Option<Vec<u8>> {
        let segments: Vec<_> = path[1..].split('/').collect();
        let enough = if route.is_prefix {
            route.segments.len() <= segments.len()
        } else {
            route.segments.len() == segments.len()
        };
        let matches = enough
            && route.segments.iter().zip(&segments).all(|(segment, found)| match segment {
                Segment::Literal(literal) => literal == found,
                Segment::Named(_) => !found.is_empty(),
            });
        let ranks = route.segments.iter().map(|segment| match segment {
            Segment::Literal(_) => 0,
            Segment::Named(_) => 1,
        });
        matches.then(|| ranks.chain(route.is_prefix.then_some(2)).collect())
    }

    proptest! {
        #[test]
        fn the_tree_finds_what_comparing_all_routes_does(
            routes in prop::collection::btree_set("(/(a|b|:x)){0,3}(/|/[.]{3})", 1..12),
            paths in prop::collection::vec("(/(a|b|c|)){1,4}", 1..16),
        ) {
            let routes: Vec<Route> = routes.iter().filter_map(|route| route.parse().ok()).collect();
            let table = routes.iter().map(|route| (Vec::new(), route.clone(), route.clone())).collect();
            let Ok(router) = Router::new(table) else { return Ok(()) };
            for path in &paths {
                let best = routes.iter().filter_map(|route| Some((rank(route, path)?, route))).min();
                let found = match router.find("", &Method::GET, path) {
                    Lookup::Found(found) => Some(found.target),
                    _ => None,
                };
                prop_assert_eq!(found, best.map(|(_, route)| route), "{}", path);
            }
        }
    }
}
