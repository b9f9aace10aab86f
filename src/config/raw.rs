//! `prewasm.toml` as it is written. Its schema is made of these types.

use std::{net::SocketAddr, num::NonZero, path::PathBuf, time::Duration};

use prewasm_ext_http::{Pattern, Resolution};
use prewasm_gateway::{HostPattern, Injected, Mode, Route};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use toml::de::DeValue;

use super::{
    reader::{Described, Named, Place, Record, Table, Value},
    setting::Setting,
    values::Size,
};

type Written<T> = Option<Setting<T>>;
type List<T> = Option<Setting<Vec<Setting<T>>>>;

/// Configuration of `prewasm serve`. Paths are relative to the folder of this file.
#[derive(Clone, Debug, Default, JsonSchema)]
#[schemars(rename = "prewasm.toml", deny_unknown_fields)]
pub struct RawConfig {
    /// The process: its address, its threads and the limits above those of the apps.
    pub server: Written<RawServer>,
    /// A program, and what it may see, call and use up.
    pub app: List<RawApp>,
    /// A folder of files.
    pub files: List<RawFiles>,
    /// A fixed response.
    pub respond: List<RawRespond>,
}

/// The process.
#[derive(Clone, Debug, Default, JsonSchema)]
#[schemars(rename = "server", deny_unknown_fields)]
pub struct RawServer {
    /// The address to listen on; port 0 lets the system choose.
    #[schemars(extend("default" = "127.0.0.1:8080"))]
    pub listen: Written<SocketAddr>,
    /// The address for `/livez` and `/readyz`; by default there is none.
    pub admin: Written<SocketAddr>,
    /// Threads which serve; by default one per core.
    pub workers: Written<NonZero<usize>>,
    /// How long running requests may go on when the server is told to stop.
    #[schemars(extend("default" = "30s"))]
    pub drain: Written<Duration>,
    /// How long the server goes on when it is told to stop, with `Connection: close` in each answer, so that load
    /// balancers notice.
    #[schemars(extend("default" = "0s"))]
    pub drain_delay: Written<Duration>,
    /// Instances of all apps alive at the same time.
    #[schemars(extend("default" = 1000))]
    pub instances: Written<NonZero<u32>>,
    /// Connections open at the same time; any more wait in the kernel.
    #[schemars(extend("default" = 10000))]
    pub connections: Written<NonZero<usize>>,
    /// Whether other processes may listen on the same address.
    #[schemars(extend("default" = false))]
    pub reuse_port: Written<bool>,
}

/// A program, and what it may see, call and use up.
#[derive(Clone, Debug, Default, JsonSchema)]
#[schemars(rename = "app", deny_unknown_fields)]
pub struct RawApp {
    /// The name of the app, in logs and metrics; one that no other app has.
    #[schemars(required)]
    pub name: Written<String>,
    /// The module or component: a `.wasm`, `.wat` or `.cwasm` file.
    #[schemars(required)]
    pub source: Written<PathBuf>,
    /// The paths which lead to the app, each with an optional method in front; an empty list leaves it to other apps.
    #[schemars(required)]
    pub routes: List<Route>,
    /// The hosts for which the routes hold: names, `*.suffix` or `*`; by default all.
    pub hosts: List<HostPattern>,
    /// Whether requests share an instance: `resident` does, `isolated` and `auto` do not.
    #[schemars(extend("default" = "auto"))]
    pub mode: Written<Mode>,
    /// Environment variables; nothing is inherited. A value is text, or comes from `{ env = "NAME" }` or `{ file = "PATH" }`.
    pub env: Written<Named<RawEnv>>,
    /// What a component reads as its configuration, through `wasi:config` or Spin's variables; written as `env` is.
    pub variables: Written<Named<RawEnv>>,
    /// Arguments behind the name of the program.
    pub args: List<String>,
    /// All arguments of a command, separated by spaces, where `${SCRIPT_NAME}` is the path and `${ARGS}` the query.
    pub argv: Written<String>,
    /// Folders which the app may use.
    pub dirs: List<RawDirectory>,
    /// Whom the app may call: `SCHEME://HOST:PORT`, with `*` as scheme or port and `*.` before a host.
    pub outbound: List<Pattern>,
    /// Names with fixed addresses, for calls of the app.
    pub resolve: Written<Named<Resolution>>,
    /// PEM files of certificate authorities which the app trusts besides the public ones.
    pub tls_ca: List<PathBuf>,
    /// What one app may use up.
    pub limits: Written<RawLimits>,
    /// Reuse of instances, for wasi:http 0.3 components; by default each request gets its own.
    pub reuse: Written<RawReuse>,
    /// Whether precompiled machine code is served, which is not checked in any way.
    #[schemars(extend("default" = false))]
    pub allow_precompiled: Written<bool>,
    /// Headers which requests get on the way to the app: `spin` adds those of Spin (`spin-path-info` and others).
    #[schemars(extend("default" = "none"))]
    pub injected_headers: Written<Injected>,
}

