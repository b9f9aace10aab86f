//! From what was written to what holds: flags before variables before the file before defaults, everything checked.
//!
//! That rule is here and nowhere else: clap has settled flags against variables, [`resolve`] puts them over the file, and
//! [`Setting::or`] fills in defaults.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZero,
    path::{Path, PathBuf},
    sync::Arc,
};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use prewasm_artifact::{Artifact, ArtifactError, Kind};
use prewasm_ext_http::{Access, Authorities, Directory, OutboundLimits};
use prewasm_gateway::{HostPattern, Injected, Limits, Mode, Reuse, Route, ServerOptions, objections};

use super::{
    effective::{
        AppConfig, Config, EnvValue, FilesConfig, LimitsConfig, Reach, ResponseConfig, ReuseConfig, ServerConfig,
    },
    problem::{ConfigError, Problem, Problems, What},
    raw::{RawApp, RawConfig, RawDirectory, RawEnv, RawFiles, RawLimits, RawRespond, RawReuse, RawServer},
    reader::Named,
    routes::check_routes,
    secret::Secret,
    setting::{Origin, Setting},
    suggest::closest,
    values::Size,
};
use crate::exit::chain;

/// The configuration of a single program, on all hosts and all paths.
///
/// # Errors
/// [`ConfigError`], with all problems.
pub fn single(server: RawServer, app: RawApp, artifact: Artifact) -> Result<Config, ConfigError> {
    let mut resolver = Resolver::new(Path::new(""));
    let name = Setting::default_of("app".to_owned());
    let source = Setting::default_of(artifact.origin().into());
    let everything = "/...".parse::<Route>().ok().map(Setting::default_of);
    let reach = Reach {
        routes: Setting::default_of(everything.into_iter().collect()),
        hosts: Setting::default_of(Vec::new()),
    };
    let app = resolver.app(app, Program { name, source, artifact: Arc::new(artifact), reach });
    let mut server = server_config(RawServer::default(), server);
    // There is no other app to share the process with.
    server.instances = app.limits.instances.clone();
    resolver.finish(None, Parts { server, apps: vec![app], files: Vec::new(), responses: Vec::new() })
}

/// What a `prewasm.toml` says, with `flags` over it.
pub fn resolve(raw: RawConfig, flags: RawServer, resolver: &mut Resolver<'_>) -> Parts {
    let server = server_config(raw.server.map(|server| server.value).unwrap_or_default(), flags);
    let apps = resolver.apps(elements(raw.app));
    let files = elements(raw.files).into_iter().filter_map(|files| resolver.files(files.value)).collect();
    let responses = elements(raw.respond).into_iter().filter_map(|respond| resolver.response(respond.value)).collect();
    Parts { server, apps, files, responses }
}

/// What a configuration is made of, before it is known to be right as a whole.
#[derive(Debug)]
pub struct Parts {
    /// The process.
    pub server: ServerConfig,
    /// The apps.
    pub apps: Vec<AppConfig>,
    /// Folders of files.
    pub files: Vec<FilesConfig>,
    /// Fixed responses.
    pub responses: Vec<ResponseConfig>,
}

/// What is known of an app before its options are looked at.
#[derive(Debug)]
pub struct Program {
    /// Its name.
    pub name: Setting<String>,
    /// Where its program is.
    pub source: Setting<PathBuf>,
    /// Its program.
    pub artifact: Arc<Artifact>,
    /// What leads to it.
    pub reach: Reach,
}

/// Turns parts of a configuration into what holds, and collects what is wrong.
#[derive(Debug)]
pub struct Resolver<'a> {
    /// What paths are relative to.
    folder: &'a Path,
    problems: Vec<Problem>,
    watched: BTreeSet<PathBuf>,
    artifacts: BTreeMap<PathBuf, Arc<Artifact>>,
}

impl<'a> Resolver<'a> {
    /// Starts without problems; paths are relative to `folder`.
    pub fn new(folder: &'a Path) -> Self {
        Self { folder, problems: Vec::new(), watched: BTreeSet::new(), artifacts: BTreeMap::new() }
    }

    /// Reports a problem.
    pub fn report(&mut self, origin: Origin, what: What) {
        self.problems.push(Problem { origin, what });
    }

    /// Adds problems which reading has found.
    pub fn add(&mut self, problems: Vec<Problem>) {
        self.problems.extend(problems);
    }

    /// A path of the configuration, as the system knows it.
    pub fn path(&self, written: &Path) -> PathBuf {
        self.folder.join(written)
    }

    /// Has a file watched.
    pub fn watch(&mut self, path: PathBuf) {
        self.watched.insert(path);
    }

