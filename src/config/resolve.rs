//! From what was written to what holds: flags before variables before the file before defaults, everything checked.
//!
//! That rule is kept in two places: clap has settled flags against variables, and [`defaults`] puts them before the file
//! and the file before defaults.

mod app;
mod defaults;
mod response;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use http::HeaderValue;
use prewasm_artifact::Artifact;
use prewasm_ext_http::{Access, Directory};
use prewasm_gateway::{HostPattern, Route};

pub use app::Program;
pub use defaults::server_config;

use self::defaults::{elements, list, plain};
use super::{
    effective::{AppConfig, Config, FilesConfig, Reach, ResponseConfig, ServerConfig},
    problem::{ConfigError, Problem, Problems, What},
    raw::{RawApp, RawConfig, RawServer},
    routes::check_routes,
    setting::{Origin, Setting},
    suggest::closest,
};
use crate::exit::chain;

/// The configuration of a single program, on all hosts and all paths.
///
/// # Errors
/// [`ConfigError`], with all problems.
pub fn single(server: RawServer, app: RawApp, artifact: Artifact) -> Result<Config, ConfigError> {
    let mut resolver = Resolver::new(Path::new(""));
    let source = PathBuf::from(artifact.origin());
    if source != Path::new("-") {
        resolver.watch(source.clone());
    }
    let program = Program {
        name: Some(Setting::default_of("app".to_owned())),
        source: Some(Setting::default_of(source)),
        artifact: Some(Arc::new(artifact)),
        reach: Reach {
            routes: Setting::default_of(vec![Setting::default_of(Route::everything())]),
            hosts: Setting::default_of(Vec::new()),
        },
    };
    let apps: Vec<_> = resolver.app(app, program).into_iter().collect();
    let mut server = server_config(RawServer::default(), server);
    if let Some(app) = apps.first() {
        // There is no other app to share the process with.
        server.instances = app.limits.instances.clone();
    }
    resolver.finish(None, Parts { server, apps, files: Vec::new(), responses: Vec::new() })
}

/// What a `prewasm.toml` says, with `flags` over it.
pub fn resolve(raw: RawConfig, flags: RawServer, resolver: &mut Resolver<'_>) -> Parts {
    let server = server_config(raw.server.map(|server| server.value).unwrap_or_default(), flags);
    let mut names = BTreeMap::new();
    let apps = elements(raw.app).into_iter();
    let apps = apps.filter_map(|app| resolver.app_of_file(app.value, app.origin, &mut names)).collect();
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

impl Parts {
    /// No apps, no responses, and the process as it is by default.
    pub fn nothing() -> Self {
        let server = server_config(RawServer::default(), RawServer::default());
        Self { server, apps: Vec::new(), files: Vec::new(), responses: Vec::new() }
    }
}

/// Turns parts of a configuration into what holds, and collects what is wrong.
#[derive(Debug)]
pub struct Resolver<'a> {
    /// What paths are relative to.
    folder: &'a Path,
    problems: Vec<Problem>,
    /// All routes, also those of parts that are wrong otherwise.
    reaches: Vec<Reach>,
    watched: BTreeSet<PathBuf>,
    artifacts: BTreeMap<PathBuf, Arc<Artifact>>,
}

impl<'a> Resolver<'a> {
    /// Starts without problems; paths are relative to `folder`.
    pub fn new(folder: &'a Path) -> Self {
        Self { folder, problems: Vec::new(), reaches: Vec::new(), watched: BTreeSet::new(), artifacts: BTreeMap::new() }
    }

    /// Reports a problem.
    pub fn report(&mut self, origin: Origin, what: What) {
        self.problems.push(Problem { origin, what });
    }

    /// Reports a value which cannot be understood.
    pub fn wrong(&mut self, key: &str, origin: Origin, reason: impl ToString) {
        self.report(origin, What::Value { key: key.to_owned(), reason: reason.to_string() });
    }

    /// Reports a name which is none of `known`.
    pub fn unknown<'k>(
        &mut self,
        what: &'static str,
        name: &Setting<String>,
        known: impl IntoIterator<Item = &'k str>,
    ) {
        let suggestion = closest(&name.value, known).map(str::to_owned);
        self.report(name.origin, What::UnknownName { what, name: name.value.clone(), suggestion });
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

    /// What leads to something.
    pub fn reach(
        &mut self,
        routes: Setting<Vec<Setting<Route>>>,
        hosts: Option<Setting<Vec<Setting<HostPattern>>>>,
    ) -> Reach {
        let reach = Reach { routes, hosts: plain(list(hosts)) };
        self.reaches.push(reach.clone());
        reach
    }

    /// Checks that a folder is there.
    pub fn check_directory(&mut self, host: &Path, origin: Origin) {
        let directory = Directory { host: host.to_owned(), guest: String::new(), access: Access::ReadOnly };
        if let Err(error) = directory.check() {
            self.report(origin, What::Path(chain(&error)));
        }
    }

    /// Checks that a header can have this value.
    pub fn check_header_value(&mut self, key: &str, value: &Setting<String>) {
        if HeaderValue::from_str(&value.value).is_err() {
            self.wrong(key, value.origin, "this is no value of a header");
        }
    }

    /// The configuration, if nothing is wrong with it.
    ///
    /// # Errors
    /// [`ConfigError`], with all problems.
    pub fn finish(mut self, file: Option<&Path>, parts: Parts) -> Result<Config, ConfigError> {
        let Parts { server, apps, files, responses } = parts;
        self.problems.extend(check_routes(&self.reaches));
        self.watched.extend(file.map(Path::to_owned));
        match Problems::new(file.map(Path::to_owned), self.problems) {
            Some(problems) => Err(ConfigError::Invalid(problems)),
            None => Ok(Config { server, apps, files, responses, watched: self.watched }),
        }
    }
}
