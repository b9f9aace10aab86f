//! An app: its program, and everything that is said about it.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use prewasm_artifact::{Artifact, HttpVersion, Kind};
use prewasm_ext_http::{Access, Authorities, Directory, imports};
use prewasm_gateway::{Injected, Mode, objections, provides};

use super::{
    Resolver,
    defaults::{elements, limits, list, map, plain, reuse},
};
use crate::{
    config::{
        effective::{AppConfig, EnvValue, Reach, ReuseConfig},
        problem::What,
        raw::{RawApp, RawDirectory, RawEnv},
        reader::Named,
        secret::Secret,
        setting::{Origin, Setting},
    },
    exit::chain,
};

/// What is known of an app besides its options; what is missing was reported.
#[derive(Debug)]
pub struct Program {
    /// Its name.
    pub name: Option<Setting<String>>,
    /// Where its program is.
    pub source: Option<Setting<PathBuf>>,
    /// Its program.
    pub artifact: Option<Arc<Artifact>>,
    /// What leads to it.
    pub reach: Reach,
}

impl Resolver<'_> {
    /// An `[[app]]`.
    pub(super) fn app_of_file(
        &mut self,
        app: RawApp,
        origin: Origin,
        names: &mut BTreeMap<String, Origin>,
    ) -> Option<AppConfig> {
        if let Some(name) = &app.name {
            self.check_name(name, names);
            if app.routes.is_none() {
                self.report(origin, What::NoRoutes { name: name.value.clone() });
            }
        }
        let routes = app.routes.clone().unwrap_or_else(|| Setting::new(Vec::new(), origin));
        let program = Program {
            name: app.name.clone(),
            artifact: app.source.as_ref().and_then(|source| self.artifact(source)),
            source: app.source.clone().map(|source| source.map(|path| self.path(&path))),
            reach: self.reach(routes, app.hosts.clone()),
        };
        self.checked_app(app, program)
    }

    /// Checks that the name can be used, and that no other app has it.
    fn check_name(&mut self, name: &Setting<String>, names: &mut BTreeMap<String, Origin>) {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.value.is_empty() || !name.value.chars().all(allowed) {
            let reason = format!("`{}` is no name of an app: letters, digits, `-`, `_` and `.` are", name.value);
            self.wrong("name", name.origin, reason);
        }
        match names.get(&name.value) {
            Some(Origin::File(first)) => {
                let what = What::DuplicateApp { name: name.value.clone(), first: *first };
                self.report(name.origin, what);
            }
            _ => drop(names.insert(name.value.clone(), name.origin)),
        }
    }

    /// Reads a program.
    pub fn artifact(&mut self, source: &Setting<PathBuf>) -> Option<Arc<Artifact>> {
        if let Some((scheme, _)) = source.value.to_str().and_then(|text| text.split_once("://")) {
            let what = format!("a source with `{scheme}://`");
            self.report(source.origin, What::NotSupported { what, remedy: Some("name a file") });
            return None;
        }
        let path = self.path(&source.value);
        self.watch(path.clone());
        if let Some(artifact) = self.artifacts.get(&path) {
            return Some(Arc::clone(artifact));
        }
        match Artifact::read(&path) {
            Ok(artifact) => {
                let artifact = Arc::new(artifact);
                self.artifacts.insert(path, Arc::clone(&artifact));
                Some(artifact)
            }
            Err(error) => {
                self.report(source.origin, What::Source(chain(&error)));
                None
            }
        }
    }

    /// An app with everything that the gateway would refuse about its program: it is found before anything starts.
    pub fn checked_app(&mut self, raw: RawApp, program: Program) -> Option<AppConfig> {
        let origin = program.source.as_ref().map(|source| source.origin);
        let mode = raw.mode.as_ref().map_or(Mode::default(), |mode| mode.value);
        let values = limits(raw.limits.clone()).values();
        if let (Some(artifact), Some(origin)) = (&program.artifact, origin)
            // What precompiled code is, only loading it tells.
            && artifact.kind() != Kind::Precompiled
        {
            for objection in objections(artifact, artifact.kind(), mode, &values) {
                self.report(origin, What::Source(chain(&objection)));
            }
            self.check_imports(artifact, origin);
        }
        self.app(raw, program)
    }

    fn check_imports(&mut self, artifact: &Artifact, origin: Origin) {
        let is_component = artifact.kind().is_component();
        for import in artifact.imports() {
            let reason = match is_component {
                true => (!provides(&import.module)).then(|| format!("interface `{import}` is not provided")),
                false => imports::check(import).err().map(|error| chain(&error)),
            };
            if let Some(reason) = reason {
                self.report(origin, What::Source(format!("`{}`: {reason}", artifact.origin())));
            }
        }
    }

    /// Everything about an app.
    pub fn app(&mut self, raw: RawApp, program: Program) -> Option<AppConfig> {
        let Program { name, source, artifact, reach } = program;
        let tls_ca = list(raw.tls_ca);
        let authorities = self.authorities(&tls_ca);
        let reuse_origin = raw.reuse.as_ref().map(|reuse| reuse.origin);
        let reuse = reuse(raw.reuse);
        if let (Some(artifact), Some(origin)) = (&artifact, reuse_origin) {
            self.check_reuse(&reuse, artifact.kind(), origin);
        }
        let env = self.variables(raw.env);
        let variables = self.variables(raw.variables);
        let dirs = elements(raw.dirs).into_iter().filter_map(|dir| self.directory(dir)).collect();
        Some(AppConfig {
            name: name?,
            source: source?,
            artifact: artifact?,
            reach,
            mode: Setting::or(raw.mode, Mode::default()),
            env,
            variables,
            args: plain(list(raw.args)),
            argv: raw.argv,
            dirs,
            mount: None,
            outbound: plain(list(raw.outbound)),
            resolve: map(raw.resolve),
            tls_ca: plain(tls_ca).map(|paths| paths.iter().map(|path| self.path(path)).collect()),
            authorities,
            limits: limits(raw.limits),
            reuse,
            allow_precompiled: Setting::or(raw.allow_precompiled, false),
            injected: Setting::or(raw.injected_headers, Injected::None),
        })
    }

    fn authorities(&mut self, files: &Setting<Vec<Setting<PathBuf>>>) -> Authorities {
        let mut authorities = Authorities::default();
        for file in &files.value {
            let path = self.path(&file.value);
            if let Err(error) = authorities.add_file(&path) {
                self.report(file.origin, What::Path(chain(&error)));
            }
            self.watch(path);
        }
        authorities
    }

    fn check_reuse(&mut self, reuse: &ReuseConfig, kind: Kind, origin: Origin) {
        let is_reused = reuse.requests.value > 1 || reuse.concurrent.value > 1;
        if is_reused && !matches!(kind, Kind::HttpComponent(HttpVersion::V03) | Kind::Precompiled) {
            let reason = format!("only instances of wasi:http 0.3 components can be reused, and this is a {kind}");
            self.wrong("reuse", origin, reason);
        }
    }

    fn variables(&mut self, raw: Option<Setting<Named<RawEnv>>>) -> Vec<(String, Setting<EnvValue>)> {
        let variables = raw.map(|raw| raw.value).unwrap_or_default();
        variables.into_iter().filter_map(|(name, value)| self.variable(name, value)).collect()
    }

    fn variable(&mut self, name: Setting<String>, value: Setting<RawEnv>) -> Option<(String, Setting<EnvValue>)> {
        if name.value.is_empty() || name.value.contains(['=', '\0']) {
            self.wrong(&name.value, name.origin, "this is no name of a variable");
        }
        let origin = value.origin;
        let read = match value.value {
            RawEnv::Text(text) => {
                if text.contains('\0') {
                    self.wrong(&name.value, origin, "a value cannot hold NUL");
                }
                return Some((name.value, Setting::new(EnvValue::Plain(text), origin)));
            }
            RawEnv::Variable(variable) => Secret::of_variable(&variable),
            RawEnv::File(path) => {
                let path = self.path(&path);
                self.watch(path.clone());
                Secret::of_file(path)
            }
        };
        match read {
            Ok(secret) => Some((name.value, Setting::new(EnvValue::Secret(secret), origin))),
            Err(error) => {
                self.report(origin, What::Secret { key: name.value, reason: error.to_string() });
                None
            }
        }
    }

    fn directory(&mut self, raw: Setting<RawDirectory>) -> Option<Setting<Directory>> {
        let RawDirectory { host, guest, writable } = raw.value;
        let host = host?.map(|path| self.path(&path));
        self.check_directory(&host.value, host.origin);
        let guest = guest?;
        if guest.value.is_empty() {
            self.wrong("guest", guest.origin, "a path is expected");
        }
        let access = if writable.is_some_and(|writable| writable.value) { Access::ReadWrite } else { Access::ReadOnly };
        Some(Setting::new(Directory { host: host.value, guest: guest.value, access }, raw.origin))
    }
}