    /// The configuration, if nothing is wrong with it.
    ///
    /// # Errors
    /// [`ConfigError`], with all problems.
    pub fn finish(mut self, file: Option<&Path>, parts: Parts) -> Result<Config, ConfigError> {
        let Parts { server, apps, files, responses } = parts;
        let reaches = apps.iter().map(|app| &app.reach);
        let reaches = reaches.chain(files.iter().map(|files| &files.reach));
        self.problems.extend(check_routes(reaches.chain(responses.iter().map(|response| &response.reach))));
        self.watched.extend(file.map(Path::to_owned));
        match Problems::new(file.map(Path::to_owned), self.problems) {
            Some(problems) => Err(ConfigError::Invalid(problems)),
            None => Ok(Config { server, apps, files, responses, watched: self.watched }),
        }
    }

    fn apps(&mut self, raw: Vec<Setting<RawApp>>) -> Vec<AppConfig> {
        let mut names = BTreeMap::new();
        raw.into_iter().filter_map(|app| self.app_of_file(app.value, app.origin, &mut names)).collect()
    }

    fn app_of_file(&mut self, app: RawApp, origin: Origin, names: &mut BTreeMap<String, Origin>) -> Option<AppConfig> {
        if let Some(name) = &app.name {
            self.check_name(name, names);
            if app.routes.is_none() {
                self.report(origin, What::NoRoutes { name: name.value.clone() });
            }
        }
        let artifact = app.source.as_ref().and_then(|source| self.artifact(source));
        let reach = reach(app.routes.clone().unwrap_or_else(|| Setting::new(Vec::new(), origin)), app.hosts.clone());
        let (name, source) = (app.name.clone()?, app.source.clone()?.map(|path| self.path(&path)));
        Some(self.checked_app(app, Program { name, source, artifact: artifact?, reach }))
    }

    /// Checks that the name can be used, and that no other app has it.
    pub fn check_name(&mut self, name: &Setting<String>, names: &mut BTreeMap<String, Origin>) {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.value.is_empty() || !name.value.chars().all(allowed) {
            let reason = format!("`{}` is no name of an app: letters, digits, `-`, `_` and `.` are", name.value);
            self.report(name.origin, What::Value { key: "name".to_owned(), reason });
        }
        match names.insert(name.value.clone(), name.origin) {
            Some(Origin::File(first)) => {
                self.report(name.origin, What::DuplicateApp { name: name.value.clone(), first });
                names.insert(name.value.clone(), Origin::File(first));
            }
            Some(_) | None => {}
        }
    }

