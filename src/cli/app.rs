//! Options of a single program that is served.

use std::{num::NonZero, time::Duration};

use clap::{Args, ValueEnum};
use prewasm_ext_http::Access;
use prewasm_gateway::Mode;

use super::{Given, GuestArgs, NetworkArgs, parse_size};
use crate::config::{Named, Origin, RawApp, RawDirectory, RawEnv, RawLimits, Setting, Size};

/// What one program may see, call and use up. Defaults are those of the configuration.
#[derive(Args, Clone, Debug)]
pub struct AppArgs {
    /// Whether requests share an instance: `resident` does, `isolated` and `auto` do not [default: auto]
    #[arg(long, value_enum, env = "PREWASM_MODE", hide_env_values = true, help_heading = "Guest")]
    mode: Option<ModeArg>,
    #[command(flatten)]
    guest: GuestArgs,
    #[command(flatten)]
    network: NetworkArgs,
    /// Serve precompiled machine code, which is not checked in any way.
    #[arg(long, help_heading = "Guest")]
    allow_precompiled: bool,
    /// Wall-clock time of a request [default: 30s]
    #[arg(
        long,
        value_name = "DURATION",
        value_parser = humantime::parse_duration,
        env = "PREWASM_TIMEOUT",
        hide_env_values = true,
        help_heading = "Limits"
    )]
    timeout: Option<Duration>,
    /// Linear memory of an instance [default: 256MiB]
    #[arg(
        long,
        value_name = "SIZE",
        value_parser = parse_size,
        env = "PREWASM_MAX_MEMORY",
        hide_env_values = true,
        help_heading = "Limits"
    )]
    max_memory: Option<u64>,
    /// Size of a request's body [default: 16MiB]
    #[arg(
        long,
        value_name = "SIZE",
        value_parser = parse_size,
        env = "PREWASM_MAX_BODY",
        hide_env_values = true,
        help_heading = "Limits"
    )]
    max_body: Option<u64>,
    /// Fuel of a request, about one unit per wasm instruction [default: unlimited]
    #[arg(long, value_name = "UNITS", env = "PREWASM_FUEL", hide_env_values = true, help_heading = "Limits")]
    fuel: Option<u64>,
    /// Instances alive at the same time [default: 200]
    #[arg(long, value_name = "N", env = "PREWASM_INSTANCES", hide_env_values = true, help_heading = "Limits")]
    instances: Option<NonZero<u32>>,
    /// Requests which wait for an instance; any more are answered 503 [default: 200]
    #[arg(long, value_name = "N", env = "PREWASM_QUEUE", hide_env_values = true, help_heading = "Limits")]
    queue: Option<u32>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ModeArg {
    Auto,
    Isolated,
    Resident,
}

impl From<ModeArg> for Mode {
    fn from(mode: ModeArg) -> Self {
        match mode {
            ModeArg::Auto => Self::Auto,
            ModeArg::Isolated => Self::Isolated,
            ModeArg::Resident => Self::Resident,
        }
    }
}

impl Given<AppArgs> {
    /// What was given, for the configuration.
    pub fn raw(&self) -> RawApp {
        let args = &self.args;
        RawApp {
            mode: self.setting("mode", args.mode.map(Mode::from)),
            env: self.named("env", args.guest.env(), RawEnv::Text),
            dirs: self.settings("dir", self.directories()),
            outbound: self.settings("allow-outbound", args.guest.outbound()),
            resolve: self.named("resolve", args.network.resolutions(), |resolution| resolution),
            tls_ca: self.settings("tls-ca", args.network.tls_ca().to_vec()),
            limits: Some(Setting::default_of(self.limits())),
            allow_precompiled: self.setting("allow-precompiled", Some(args.allow_precompiled)),
            ..RawApp::default()
        }
    }

    fn limits(&self) -> RawLimits {
        let args = &self.args;
        RawLimits {
            timeout: self.setting("timeout", args.timeout),
            memory: self.setting("max-memory", args.max_memory.map(Size)),
            fuel: self.setting("fuel", args.fuel),
            body: self.setting("max-body", args.max_body.map(Size)),
            instances: self.setting("instances", args.instances),
            queue: self.setting("queue", args.queue),
            ..RawLimits::default()
        }
    }

    fn directories(&self) -> Vec<RawDirectory> {
        let raw = |directory: prewasm_ext_http::Directory| RawDirectory {
            host: self.setting("dir", Some(directory.host)),
            guest: self.setting("dir", Some(directory.guest)),
            writable: self.setting("dir", Some(directory.access == Access::ReadWrite)),
        };
        self.args.guest.directories(Access::ReadOnly).into_iter().map(raw).collect()
    }

    fn named<T, U>(
        &self,
        flag: &'static str,
        pairs: Vec<(String, T)>,
        value: impl Fn(T) -> U,
    ) -> Option<Setting<Named<U>>> {
        let origin = Origin::Flag(flag);
        let setting = |(name, given): (String, T)| (Setting::new(name, origin), Setting::new(value(given), origin));
        self.setting(flag, Some(pairs.into_iter().map(setting).collect()))
    }
}
