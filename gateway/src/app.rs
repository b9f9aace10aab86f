//! What is served, and within which limits.

use std::{any::Any, collections::BTreeMap, sync::Arc, time::Duration};

use prewasm_artifact::Artifact;
use prewasm_ext_http::{Environment, OutboundPolicy};

use crate::cache::PrecompiledPolicy;

/// A guest and everything it may use.
#[derive(Clone, Debug)]
pub struct App {
    /// What the app is called in routes and logs.
    pub name: Arc<str>,
    /// The program.
    pub artifact: Arc<Artifact>,
    /// Whether requests share an instance.
    pub mode: Mode,
    /// Arguments, environment and directories.
    pub environment: Arc<Environment>,
    /// Whom it may call.
    pub outbound: Arc<OutboundPolicy>,
    /// What it may use up.
    pub limits: Limits,
    /// Whether precompiled code is loaded.
    pub precompiled: PrecompiledPolicy,
    /// How many requests an instance may serve.
    pub reuse: Reuse,
    /// What is added to its requests.
    pub injected: Injected,
    /// The arguments of a command, separated by spaces, where `${SCRIPT_NAME}` stands for the path of the request and
    /// `${ARGS}` for the parts of its query; without it, they are those of CGI.
    pub argv: Option<String>,
    /// What a component reads as its configuration, through wasi:config or Spin's variables.
    pub variables: BTreeMap<String, String>,
    /// What must live as long as the app, such as temporary folders.
    pub held: Vec<Arc<dyn Any + Send + Sync>>,
}

impl App {
    /// An app with default limits, which may neither see nor call anything.
    pub fn new(artifact: Artifact) -> Self {
        Self {
            name: Arc::from("app"),
            artifact: Arc::new(artifact),
            mode: Mode::Auto,
            environment: Arc::default(),
            outbound: Arc::default(),
            limits: Limits::default(),
            precompiled: PrecompiledPolicy::Refuse,
            reuse: Reuse::default(),
            injected: Injected::default(),
            argv: None,
            variables: BTreeMap::new(),
            held: Vec::new(),
        }
    }
}

/// What instances of an app may see, call and use up; unlike [`App`], it does not hold the program's bytes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Grants {
    pub(crate) name: Arc<str>,
    pub(crate) environment: Arc<Environment>,
    pub(crate) outbound: Arc<OutboundPolicy>,
    pub(crate) limits: Limits,
    pub(crate) argv: Option<String>,
    pub(crate) variables: Arc<BTreeMap<String, String>>,
}

impl Grants {
    /// What an app is granted.
    pub(crate) fn of(app: &App) -> Self {
        Self {
            name: Arc::clone(&app.name),
            environment: Arc::clone(&app.environment),
            outbound: Arc::clone(&app.outbound),
            limits: app.limits.clone(),
            argv: app.argv.clone(),
            variables: Arc::new(app.variables.clone()),
        }
    }
}

/// How many requests an instance of a wasi:http 0.3 component may serve. All other guests have an instance per request,
/// or are resident.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reuse {
    /// Requests after which an instance ends.
    pub requests: u32,
    /// Requests which it serves at the same time.
    pub concurrent: u32,
    /// How long it waits for another request.
    pub idle: Duration,
}

impl Default for Reuse {
    /// A fresh instance per request.
    fn default() -> Self {
        Self { requests: 1, concurrent: 1, idle: Duration::from_secs(1) }
    }
}

/// Fields that are added to requests for an app, and removed if a client sends them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Injected {
    /// None.
    #[default]
    None,
    /// Those of Spin's HTTP trigger: `spin-full-url`, `spin-path-info` and others.
    Spin,
}

/// Whether requests share an instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Isolated.
    #[default]
    Auto,
    /// A fresh instance per request.
    Isolated,
    /// One long-lived instance; for socket servers only.
    Resident,
}

/// What one app may use up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Wall-clock time of one request.
    pub timeout: Duration,
    /// Linear memory of one instance, in bytes.
    pub memory: u64,
    /// Fuel of one request (about one unit per wasm instruction); `None` does not count.
    pub fuel: Option<u64>,
    /// Request body, in bytes.
    pub body: u64,
    /// Instances alive at the same time.
    pub instances: u32,
    /// Requests which wait for an instance; any more are answered 503.
    pub queue: u32,
    /// What one request may write to the log, in bytes; the rest is dropped.
    pub log: usize,
}

impl Limits {
    /// The fuel that was used if this much is left.
    pub(crate) fn used_fuel(&self, left: Option<u64>) -> u64 {
        self.fuel.zip(left).map_or(0, |(limit, left)| limit.saturating_sub(left))
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(30),
            memory: 256 * 1024 * 1024,
            fuel: None,
            body: 16 * 1024 * 1024,
            instances: 200,
            queue: 200,
            log: 64 * 1024,
        }
    }
}
