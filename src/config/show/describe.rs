//! What is shown of each part, in the order in which one would write it.

use std::{fmt::Display, path::Path, time::Duration};

use prewasm_ext_http::{Access, Directory, Resolution};
use prewasm_gateway::{Injected, Mode};
use toml::Value;

use super::Node;
use crate::config::{
    effective::{
        AppConfig, Config, EnvValue, FilesConfig, LimitsConfig, Reach, ResponseConfig, ReuseConfig, ServerConfig,
    },
    secret::{Secret, SecretSource},
    setting::Setting,
};

pub(super) fn describe(config: &Config) -> Vec<(&'static str, Node)> {
    let mut parts = vec![("server", server(&config.server))];
    let lists = [
        ("app", config.apps.iter().map(app).collect::<Vec<_>>()),
        ("files", config.files.iter().map(files).collect()),
        ("respond", config.responses.iter().map(response).collect()),
    ];
    parts.extend(lists.into_iter().filter(|(_, list)| !list.is_empty()).map(|(name, list)| (name, Node::List(list))));
    parts
}

/// The entries of a table.
#[derive(Default)]
struct Entries(Vec<(String, Node)>);

impl Entries {
    fn add<T>(mut self, key: &str, setting: &Setting<T>, value: impl FnOnce(&T) -> Value) -> Self {
        self.0.push((key.to_owned(), Node::Value(value(&setting.value), setting.origin)));
        self
    }

    fn add_some<T>(self, key: &str, setting: Option<&Setting<T>>, value: impl FnOnce(&T) -> Value) -> Self {
        match setting {
            Some(setting) => self.add(key, setting, value),
            None => self,
        }
    }

    fn node(mut self, key: &str, node: Node) -> Self {
        let is_empty = matches!(&node, Node::Table(entries) if entries.is_empty());
        if !is_empty {
            self.0.push((key.to_owned(), node));
        }
        self
    }

    fn reach(self, Reach { routes, hosts }: &Reach) -> Self {
        let plain = |routes: &Vec<Setting<_>>| array(routes.iter().map(|route| text(&route.value)));
        self.add("routes", routes, plain).add("hosts", hosts, |hosts| array(hosts.iter().map(text)))
    }

    fn table(self) -> Node {
        Node::Table(self.0)
    }
}

fn server(server: &ServerConfig) -> Node {
    Entries::default()
        .add("listen", &server.listen, text)
        .add_some("admin", server.admin.as_ref(), text)
        .add("workers", &server.workers, |count| integer(count.get()))
        .add("drain", &server.drain, duration)
        .add("drain_delay", &server.drain_delay, duration)
        .add("instances", &server.instances, |count| integer(*count))
        .add("connections", &server.connections, |count| integer(*count))
        .add("reuse_port", &server.reuse_port, |value| Value::Boolean(*value))
        .table()
}

fn app(app: &AppConfig) -> Node {
    let mode = |mode: &Mode| match mode {
        Mode::Auto => "auto".into(),
        Mode::Isolated => "isolated".into(),
        Mode::Resident => "resident".into(),
    };
    let injected = |injected: &Injected| match injected {
        Injected::None => "none".into(),
        Injected::Spin => "spin".into(),
    };
    let mut entries = Entries::default()
        .add("name", &app.name, text)
        .add("source", &app.source, |source| path(source))
        .reach(&app.reach)
        .add("mode", &app.mode, mode)
        .add("args", &app.args, |args| array(args.iter().map(text)))
        .add_some("argv", app.argv.as_ref(), text)
        .add("outbound", &app.outbound, |patterns| array(patterns.iter().map(text)))
        .add("tls_ca", &app.tls_ca, |files| array(files.iter().map(|file| path(file))))
        .add("allow_precompiled", &app.allow_precompiled, |value| Value::Boolean(*value))
        .add("injected_headers", &app.injected, injected);
    if let Some(mount) = &app.mount {
        let places = mount.value.places().map(path);
        entries.0.push(("files".to_owned(), Node::Remark(array(places), mount.origin)));
    }
    entries
        .node("env", values(&app.env))
        .node("variables", values(&app.variables))
        .node("resolve", resolve(app))
        .node("limits", limits(&app.limits))
        .node("reuse", reuse(&app.reuse))
        .node("dirs", dirs(&app.dirs))
        .table()
}

fn values(named: &[(String, Setting<EnvValue>)]) -> Node {
    Node::Table(named.iter().map(|(name, value)| (name.clone(), env(value))).collect())
}

