//! `spin.toml`, version 2, as it is.
//!
//! Its HTTP subset becomes a configuration of ours. What it has besides, and we do not, is named with its place before
//! anything starts. Tables for other tools (`build`, `tool`, `profile`, `targets`) are passed over.

mod component;
mod files;
mod manifest;
mod template;
mod trigger;
mod variables;

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderValue, StatusCode, header};

pub(super) use trigger::parse_route;

use self::{
    component::Components,
    manifest::{RawApplication, RawTriggers, RawVariable},
    variables::Variables,
};
use super::{
    effective::{Reach, ResponseConfig},
    problem::What,
    raw::RawServer,
    reader::{Named, Table},
    resolve::{Parts, Resolver, server_config},
    setting::Setting,
};

/// What Spin itself answers.
const RESERVED: &str = "/.well-known/spin/";

/// Takes the whole manifest.
pub fn resolve(table: &mut Table<'_>, flags: RawServer, resolver: &mut Resolver<'_>) -> Parts {
    if !check_version(table, resolver) {
        table.ignore_rest();
        return Parts::nothing();
    }
    let application = table.required::<RawApplication>("application");
    let variables = table.optional::<Named<RawVariable>>("variables");
    let variables = Variables::new(variables.map(|named| named.value).unwrap_or_default(), resolver);
    let raw = table.optional("component").map(|named| named.value).unwrap_or_default();
    let mut components = Components::new(raw, variables);
    let mut responses = application.map(|application| well_known(&application.value)).unwrap_or_default();
    if let Some(triggers) = table.required::<RawTriggers>("trigger") {
        for trigger in triggers.value.http {
            responses.extend(trigger::resolve(trigger, &mut components, resolver));
        }
    }
    Parts {
        server: server_config(RawServer::default(), flags),
        apps: components.resolve(resolver),
        files: Vec::new(),
        responses,
    }
}

/// Whether the manifest is of the version that is read: another one has other tables.
fn check_version(table: &mut Table<'_>, resolver: &mut Resolver<'_>) -> bool {
    let (origin, version) = match (table.origin_of("spin_version"), table.optional::<u64>("spin_manifest_version")) {
        (Some(origin), _) => (origin, 1),
        (None, Some(version)) => (version.origin, version.value),
        (None, None) => return false,
    };
    if version != 2 {
        let what = format!("version {version} of Spin's manifest");
        let remedy = Some("version 2 is; `spin doctor` updates older manifests");
        resolver.report(origin, What::NotSupported { what, remedy });
    }
    version == 2
}

/// `health`, `info`, and nothing else below them.
fn well_known(application: &RawApplication) -> Vec<ResponseConfig> {
    let info = [("name", &application.name), ("version", &application.version)];
    let info: BTreeMap<_, _> =
        info.into_iter().filter_map(|(key, value)| Some((key, value.as_ref()?.value.as_str()))).collect();
    let json = HeaderValue::from_static("application/json");
    vec![
        response("health", StatusCode::OK, HeaderMap::new(), "OK".to_owned()),
        response(
            "info",
            StatusCode::OK,
            HeaderMap::from_iter([(header::CONTENT_TYPE, json)]),
            serde_json::json!(info).to_string(),
        ),
        response("...", StatusCode::NOT_FOUND, HeaderMap::new(), String::new()),
    ]
}

fn response(name: &str, status: StatusCode, headers: HeaderMap, body: String) -> ResponseConfig {
    let route = format!("{RESERVED}{name}").parse().ok().map(Setting::default_of);
    ResponseConfig {
        reach: Reach {
            routes: Setting::default_of(route.into_iter().collect()),
            hosts: Setting::default_of(Vec::new()),
        },
        status: Setting::default_of(status),
        headers: Setting::default_of(headers),
        body: Setting::default_of(body),
    }
}
