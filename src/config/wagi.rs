//! WAGI's `modules.toml`: each module is a command on a route.
//!
//! What WAGI 0.8 reads is read, and what earlier versions had besides (`environment`, `host`, `default_host`). Unlike
//! there, the most precise route wins, whatever the order of the file; and as there, paths are relative to where the
//! server was started.

use std::{collections::BTreeMap, env, path::PathBuf};

use http::{HeaderMap, StatusCode};
use prewasm_artifact::Kind;
use prewasm_ext_http::Pattern;
use prewasm_gateway::HostPattern;

use super::{
    effective::{AppConfig, Reach, ResponseConfig},
    problem::What,
    raw::{RawApp, RawDirectory, RawEnv, RawLimits, RawServer},
    reader::{Named, Record, Table},
    resolve::{Parts, Program, Resolver, server_config},
    setting::Setting,
    spin::parse_route,
};
use crate::{exit::chain, program_name::program_name};

/// What WAGI answers itself.
const HEALTH: &str = "/healthz";
/// The arguments where the file gives none.
const ARGV: &str = "${SCRIPT_NAME} ${ARGS}";
/// Allows everything, in the notation of WAGI.
const ALLOW_ALL: &str = "insecure:allow-all";

type Written<T> = Option<Setting<T>>;

/// `[[module]]`.
#[derive(Clone, Debug)]
struct RawModule {
    route: Written<String>,
    module: Written<String>,
    host: Written<HostPattern>,
    argv: Written<String>,
    environment: Written<Named<String>>,
    volumes: Written<Named<PathBuf>>,
    allowed_hosts: Written<Vec<Setting<String>>>,
    http_max_concurrency: Written<u32>,
}

impl Record for RawModule {
    fn take(table: &mut Table<'_>) -> Self {
        table.refuse("bindle_server", Some("download the module, and name the file"));
        table.ignore("repository");
        if let Some(entrypoint) = table.optional::<String>("entrypoint").filter(|entry| entry.value != "_start") {
            let what = format!("entrypoint `{}`", entrypoint.value);
            table.report(entrypoint.origin, What::NotSupported { what, remedy: Some("`_start` is") });
        }
        Self {
            route: table.required("route"),
            module: table.required("module"),
            host: table.optional("host"),
            argv: table.optional("argv"),
            environment: table.optional("environment"),
            volumes: table.optional("volumes"),
            allowed_hosts: table.optional("allowed_hosts"),
            http_max_concurrency: table.optional("http_max_concurrency"),
        }
    }
}

/// Takes the whole file.
pub fn resolve(table: &mut Table<'_>, flags: RawServer, resolver: &mut Resolver<'_>) -> Parts {
    let default_host = table.optional::<HostPattern>("default_host");
    let modules = table.optional::<Vec<Setting<RawModule>>>("module").map(|modules| modules.value);
    let mut names = BTreeMap::new();
    let apps: Vec<_> = modules
        .unwrap_or_default()
        .into_iter()
        .filter_map(|module| app(module, default_host.as_ref(), &mut names, resolver))
        .collect();
    let responses = vec![health(&apps)];
    Parts { server: server_config(RawServer::default(), flags), apps, files: Vec::new(), responses }
}

fn app(
    module: Setting<RawModule>,
    default_host: Option<&Setting<HostPattern>>,
    names: &mut BTreeMap<String, usize>,
    resolver: &mut Resolver<'_>,
) -> Option<AppConfig> {
    let origin = module.origin;
    let module = module.value;
    let route = module.route.and_then(|route| match route.value.as_str() {
        HEALTH => {
            resolver.report(route.origin, What::ReservedRoute { route: route.value, reserved: HEALTH });
            None
        }
        path => parse_route(path, "route", route.origin, resolver),
    });
    let source = module.module.and_then(|module| source(module, resolver));
    let host = module.host.or_else(|| default_host.cloned());
    let raw = RawApp {
        env: module.environment.map(|named| named.map(texts)),
        argv: Some(Setting::or(module.argv, ARGV.to_owned())),
        dirs: module.volumes.map(|named| named.map(directories)),
        outbound: module.allowed_hosts.map(|hosts| hosts.map(|hosts| patterns(&hosts, resolver))),
        limits: module.http_max_concurrency.map(|count| {
            let origin = count.origin;
            Setting::new(RawLimits { outbound_connections: Some(count), ..RawLimits::default() }, origin)
        }),
        ..RawApp::default()
    };
    let artifact = source.as_ref().and_then(|source| resolver.artifact(source));
    if let (Some(source), Some(artifact)) = (&source, &artifact)
        && !matches!(artifact.kind(), Kind::Command | Kind::Precompiled)
    {
        let reason = format!("a WAGI module is a command, and this is a {}", artifact.kind());
        resolver.wrong("module", source.origin, reason);
    }
    let hosts = host.map(|host| Setting::new(vec![host.clone()], host.origin));
    let program = Program {
        name: source.as_ref().map(|source| Setting::new(name(source, names), origin)),
        reach: resolver.reach(Setting::new(route.into_iter().collect(), origin), hosts),
        source,
        artifact,
    };
    resolver.checked_app(raw, program)
}