fn env(Setting { value, origin }: &Setting<EnvValue>) -> Node {
    match value {
        EnvValue::Plain(plain) => Node::Value(plain.as_str().into(), *origin),
        EnvValue::Secret(secret) => Node::Secret(reference(secret), *origin, secret.to_string()),
    }
}

/// A secret is shown as it would be written: by its source.
fn reference(secret: &Secret) -> Value {
    let (key, value) = match secret.source() {
        SecretSource::Variable(name) => ("env", name.as_str().into()),
        SecretSource::File(file) => ("file", path(file)),
        SecretSource::Variables(_) => return secret.to_string().into(),
    };
    Value::Table([(key.to_owned(), value)].into_iter().collect())
}

fn resolve(app: &AppConfig) -> Node {
    let address = |Resolution { ip, port }: &Resolution| match port {
        Some(port) => text(&std::net::SocketAddr::new(*ip, *port)),
        None => text(ip),
    };
    let Setting { value, origin } = &app.resolve;
    Node::Table(value.iter().map(|(name, to)| (name.clone(), Node::Value(address(to), *origin))).collect())
}

fn limits(limits: &LimitsConfig) -> Node {
    let entries = Entries::default()
        .add("timeout", &limits.timeout, duration)
        .add("memory", &limits.memory, |bytes| size(*bytes));
    let entries = match limits.fuel.value {
        Some(fuel) => entries.add("fuel", &limits.fuel, |_| integer(fuel)),
        None => entries,
    };
    entries
        .add("body", &limits.body, |bytes| size(*bytes))
        .add("instances", &limits.instances, |count| integer(*count))
        .add("queue", &limits.queue, |count| integer(*count))
        .add("log", &limits.log, |bytes| size(u64::try_from(*bytes).unwrap_or(u64::MAX)))
        .add("outbound_connections", &limits.outbound_connections, |count| integer(*count))
        .table()
}

fn reuse(reuse: &ReuseConfig) -> Node {
    Entries::default()
        .add("requests", &reuse.requests, |count| integer(*count))
        .add("concurrent", &reuse.concurrent, |count| integer(*count))
        .add("idle", &reuse.idle, duration)
        .table()
}

fn dirs(dirs: &[Setting<Directory>]) -> Node {
    let one = |dir: &Setting<Directory>| {
        Entries::default()
            .add("host", dir, |dir| path(&dir.host))
            .add("guest", dir, |dir| text(&dir.guest))
            .add("writable", dir, |dir| Value::Boolean(dir.access == Access::ReadWrite))
            .table()
    };
    Node::List(dirs.iter().map(one).collect())
}

fn files(files: &FilesConfig) -> Node {
    Entries::default()
        .reach(&files.reach)
        .add("root", &files.root, |root| path(root))
        .add("index", &files.index, text)
        .add_some("cache_control", files.cache_control.as_ref(), text)
        .add_some("fallback", files.fallback.as_ref(), text)
        .table()
}

fn response(response: &ResponseConfig) -> Node {
    let Setting { value, origin } = &response.headers;
    let header = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        (name.to_string(), Node::Value(String::from_utf8_lossy(value.as_bytes()).as_ref().into(), *origin))
    };
    Entries::default()
        .reach(&response.reach)
        .add("status", &response.status, |status| integer(status.as_u16()))
        .add("body", &response.body, text)
        .node("headers", Node::Table(value.iter().map(header).collect()))
        .table()
}

fn text(value: &impl Display) -> Value {
    Value::String(value.to_string())
}

fn path(path: &Path) -> Value {
    Value::String(path.display().to_string())
}

fn array(values: impl Iterator<Item = Value>) -> Value {
    Value::Array(values.collect())
}

/// TOML's integers are signed.
fn integer(value: impl TryInto<i64>) -> Value {
    Value::Integer(value.try_into().unwrap_or(i64::MAX))
}

fn duration(value: &Duration) -> Value {
    text(&humantime::format_duration(*value))
}

/// In the largest unit that needs no fraction.
fn size(bytes: u64) -> Value {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let fits = units.into_iter().find(|(unit, _)| bytes > 0 && bytes.is_multiple_of(*unit));
    fits.map_or_else(|| integer(bytes), |(unit, name)| Value::String(format!("{}{name}", bytes / unit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_shown_in_the_unit_that_fits() {
        for (bytes, expected) in [(256 << 20, "\"256MiB\""), (65536, "\"64KiB\""), (1000, "1000"), (0, "0")] {
            assert_eq!(size(bytes).to_string(), expected);
        }
    }
}