/// A folder which an app may use.
#[derive(Clone, Debug, Default, JsonSchema)]
#[schemars(rename = "directory", deny_unknown_fields)]
pub struct RawDirectory {
    /// The folder.
    #[schemars(required)]
    pub host: Written<PathBuf>,
    /// Where the app sees it.
    #[schemars(required)]
    pub guest: Written<String>,
    /// Whether the app may change it.
    #[schemars(extend("default" = false))]
    pub writable: Written<bool>,
}

/// What one app may use up.
#[derive(Clone, Debug, Default, JsonSchema)]
#[schemars(rename = "limits", deny_unknown_fields)]
pub struct RawLimits {
    /// Wall-clock time of a request.
    #[schemars(extend("default" = "30s"))]
    pub timeout: Written<Duration>,
    /// Linear memory of an instance.
    #[schemars(extend("default" = "256MiB"))]
    pub memory: Written<Size>,
    /// Fuel of a request, about one unit per wasm instruction; by default unlimited.
    pub fuel: Written<u64>,
    /// Size of a request's body.
    #[schemars(extend("default" = "16MiB"))]
    pub body: Written<Size>,
    /// Instances of the app alive at the same time.
    #[schemars(extend("default" = 200))]
    pub instances: Written<NonZero<u32>>,
    /// Requests which wait for an instance of the app; any more are answered 503.
    #[schemars(extend("default" = 200))]
    pub queue: Written<u32>,
    /// What one request may write to the log; the rest is dropped.
    #[schemars(extend("default" = "64KiB"))]
    pub log: Written<Size>,
    /// Outgoing connections and requests of one instance at the same time.
    #[schemars(extend("default" = 64))]
    pub outbound_connections: Written<u32>,
}

/// Reuse of instances.
#[derive(Clone, Debug, Default, JsonSchema)]
#[schemars(rename = "reuse", deny_unknown_fields)]
pub struct RawReuse {
    /// Requests which one instance serves.
    #[schemars(extend("default" = 1))]
    pub requests: Written<NonZero<u32>>,
    /// Requests which one instance serves at the same time.
    #[schemars(extend("default" = 1))]
    pub concurrent: Written<NonZero<u32>>,
    /// How long an instance waits for its next request.
    #[schemars(extend("default" = "1s"))]
    pub idle: Written<Duration>,
}

/// A folder of files.
#[derive(Clone, Debug, Default, JsonSchema)]
#[schemars(rename = "files", deny_unknown_fields)]
pub struct RawFiles {
    /// The paths which lead to the files; what is behind the route is looked for in the folder.
    #[schemars(required)]
    pub routes: List<Route>,
    /// The hosts for which the routes hold: names, `*.suffix` or `*`; by default all.
    pub hosts: List<HostPattern>,
    /// The folder.
    #[schemars(required)]
    pub root: Written<PathBuf>,
    /// The file which answers for a folder.
    #[schemars(extend("default" = "index.html"))]
    pub index: Written<String>,
    /// The header `Cache-Control` of responses.
    pub cache_control: Written<String>,
    /// The file, within the folder, which answers for files that do not exist; by default they are answered 404.
    pub fallback: Written<String>,
}

/// A fixed response.
#[derive(Clone, Debug, Default, JsonSchema)]
#[schemars(rename = "respond", deny_unknown_fields)]
pub struct RawRespond {
    /// The paths which get the response.
    #[schemars(required)]
    pub routes: List<Route>,
    /// The hosts for which the routes hold: names, `*.suffix` or `*`; by default all.
    pub hosts: List<HostPattern>,
    /// The status.
    #[schemars(extend("default" = 200))]
    pub status: Written<u16>,
    /// Headers.
    pub headers: Written<Named<String>>,
    /// The body; by default empty. With status 404 and no body, requests are answered as if there was no route.
    pub body: Written<String>,
}

