//! What holds where nothing was written.

use std::{collections::BTreeMap, num::NonZero};

use prewasm_ext_http::OutboundLimits;
use prewasm_gateway::{Limits, Reuse, ServerOptions};

use crate::config::{
    effective::{LimitsConfig, ReuseConfig, ServerConfig},
    raw::{RawLimits, RawReuse, RawServer},
    reader::Named,
    setting::Setting,
    values::Size,
};

/// The options of the process: those given on the command line before those of the file before defaults.
pub fn server_config(file: RawServer, flags: RawServer) -> ServerConfig {
    let defaults = ServerOptions::default();
    let connections = flags.connections.or(file.connections).map(|count| count.map(NonZero::get));
    let instances = flags.instances.or(file.instances).map(|count| count.map(NonZero::get));
    ServerConfig {
        listen: Setting::or(flags.listen.or(file.listen), defaults.listen),
        admin: flags.admin.or(file.admin),
        workers: Setting::or(flags.workers.or(file.workers), defaults.workers),
        drain: Setting::or(flags.drain.or(file.drain), defaults.drain),
        drain_delay: Setting::or(flags.drain_delay.or(file.drain_delay), defaults.drain_delay),
        instances: Setting::or(instances, defaults.instances),
        connections: Setting::or(connections, defaults.connections),
        reuse_port: Setting::or(flags.reuse_port.or(file.reuse_port), defaults.reuse_port),
    }
}

/// What one app may use up.
pub(super) fn limits(raw: Option<Setting<RawLimits>>) -> LimitsConfig {
    let defaults = Limits::default();
    let raw = raw.map(|raw| raw.value).unwrap_or_default();
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

/// How often an instance is used.
pub(super) fn reuse(raw: Option<Setting<RawReuse>>) -> ReuseConfig {
    let defaults = Reuse::default();
    let raw = raw.map(|raw| raw.value).unwrap_or_default();
    ReuseConfig {
        requests: Setting::or(raw.requests.map(|count| count.map(NonZero::get)), defaults.requests),
        concurrent: Setting::or(raw.concurrent.map(|count| count.map(NonZero::get)), defaults.concurrent),
        idle: Setting::or(raw.idle, defaults.idle),
    }
}

/// The elements of a list.
pub(super) fn elements<T>(list: Option<Setting<Vec<Setting<T>>>>) -> Vec<Setting<T>> {
    list.map(|list| list.value).unwrap_or_default()
}

/// A list, or an empty one.
pub(super) fn list<T>(list: Option<Setting<Vec<Setting<T>>>>) -> Setting<Vec<Setting<T>>> {
    Setting::or(list, Vec::new())
}

/// The list alone: where it stands is where its elements do.
pub(super) fn plain<T>(list: Setting<Vec<Setting<T>>>) -> Setting<Vec<T>> {
    list.map(|elements| elements.into_iter().map(|element| element.value).collect())
}

/// A map of names, which are compared in lower case.
pub(super) fn map<T>(named: Option<Setting<Named<T>>>) -> Setting<BTreeMap<String, T>> {
    let pairs = |named: Named<T>| {
        named.into_iter().map(|(name, value)| (name.value.to_ascii_lowercase(), value.value)).collect()
    };
    Setting::or(named, Vec::new()).map(pairs)
}