/// The name of the file; a module may have several routes, and is counted then.
fn name(source: &Setting<PathBuf>, names: &mut BTreeMap<String, usize>) -> String {
    let file = program_name(&source.value);
    let stem = file.split('.').next().unwrap_or(&file).to_owned();
    let count = names.entry(stem.clone()).or_insert(0);
    *count += 1;
    if *count == 1 { stem } else { format!("{stem}-{count}") }
}

/// A path, or a URL of one.
fn source(module: Setting<String>, resolver: &mut Resolver<'_>) -> Option<Setting<PathBuf>> {
    let origin = module.origin;
    let path = match module.value.split_once(':') {
        Some(("file", path)) => path.strip_prefix("//").unwrap_or(path),
        Some((scheme @ ("bindle" | "parcel" | "oci" | "http" | "https"), _)) => {
            let what = format!("a module with `{scheme}:`");
            let remedy = Some("download the module, and name the file");
            resolver.report(origin, What::NotSupported { what, remedy });
            return None;
        }
        _ => &module.value,
    };
    Some(Setting::new(from_here(path.into()), origin))
}

/// A path that is relative to where the server was started.
fn from_here(path: PathBuf) -> PathBuf {
    // Only if the current folder is gone it cannot be told; then the path will not be found either.
    env::current_dir().map_or_else(|_| path.clone(), |here| here.join(&path))
}

fn texts(named: Named<String>) -> Named<RawEnv> {
    named.into_iter().map(|(name, value)| (name, value.map(RawEnv::Text))).collect()
}

/// WAGI lets modules write to their volumes.
fn directories(volumes: Named<PathBuf>) -> Vec<Setting<RawDirectory>> {
    let one = |(guest, host): (Setting<String>, Setting<PathBuf>)| {
        let origin = guest.origin;
        let directory = RawDirectory {
            host: Some(host.map(from_here)),
            guest: Some(guest),
            writable: Some(Setting::new(true, origin)),
        };
        Setting::new(directory, origin)
    };
    volumes.into_iter().map(one).collect()
}

/// URLs without paths.
fn patterns(hosts: &[Setting<String>], resolver: &mut Resolver<'_>) -> Vec<Setting<Pattern>> {
    hosts.iter().flat_map(|host| pattern(host, resolver)).collect()
}

fn pattern(host: &Setting<String>, resolver: &mut Resolver<'_>) -> Vec<Setting<Pattern>> {
    let written = match host.value.as_str() {
        ALLOW_ALL => vec!["http://*:*", "https://*:*"],
        url => vec![url],
    };
    let mut parsed = Vec::new();
    for url in written {
        match url.parse() {
            Ok(pattern) => parsed.push(Setting::new(pattern, host.origin)),
            Err(error) => {
                resolver.wrong("allowed_hosts", host.origin, chain(&error));
            }
        }
    }
    parsed
}

/// On all hosts: a route of a host would hide one that is for all.
fn health(apps: &[AppConfig]) -> ResponseConfig {
    let mut hosts: Vec<HostPattern> = Vec::new();
    for host in apps.iter().flat_map(|app| &app.reach.hosts.value) {
        if !hosts.contains(host) {
            hosts.push(host.clone());
        }
    }
    if !hosts.is_empty() {
        hosts.extend("*".parse::<HostPattern>());
    }
    let route = HEALTH.parse().ok().map(Setting::default_of);
    ResponseConfig {
        reach: Reach { routes: Setting::default_of(route.into_iter().collect()), hosts: Setting::default_of(hosts) },
        status: Setting::default_of(StatusCode::OK),
        headers: Setting::default_of(HeaderMap::new()),
        body: Setting::default_of("OK".to_owned()),
    }
}
