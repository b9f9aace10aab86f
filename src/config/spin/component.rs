//! `[component.NAME]`: an app of ours.

use std::{collections::BTreeMap, path::PathBuf};

use prewasm_artifact::Kind;
use prewasm_ext_http::Pattern;
use prewasm_gateway::{Injected, Route};

use super::{
    files::{self, Files},
    manifest::{RawComponent, RawSource},
    variables::Variables,
};
use crate::config::{
    effective::{AppConfig, EnvValue},
    problem::What,
    raw::{RawApp, RawEnv},
    reader::Named,
    resolve::{Program, Resolver},
    secret::Secret,
    setting::Setting,
};

/// The components of a manifest, and what leads to them.
#[derive(Debug)]
pub(super) struct Components {
    named: BTreeMap<String, Component>,
    variables: Variables,
}

#[derive(Debug)]
struct Component {
    name: Setting<String>,
    raw: Setting<RawComponent>,
    routes: Vec<Setting<Route>>,
    /// None as long as no trigger has named it.
    executor: Option<Executor>,
}

/// How a component is called.
#[derive(Clone, Debug, Default)]
pub(super) enum Executor {
    /// As a wasi:http handler, or as what it is.
    #[default]
    Http,
    /// As a command, with these arguments.
    Wagi(Setting<String>),
}

impl Components {
    pub(super) fn new(raw: Named<RawComponent>, variables: Variables) -> Self {
        let one = |(name, raw): (Setting<String>, _)| (name.value.clone(), Component::new(name, raw));
        Self { named: raw.into_iter().map(one).collect(), variables }
    }

    /// Adds a component which a trigger holds, and returns the name that it gets.
    pub(super) fn add_inline(&mut self, trigger: Option<&str>, raw: Setting<RawComponent>) -> Setting<String> {
        let wanted = trigger.map(|trigger| format!("{trigger}-component"));
        let counted = (1..).map(|count| format!("inline-component{count}"));
        let mut names = wanted.into_iter().chain(counted);
        let name = names.find(|name| !self.named.contains_key(name)).unwrap_or_default();
        let name = Setting::new(name, raw.origin);
        self.named.insert(name.value.clone(), Component::new(name.clone(), raw));
        name
    }

    /// Has routes lead to a component.
    pub(super) fn lead(
        &mut self,
        name: &Setting<String>,
        routes: Vec<Setting<Route>>,
        executor: Executor,
        resolver: &mut Resolver<'_>,
    ) {
        match self.named.get_mut(&name.value) {
            Some(component) => {
                component.routes.extend(routes);
                component.executor = Some(executor);
            }
            None => resolver.unknown("component", name, self.named.keys().map(String::as_str)),
        }
    }

    /// The apps: those components which a trigger has named.
    pub(super) fn resolve(self, resolver: &mut Resolver<'_>) -> Vec<AppConfig> {
        let Self { named, variables } = self;
        named.into_values().filter_map(|component| component.resolve(&variables, resolver)).collect()
    }
}

impl Component {
    fn new(name: Setting<String>, raw: Setting<RawComponent>) -> Self {
        Self { name, raw, routes: Vec::new(), executor: None }
    }

    fn resolve(self, variables: &Variables, resolver: &mut Resolver<'_>) -> Option<AppConfig> {
        let executor = self.executor?;
        let origin = self.raw.origin;
        let raw = self.raw.value;
        let files = files::resolve(raw.files, raw.exclude_files, resolver);
        let outbound = outbound(raw.allowed_outbound_hosts, variables, resolver);
        let variables = component_variables(raw.variables, variables, resolver);
        let source = raw.source.and_then(|source| local(source, resolver));
        let artifact = source.as_ref().and_then(|source| resolver.artifact(source));
        if let (Executor::Wagi(argv), Some(artifact)) = (&executor, &artifact)
            && !is_command(artifact.kind())
        {
            let reason = format!("a WAGI program is a command, and this is a {}", artifact.kind());
            resolver.wrong("executor", argv.origin, reason);
        }
        let program = Program {
            name: Some(self.name),
            source: source.map(|source| source.map(|path| resolver.path(&path))),
            artifact,
            reach: resolver.reach(Setting::new(self.routes, origin), None),
        };
        let app = RawApp {
            env: raw.environment.map(|named| named.map(texts)),
            outbound,
            argv: match executor {
                Executor::Http => None,
                Executor::Wagi(argv) => Some(argv),
            },
            injected_headers: Some(Setting::new(Injected::Spin, origin)),
            ..RawApp::default()
        };
        let app = resolver.checked_app(app, program)?;
        let Files { dirs, mount } = files;
        Some(AppConfig { dirs, mount, variables, ..app })
    }
}