    /// Reads a program.
    pub fn artifact(&mut self, source: &Setting<PathBuf>) -> Option<Arc<Artifact>> {
        if let Some(scheme) = source.value.to_str().and_then(|text| text.split_once("://")).map(|(scheme, _)| scheme) {
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
                self.report(source.origin, source_problem(&error));
                None
            }
        }
    }

    /// Everything about an app whose program is known not to be refused.
    pub fn checked_app(&mut self, raw: RawApp, program: Program) -> AppConfig {
        let (artifact, origin) = (Arc::clone(&program.artifact), program.source.origin);
        let app = self.app(raw, program);
        self.check_program(&artifact, origin, &app);
        app
    }

    /// Everything about an app.
    pub fn app(&mut self, raw: RawApp, program: Program) -> AppConfig {
        let Program { name, source, artifact, reach } = program;
        let mode = Setting::or(raw.mode, Mode::default());
        let limits = limits(raw.limits.map(|limits| limits.value).unwrap_or_default());
        let tls_ca = list(raw.tls_ca);
        let authorities = self.authorities(&tls_ca);
        let reuse = self.reuse(raw.reuse, artifact.kind());
        AppConfig {
            env: self.env(raw.env),
            args: plain(list(raw.args)),
            argv: raw.argv,
            dirs: elements(raw.dirs).into_iter().filter_map(|dir| self.directory(dir)).collect(),
            mount: None,
            variables: Vec::new(),
            outbound: plain(list(raw.outbound)),
            resolve: map(raw.resolve),
            tls_ca: plain(tls_ca).map(|paths| paths.iter().map(|path| self.path(path)).collect()),
            authorities,
            allow_precompiled: Setting::or(raw.allow_precompiled, false),
            injected: Setting::or(raw.injected_headers, Injected::None),
            name,
            source,
            artifact,
            reach,
            mode,
            limits,
            reuse,
        }
    }

    /// What the gateway would refuse is found here, before anything starts.
    fn check_program(&mut self, artifact: &Artifact, origin: Origin, app: &AppConfig) {
        // What precompiled code is, only loading it tells.
        if artifact.kind() == Kind::Precompiled {
            return;
        }
        for objection in objections(artifact, artifact.kind(), app.mode.value, &app.limits.values()) {
            self.report(origin, What::Source(chain(&objection)));
        }
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

    fn reuse(&mut self, raw: Option<Setting<RawReuse>>, kind: Kind) -> ReuseConfig {
        let defaults = Reuse::default();
        let origin = raw.as_ref().map(|raw| raw.origin);
        let raw = raw.map(|raw| raw.value).unwrap_or_default();
        let reuse = ReuseConfig {
            requests: Setting::or(raw.requests.map(|count| count.map(NonZero::get)), defaults.requests),
            concurrent: Setting::or(raw.concurrent.map(|count| count.map(NonZero::get)), defaults.concurrent),
            idle: Setting::or(raw.idle, defaults.idle),
        };
        let is_reused = reuse.requests.value > 1 || reuse.concurrent.value > 1;
        if let (Some(origin), true) = (origin, is_reused)
            && !matches!(kind, Kind::HttpComponent(prewasm_artifact::HttpVersion::V03) | Kind::Precompiled)
        {
            let reason = format!("only wasi:http 0.3 components can be reused, and this is a {kind}");
            self.report(origin, What::Value { key: "reuse".to_owned(), reason });
        }
        reuse
    }

    fn env(&mut self, raw: Option<Setting<Named<RawEnv>>>) -> Vec<(String, Setting<EnvValue>)> {
        let variables = raw.map(|raw| raw.value).unwrap_or_default();
        variables.into_iter().filter_map(|(name, value)| self.variable(name, value)).collect()
    }

    fn variable(
        &mut self,
        name: Setting<String>,
        value: Setting<RawEnv>,
    ) -> Option<(String, Setting<EnvValue>)> {
        if name.value.is_empty() || name.value.contains(['=', '\0']) {
            let reason = "this is no name of a variable".to_owned();
            self.report(name.origin, What::Value { key: name.value.clone(), reason });
        }
        let origin = value.origin;
        let read = match value.value {
            RawEnv::Text(text) if text.contains('\0') => {
                let reason = "a value cannot hold NUL".to_owned();
                self.report(origin, What::Value { key: name.value, reason });
                return None;
            }
            RawEnv::Text(text) => return Some((name.value, Setting::new(EnvValue::Plain(text), origin))),
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
        let (host, guest) = (host?, guest?);
        let access = if writable.is_some_and(|writable| writable.value) { Access::ReadWrite } else { Access::ReadOnly };
        let directory = Directory { host: self.path(&host.value), guest: guest.value, access };
        self.check_directory(&directory, host.origin);
        Some(Setting::new(directory, raw.origin))
    }

    /// Checks that a folder is there.
    pub fn check_directory(&mut self, directory: &Directory, origin: Origin) {
        if let Err(error) = directory.check() {
            self.report(origin, What::Path(chain(&error)));
        }
    }

    fn files(&mut self, raw: RawFiles) -> Option<FilesConfig> {
        let root = raw.root.map(|root| root.map(|path| self.path(&path)));
        if let Some(root) = &root {
            let directory = Directory { host: root.value.clone(), guest: String::new(), access: Access::ReadOnly };
            self.check_directory(&directory, root.origin);
        }
        Some(FilesConfig {
            reach: reach(raw.routes?, raw.hosts),
            root: root?,
            index: Setting::or(raw.index, "index.html".to_owned()),
            cache_control: self.header_value("cache_control", raw.cache_control),
            fallback: raw.fallback,
        })
    }

    fn header_value(&mut self, key: &str, raw: Option<Setting<String>>) -> Option<Setting<String>> {
        let value = raw?;
        if HeaderValue::from_str(&value.value).is_err() {
            let reason = "this is no value of a header".to_owned();
            self.report(value.origin, What::Value { key: key.to_owned(), reason });
        }
        Some(value)
    }

    fn response(&mut self, raw: RawRespond) -> Option<ResponseConfig> {
        let headers = raw.headers.unwrap_or_else(|| Setting::default_of(Vec::new()));
        let headers = headers.map(|named| self.headers(&named));
        let status = self.status(Setting::or(raw.status, 200));
        let body = Setting::or(raw.body, String::new());
        Some(ResponseConfig { reach: reach(raw.routes?, raw.hosts), status: status?, headers, body })
    }

    /// The status of a fixed response: a final one.
    pub fn status(&mut self, status: Setting<u16>) -> Option<Setting<StatusCode>> {
        match StatusCode::from_u16(status.value) {
            Ok(code) if (200..600).contains(&status.value) => Some(Setting::new(code, status.origin)),
            _ => {
                let reason = format!("{} is no status of a response: 200 to 599 are", status.value);
                self.report(status.origin, What::Value { key: "status".to_owned(), reason });
                None
            }
        }
    }

    /// The headers of a fixed response.
    pub fn headers(&mut self, named: &Named<String>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in named {
            match (HeaderName::try_from(&name.value), HeaderValue::try_from(&value.value)) {
                (Ok(name), Ok(value)) => drop(headers.insert(name, value)),
                (name_parsed, _) => {
                    let (origin, what) = match name_parsed {
                        Ok(_) => (value.origin, "value"),
                        Err(_) => (name.origin, "name"),
                    };
                    let reason = format!("this is no {what} of a header");
                    self.report(origin, What::Value { key: name.value.clone(), reason });
                }
            }
        }
        headers
    }

    /// Reports a name which is none of `known`.
    pub fn unknown<'k>(&mut self, what: &'static str, name: &Setting<String>, known: impl IntoIterator<Item = &'k str>) {
        let suggestion = closest(&name.value, known).map(str::to_owned);
        self.report(name.origin, What::UnknownName { what, name: name.value.clone(), suggestion });
    }
}

