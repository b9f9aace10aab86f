//! The configuration which holds: every value is there, is checked, and knows where it comes from.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    num::NonZero,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use http::{HeaderMap, StatusCode};
use prewasm_artifact::Artifact;
use prewasm_ext_http::{Authorities, Directory, Pattern, Resolution};
use prewasm_gateway::{HostPattern, Injected, Mode, Route, ServerOptions};

use super::{scratch::Mount, secret::Secret, setting::Setting};

/// Everything that is configured.
#[derive(Clone, Debug)]
pub struct Config {
    /// The process.
    pub server: ServerConfig,
    /// The apps, in the order of the file.
    pub apps: Vec<AppConfig>,
    /// Folders of files.
    pub files: Vec<FilesConfig>,
    /// Fixed responses.
    pub responses: Vec<ResponseConfig>,
    /// Files which the configuration was made of.
    pub watched: BTreeSet<PathBuf>,
}

/// The process.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// The address to listen on.
    pub listen: Setting<SocketAddr>,
    /// The address for those who watch the process.
    pub admin: Option<Setting<SocketAddr>>,
    /// Threads which serve.
    pub workers: Setting<NonZero<usize>>,
    /// How long running requests may go on.
    pub drain: Setting<Duration>,
    /// How long connections are accepted after the order to stop.
    pub drain_delay: Setting<Duration>,
    /// Instances of all apps.
    pub instances: Setting<u32>,
    /// Open connections.
    pub connections: Setting<usize>,
    /// Whether the address is shared.
    pub reuse_port: Setting<bool>,
}

/// Which requests something is for.
#[derive(Clone, Debug)]
pub struct Reach {
    /// Methods and paths.
    pub routes: Setting<Vec<Setting<Route>>>,
    /// Hosts; none means all.
    pub hosts: Setting<Vec<HostPattern>>,
}

/// An app.
#[derive(Clone, Debug)]
pub struct AppConfig {
    /// Its name.
    pub name: Setting<String>,
    /// Where its program is.
    pub source: Setting<PathBuf>,
    /// Its program.
    pub artifact: Arc<Artifact>,
    /// What leads to it.
    pub reach: Reach,
    /// Whether requests share an instance.
    pub mode: Setting<Mode>,
    /// Environment variables.
    pub env: Vec<(String, Setting<EnvValue>)>,
    /// What a component reads as its configuration.
    pub variables: Vec<(String, Setting<EnvValue>)>,
    /// Arguments behind the name of the program.
    pub args: Setting<Vec<String>>,
    /// All arguments of a command.
    pub argv: Option<Setting<String>>,
    /// Folders.
    pub dirs: Vec<Setting<Directory>>,
    /// Files which are put together into one folder.
    pub mount: Option<Setting<Mount>>,
    /// Whom it may call.
    pub outbound: Setting<Vec<Pattern>>,
    /// Names with fixed addresses.
    pub resolve: Setting<BTreeMap<String, Resolution>>,
    /// Files of authorities.
    pub tls_ca: Setting<Vec<PathBuf>>,
    /// What is in them.
    pub authorities: Authorities,
    /// What it may use up.
    pub limits: LimitsConfig,
    /// Reuse of instances.
    pub reuse: ReuseConfig,
    /// Whether precompiled code is loaded.
    pub allow_precompiled: Setting<bool>,
    /// Headers which requests get.
    pub injected: Setting<Injected>,
}

/// The value of an environment variable.
#[derive(Clone, Debug)]
pub enum EnvValue {
    /// As it is written.
    Plain(String),
    /// From outside.
    Secret(Secret),
}

/// What an app may use up.
#[derive(Clone, Debug)]
pub struct LimitsConfig {
    /// Time of a request.
    pub timeout: Setting<Duration>,
    /// Bytes of linear memory.
    pub memory: Setting<u64>,
    /// Fuel.
    pub fuel: Setting<Option<u64>>,
    /// Bytes of a request's body.
    pub body: Setting<u64>,
    /// Instances.
    pub instances: Setting<u32>,
    /// Waiting requests.
    pub queue: Setting<u32>,
    /// Bytes of log.
    pub log: Setting<usize>,
    /// Outgoing connections.
    pub outbound_connections: Setting<u32>,
}

/// Reuse of instances.
#[derive(Clone, Debug)]
pub struct ReuseConfig {
    /// Requests of one instance.
    pub requests: Setting<u32>,
    /// At the same time.
    pub concurrent: Setting<u32>,
    /// Time without a request.
    pub idle: Setting<Duration>,
}

/// A folder of files.
#[derive(Clone, Debug)]
pub struct FilesConfig {
    /// What leads to it.
    pub reach: Reach,
    /// The folder.
    pub root: Setting<PathBuf>,
    /// The file for folders.
    pub index: Setting<String>,
    /// The header.
    pub cache_control: Option<Setting<String>>,
    /// The file for what does not exist.
    pub fallback: Option<Setting<String>>,
}

/// A fixed response.
#[derive(Clone, Debug)]
pub struct ResponseConfig {
    /// What leads to it.
    pub reach: Reach,
    /// The status.
    pub status: Setting<StatusCode>,
    /// Headers.
    pub headers: Setting<HeaderMap>,
    /// The body.
    pub body: Setting<String>,
}

impl Config {
    /// How many routes there are.
    pub fn routes(&self) -> usize {
        let apps = self.apps.iter().map(|app| &app.reach);
        let files = self.files.iter().map(|files| &files.reach);
        let responses = self.responses.iter().map(|response| &response.reach);
        apps.chain(files).chain(responses).map(|reach| reach.routes.value.len()).sum()
    }
}

impl ServerConfig {
    /// What the gateway is started with.
    pub fn options(&self) -> ServerOptions {
        ServerOptions {
            listen: self.listen.value,
            admin: self.admin.as_ref().map(|admin| admin.value),
            workers: self.workers.value,
            drain: self.drain.value,
            drain_delay: self.drain_delay.value,
            reuse_port: self.reuse_port.value,
            connections: self.connections.value,
            instances: self.instances.value,
        }
    }
}
