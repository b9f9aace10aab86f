//! From a configuration to what the gateway serves, at the start and at each reload.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use http::StatusCode;
use prewasm_artifact::Artifact;
use prewasm_ext_http::{Access, Directory, Environment, OutboundLimits, OutboundPolicy};
use prewasm_gateway::{
    App, FilesSpec, Limits, Loaded, PrecompiledPolicy, Reuse, RouteSpec, SiteSource, SiteSpec, StaticResponse,
    TargetSpec,
};

use super::{
    effective::{AppConfig, Config, EnvValue, FilesConfig, LimitsConfig, Reach, ResponseConfig, ReuseConfig},
    file,
    problem::ConfigError,
    raw::{RawApp, RawServer},
    resolve::single,
    scratch::Scratches,
};
use crate::program_name::program_name;

/// Where a site comes from: a file of configuration or a single program, read again at each reload.
pub struct Source {
    read: Box<dyn FnMut() -> Result<Config, ConfigError> + Send>,
    /// What was read before the server started: the first load takes it.
    first: Option<Config>,
    scratches: Scratches,
}

impl Source {
    /// A file of configuration; `flags` are put over what it says about the process.
    pub fn of_file(path: PathBuf, flags: RawServer) -> Self {
        Self::new(move || file::read(&path, flags.clone()))
    }

    /// A single program with its options.
    pub fn of_program(path: PathBuf, server: RawServer, app: RawApp) -> Self {
        let mut read_once = None;
        Self::new(move || {
            let artifact = match read_once.take() {
                Some(artifact) => artifact,
                None => Artifact::read(&path)?,
            };
            if path == Path::new("-") {
                // Standard input can be read only once.
                read_once = Some(artifact.clone());
            }
            single(server.clone(), app.clone(), artifact)
        })
    }

    fn new(read: impl FnMut() -> Result<Config, ConfigError> + Send + 'static) -> Self {
        Self { read: Box::new(read), first: None, scratches: Scratches::default() }
    }

    /// The configuration before the server starts, which the first load will take.
    ///
    /// # Errors
    /// [`ConfigError`], with all problems.
    pub fn first(&mut self) -> Result<&Config, ConfigError> {
        let config = (self.read)()?;
        Ok(self.first.insert(config))
    }
}

impl SiteSource for Source {
    type Error = ConfigError;

    fn load(&mut self) -> Result<Loaded, ConfigError> {
        let config = match self.first.take() {
            Some(config) => config,
            None => (self.read)()?,
        };
        config.load(&mut self.scratches)
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("first", &self.first).finish_non_exhaustive()
    }
}

impl Config {
    /// What the gateway serves.
    ///
    /// # Errors
    /// [`ConfigError`], if a temporary folder cannot be made.
    pub fn load(self, scratches: &mut Scratches) -> Result<Loaded, ConfigError> {
        let mut site = SiteSpec::default();
        for app in self.apps {
            let target = TargetSpec::App(app.name.value.clone());
            site.routes.extend(routes(&app.reach, &target));
            site.apps.push(app.into_app(scratches)?);
        }
        for files in self.files {
            site.routes.extend(routes(&files.reach, &files.target()));
        }
        for response in self.responses {
            site.routes.extend(routes(&response.reach, &response.target()));
        }
        Ok(Loaded { site, watched: self.watched.into_iter().collect() })
    }
}

fn routes(reach: &Reach, target: &TargetSpec) -> Vec<RouteSpec> {
    let spec = |route: &super::Setting<_>| RouteSpec {
        hosts: reach.hosts.value.clone(),
        route: Clone::clone(&route.value),
        target: target.clone(),
    };
    reach.routes.value.iter().map(spec).collect()
}

impl AppConfig {
    fn into_app(self, scratches: &mut Scratches) -> Result<App, ConfigError> {
        let mut dirs: Vec<_> = self.dirs.into_iter().map(|dir| dir.value).collect();
        let mut held: Vec<Arc<dyn std::any::Any + Send + Sync>> = Vec::new();
        if let Some(mount) = self.mount {
            let error = |source| ConfigError::Scratch { app: self.name.value.clone(), source };
            let scratch = scratches.assemble(&mount.value).map_err(error)?;
            dirs.push(Directory { host: scratch.path().to_owned(), guest: "/".to_owned(), access: Access::ReadOnly });
            held.push(scratch);
        }
        let mut args = vec![program_name(Path::new(self.artifact.origin()))];
        args.extend(self.args.value);
        let env = self.env.into_iter().map(|(name, value)| (name, value.value.reveal())).collect();
        let outbound = OutboundPolicy {
            allow: self.outbound.value,
            resolve: self.resolve.value,
            authorities: self.authorities,
            limits: OutboundLimits { connections: self.limits.outbound_connections.value, ..OutboundLimits::default() },
            ..OutboundPolicy::default()
        };
        Ok(App {
            name: self.name.value.into(),
            artifact: self.artifact,
            mode: self.mode.value,
            environment: Arc::new(Environment { args, env, dirs, ..Environment::default() }),
            outbound: Arc::new(outbound),
            limits: self.limits.values(),
            precompiled: match self.allow_precompiled.value {
                true => PrecompiledPolicy::Trust,
                false => PrecompiledPolicy::Refuse,
            },
            reuse: self.reuse.values(),
            injected: self.injected.value,
            variables: self.variables.into_iter().map(|(name, value)| (name, value.value.reveal())).collect(),
            argv: self.argv.map(|argv| argv.value),
            held,
        })
    }
}

impl EnvValue {
    /// The value as the guest gets it.
    fn reveal(self) -> String {
        match self {
            Self::Plain(text) => text,
            Self::Secret(secret) => secret.reveal().to_owned(),
        }
    }
}

impl LimitsConfig {
    /// The limits alone.
    pub fn values(&self) -> Limits {
        Limits {
            timeout: self.timeout.value,
            memory: self.memory.value,
            fuel: self.fuel.value,
            body: self.body.value,
            instances: self.instances.value,
            queue: self.queue.value,
            log: self.log.value,
        }
    }
}

impl ReuseConfig {
    fn values(&self) -> Reuse {
        Reuse { requests: self.requests.value, concurrent: self.concurrent.value, idle: self.idle.value }
    }
}

impl FilesConfig {
    fn target(&self) -> TargetSpec {
        let text = |written: &Option<super::Setting<String>>| written.as_ref().map(|written| written.value.clone());
        TargetSpec::Files(FilesSpec {
            root: self.root.value.clone(),
            index: self.index.value.clone(),
            cache_control: text(&self.cache_control),
            fallback: text(&self.fallback),
        })
    }
}

impl ResponseConfig {
    fn target(&self) -> TargetSpec {
        let is_bare = self.body.value.is_empty() && self.headers.value.is_empty();
        match self.status.value {
            StatusCode::NOT_FOUND if is_bare => TargetSpec::NotFound,
            status => TargetSpec::Respond(StaticResponse {
                status,
                headers: self.headers.value.clone(),
                body: self.body.value.clone().into(),
            }),
        }
    }
}