/// The value of an environment variable.
#[derive(Clone, Debug)]
pub enum RawEnv {
    /// As it is written.
    Text(String),
    /// The value of a variable of our own.
    Variable(String),
    /// The content of a file.
    File(PathBuf),
}

const ENV_TYPES: &str = "a string, `{ env = \"NAME\" }` or `{ file = \"PATH\" }`";

impl Value for RawEnv {
    fn read(place: Place<'_, '_>) -> Option<Self> {
        match place.value() {
            DeValue::String(text) => Some(Self::Text(text.to_string())),
            DeValue::Table(_) => {
                let mut table = place.table()?;
                let (env, file) = (table.optional::<String>("env"), table.optional::<PathBuf>("file"));
                table.finish();
                match (env, file) {
                    (Some(name), None) => Some(Self::Variable(name.value)),
                    (None, Some(path)) => Some(Self::File(path.value)),
                    _ => place.wrong(format_args!("{ENV_TYPES} is expected")),
                }
            }
            _ => place.expected(ENV_TYPES),
        }
    }
}

impl Described for RawEnv {
    fn schema(_: &mut SchemaGenerator) -> Schema {
        let one = |key: &str| {
            json_schema!({
                "type": "object",
                "properties": { key: { "type": "string", "minLength": 1 } },
                "required": [key],
                "additionalProperties": false
            })
        };
        json_schema!({ "title": "value", "anyOf": [{ "type": "string" }, one("env"), one("file")] })
    }
}

impl Record for RawConfig {
    fn take(table: &mut Table<'_>) -> Self {
        Self {
            server: table.optional("server"),
            app: table.optional("app"),
            files: table.optional("files"),
            respond: table.optional("respond"),
        }
    }
}

impl Record for RawServer {
    fn take(table: &mut Table<'_>) -> Self {
        table.refuse("tls", Some("this version serves plain HTTP: let a proxy in front speak TLS"));
        Self {
            listen: table.optional("listen"),
            admin: table.optional("admin"),
            workers: table.optional("workers"),
            drain: table.optional("drain"),
            drain_delay: table.optional("drain_delay"),
            instances: table.optional("instances"),
            connections: table.optional("connections"),
            reuse_port: table.optional("reuse_port"),
        }
    }
}

impl Record for RawApp {
    fn take(table: &mut Table<'_>) -> Self {
        Self {
            name: table.required("name"),
            source: table.required("source"),
            routes: table.optional("routes"),
            hosts: table.optional("hosts"),
            mode: table.optional("mode"),
            env: table.optional("env"),
            variables: table.optional("variables"),
            args: table.optional("args"),
            argv: table.optional("argv"),
            dirs: table.optional("dirs"),
            outbound: table.optional("outbound"),
            resolve: table.optional("resolve"),
            tls_ca: table.optional("tls_ca"),
            limits: table.optional("limits"),
            reuse: table.optional("reuse"),
            allow_precompiled: table.optional("allow_precompiled"),
            injected_headers: table.optional("injected_headers"),
        }
    }
}

impl Record for RawDirectory {
    fn take(table: &mut Table<'_>) -> Self {
        Self { host: table.required("host"), guest: table.required("guest"), writable: table.optional("writable") }
    }
}

impl Record for RawLimits {
    fn take(table: &mut Table<'_>) -> Self {
        Self {
            timeout: table.optional("timeout"),
            memory: table.optional("memory"),
            fuel: table.optional("fuel"),
            body: table.optional("body"),
            instances: table.optional("instances"),
            queue: table.optional("queue"),
            log: table.optional("log"),
            outbound_connections: table.optional("outbound_connections"),
        }
    }
}

impl Record for RawReuse {
    fn take(table: &mut Table<'_>) -> Self {
        Self {
            requests: table.optional("requests"),
            concurrent: table.optional("concurrent"),
            idle: table.optional("idle"),
        }
    }
}

impl Record for RawFiles {
    fn take(table: &mut Table<'_>) -> Self {
        Self {
            routes: table.required("routes"),
            hosts: table.optional("hosts"),
            root: table.required("root"),
            index: table.optional("index"),
            cache_control: table.optional("cache_control"),
            fallback: table.optional("fallback"),
        }
    }
}

impl Record for RawRespond {
    fn take(table: &mut Table<'_>) -> Self {
        Self {
            routes: table.required("routes"),
            hosts: table.optional("hosts"),
            status: table.optional("status"),
            headers: table.optional("headers"),
            body: table.optional("body"),
        }
    }
}