fn local(source: Setting<RawSource>, resolver: &mut Resolver<'_>) -> Option<Setting<PathBuf>> {
    match source.value {
        RawSource::File(path) => Some(Setting::new(path, source.origin)),
        RawSource::Remote => {
            let what = "a source which is not a file".to_owned();
            resolver.report(source.origin, What::NotSupported { what, remedy: Some("download it, and name the file") });
            None
        }
    }
}

fn is_command(kind: Kind) -> bool {
    matches!(kind, Kind::Command | Kind::Precompiled)
}

/// Variables of the environment are not templates in Spin either.
fn texts(named: Named<String>) -> Named<RawEnv> {
    named.into_iter().map(|(name, value)| (name, value.map(RawEnv::Text))).collect()
}

fn outbound(
    hosts: Option<Setting<Vec<Setting<String>>>>,
    variables: &Variables,
    resolver: &mut Resolver<'_>,
) -> Option<Setting<Vec<Setting<Pattern>>>> {
    let hosts = hosts?;
    let patterns = hosts.value.iter().filter_map(|host| pattern(host, variables, resolver)).collect();
    Some(Setting::new(patterns, hosts.origin))
}

fn host_of(pattern: &str) -> Option<&str> {
    let (_, rest) = pattern.split_once("://")?;
    rest.split([':', '/']).next()
}

/// A host is shown in logs and messages, so it cannot be secret.
fn pattern(host: &Setting<String>, variables: &Variables, resolver: &mut Resolver<'_>) -> Option<Setting<Pattern>> {
    const KEY: &str = "allowed_outbound_hosts";
    let filled = variables.fill(KEY, host, resolver)?;
    if let Some(name @ ("self" | "self.alt")) = host_of(&filled.text) {
        let what = format!("host `{name}`");
        let remedy = Some("name the component: `http://NAME.spin.internal`");
        resolver.report(host.origin, What::NotSupported { what, remedy });
        return None;
    }
    let parsed = match filled.secrets.first() {
        Some(name) => Err(format!("a host cannot be secret, and `{name}` is")),
        None => filled.text.parse::<Pattern>().map_err(|error| error.to_string()),
    };
    match parsed {
        Ok(pattern) => Some(Setting::new(pattern, host.origin)),
        Err(reason) => {
            resolver.wrong(KEY, host.origin, reason);
            None
        }
    }
}

fn component_variables(
    raw: Option<Setting<Named<String>>>,
    variables: &Variables,
    resolver: &mut Resolver<'_>,
) -> Vec<(String, Setting<EnvValue>)> {
    let named = raw.map(|named| named.value).unwrap_or_default();
    let one = |(name, template): (Setting<String>, Setting<String>)| {
        let filled = variables.fill(&name.value, &template, resolver)?;
        let value = match &filled.secrets[..] {
            [] => EnvValue::Plain(filled.text),
            [name] if filled.is_whole => {
                let secret = Secret::of_variable(name);
                EnvValue::Secret(secret.unwrap_or_else(|_| Secret::derived(filled.text, filled.secrets)))
            }
            _ => EnvValue::Secret(Secret::derived(filled.text, filled.secrets)),
        };
        Some((name.value, Setting::new(value, template.origin)))
    };
    named.into_iter().filter_map(one).collect()
}
