//! `[[trigger.http]]`: a route to a component, or to a fixed response.

use prewasm_gateway::Route;

use super::{
    RESERVED,
    component::{Components, Executor},
    manifest::{RawComponentSpec, RawExecutor, RawRoute, RawStaticResponse, RawTrigger},
};
use crate::{
    config::{
        effective::ResponseConfig,
        problem::What,
        resolve::Resolver,
        setting::{Origin, Setting},
    },
    exit::chain,
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
            resolver.wrong("trigger.http", origin, "either `component` or `static_response` is expected");
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
            resolver.wrong(key, origin, chain(&error));
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
                resolver.wrong("type", kind.origin, format_args!("`{}` is none of `http`, `wagi`", kind.value));
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
        reach: resolver.reach(Setting::new(routes, origin), None),
        status: resolver.status("status_code", Setting::or(status_code, 200))?,
        headers: headers.map(|named| resolver.headers(&named)),
        body: Setting::or(body, String::new()),
    })
}