/// A program that cannot be read is said in one line: its place is known.
fn source_problem(error: &ArtifactError) -> What {
    What::Source(chain(error))
}

/// The options of the process: those given on the command line before those of the file before defaults.
pub fn server_config(file: RawServer, flags: RawServer) -> ServerConfig {
    let defaults = ServerOptions::default();
    let count = |written: Option<Setting<NonZero<usize>>>| written.map(|count| count.map(NonZero::get));
    let instances = flags.instances.or(file.instances).map(|count| count.map(NonZero::get));
    ServerConfig {
        listen: Setting::or(flags.listen.or(file.listen), defaults.listen),
        workers: Setting::or(flags.workers.or(file.workers), defaults.workers),
        drain: Setting::or(flags.drain.or(file.drain), defaults.drain),
        drain_delay: Setting::or(flags.drain_delay.or(file.drain_delay), defaults.drain_delay),
        instances: Setting::or(instances, defaults.instances),
        connections: Setting::or(count(flags.connections.or(file.connections)), defaults.connections),
        reuse_port: Setting::or(flags.reuse_port.or(file.reuse_port), defaults.reuse_port),
    }
}

fn limits(raw: RawLimits) -> LimitsConfig {
    let defaults = Limits::default();
    let bytes = |written: Option<Setting<Size>>, default: u64| {
        Setting::or(written.map(|size| size.map(|Size(bytes)| bytes)), default)
    };
    let log = bytes(raw.log, defaults.log.try_into().unwrap_or(u64::MAX));
    LimitsConfig {
        timeout: Setting::or(raw.timeout, defaults.timeout),
        memory: bytes(raw.memory, defaults.memory),
        fuel: Setting::or(raw.fuel.map(|fuel| fuel.map(Some)), defaults.fuel),
        body: bytes(raw.body, defaults.body),
        instances: Setting::or(raw.instances.map(|count| count.map(NonZero::get)), defaults.instances),
        queue: Setting::or(raw.queue, defaults.queue),
        log: log.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX)),
        outbound_connections: Setting::or(raw.outbound_connections, OutboundLimits::default().connections),
    }
}

/// What leads to something.
pub fn reach(routes: Setting<Vec<Setting<Route>>>, hosts: Option<Setting<Vec<Setting<HostPattern>>>>) -> Reach {
    Reach { routes, hosts: plain(list(hosts)) }
}

fn elements<T>(list: Option<Setting<Vec<Setting<T>>>>) -> Vec<Setting<T>> {
    list.map(|list| list.value).unwrap_or_default()
}

fn list<T>(list: Option<Setting<Vec<Setting<T>>>>) -> Setting<Vec<Setting<T>>> {
    Setting::or(list, Vec::new())
}

/// The list alone: where it stands is where its elements do.
fn plain<T>(list: Setting<Vec<Setting<T>>>) -> Setting<Vec<T>> {
    list.map(|elements| elements.into_iter().map(|element| element.value).collect())
}

/// Names are compared in lower case.
fn map<T>(named: Option<Setting<Named<T>>>) -> Setting<BTreeMap<String, T>> {
    let pairs = |named: Named<T>| {
        named.into_iter().map(|(name, value)| (name.value.to_ascii_lowercase(), value.value)).collect()
    };
    Setting::or(named, Vec::new()).map(pairs)
}
