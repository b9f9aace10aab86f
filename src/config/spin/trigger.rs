//! `[[trigger.http]]`: a route to a component, or to a fixed response.

use prewasm_gateway::Route;

use super::{
    RESERVED,
    component::{Components, Executor},
    manifest::{RawComponentSpec, RawExecutor, RawRoute, RawStaticResponse, RawTrigger},
};
use crate::config::{
    effective::{Reach, ResponseConfig},
    problem::What,
    resolve::Resolver,
    setting::{Origin, Setting},
};

/// The arguments of a WAGI command, where the manifest gives none.
const WAGI_ARGV: &str = "${SCRIPT_NAME} ${ARGS}";

/// Adds the route to its component, or returns the response.
pub(super) fn resolve(
    trigger: Setting<RawTrigger>,
    components: &mut Components,
    resolver: &mut Resolver<'_>,
) -> Option<ResponseConfig> {
    let origin = trigger.origin;
    let trigger = trigger.value;
    let id = trigger.id.map(|id| id.value);
    let routes: Vec<_> = trigger.route.and_then(|written| route(written, resolver)).into_iter().collect();
    let executor = trigger.executor.map(|written| executor(written.value, resolver)).unwrap_or_default();
    match (trigger.component, trigger.static_response) {
        (Some(component), None) => {
            let name = match component.value {
                RawComponentSpec::Named(name) => Setting::new(name, component.origin),
                RawComponentSpec::Inline(raw) => {
                    components.add_inline(id.as_deref(), Setting::new(*raw, component.origin))
                }
            };
            components.lead(&name, routes, executor, resolver);
            None
        }
        (None, Some(raw)) => response(raw, routes, resolver),
        _ => {
            let reason = "either `component` or `static_response` is expected".to_owned();
            resolver.report(origin, What::Value { key: "trigger.http".to_owned(), reason });
            None
        }
    }
}

/// A private trigger has no route.
fn route(written: Setting<RawRoute>, resolver: &mut Resolver<'_>) -> Option<Setting<Route>> {
    let origin = written.origin;
    let RawRoute::Path(path) = written.value else { return None };
    if path.starts_with(RESERVED) {
        resolver.report(origin, What::ReservedRoute { route: path, reserved: RESERVED });
        return None;
    }
    parse_route(&path, "route", origin, resolver)
}

/// Spin's notation: a slash in front may be left out, one at the end means nothing, and `/*` is `/...`.
pub(in crate::config) fn parse_route(
    path: &str,
    key: &str,
    origin: Origin,
    resolver: &mut Resolver<'_>,
) -> Option<Setting<Route>> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let path = path.strip_suffix('/').unwrap_or(path);
    let path = match path.strip_suffix("/*") {
        Some(prefix) => format!("/{prefix}/..."),
        None if path == "*" => "/...".to_owned(),
        None => format!("/{path}"),
    };
    match path.parse() {
        Ok(route) => Some(Setting::new(route, origin)),
        Err(error) => {
            let reason = crate::exit::chain(&error);
            resolver.report(origin, What::Value { key: key.to_owned(), reason });
            None
        }
    }
}

fn executor(raw: RawExecutor, resolver: &mut Resolver<'_>) -> Executor {
    let kind = raw.kind.as_ref().map(|kind| kind.value.as_str());
    match kind {
        Some("wagi") => {
            if let Some(entrypoint) = raw.entrypoint.filter(|entrypoint| entrypoint.value != "_start") {
                let what = format!("entrypoint `{}`", entrypoint.value);
                resolver.report(entrypoint.origin, What::NotSupported { what, remedy: Some("`_start` is") });
            }
            let origin = raw.kind.map_or(Origin::Default, |kind| kind.origin);
            Executor::Wagi(raw.argv.unwrap_or_else(|| Setting::new(WAGI_ARGV.to_owned(), origin)))
        }
        Some("http" | "spin") | None => Executor::Http,
        Some(_) => {
            if let Some(kind) = &raw.kind {
                let reason = format!("`{}` is none of `http`, `wagi`", kind.value);
                resolver.report(kind.origin, What::Value { key: "type".to_owned(), reason });
            }
            Executor::Http
        }
    }
}

fn response(
    raw: Setting<RawStaticResponse>,
    routes: Vec<Setting<Route>>,
    resolver: &mut Resolver<'_>,
) -> Option<ResponseConfig> {
    let origin = raw.origin;
    let RawStaticResponse { status_code, headers, body } = raw.value;
    let headers = headers.unwrap_or_else(|| Setting::default_of(Vec::new()));
    Some(ResponseConfig {
        reach: Reach { routes: Setting::new(routes, origin), hosts: Setting::default_of(Vec::new()) },
        status: resolver.status(Setting::or(status_code, 200))?,
        headers: headers.map(|named| resolver.headers(&named)),
        body: Setting::or(body, String::new()),
    })
}
