//! `prewasm serve`.

use std::{
    io::{self, Write as _},
    net::SocketAddr,
    num::NonZeroUsize,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use clap::{Args, ValueEnum};
use prewasm_artifact::Artifact;
use prewasm_ext_http::{Access, Environment};
use prewasm_gateway::{
    App, CodeCache, Limits, Loaded, Mode, PrepareError, ServeError, ServerOptions, SiteError, SiteErrors, SiteSource,
    SiteSpec, serve,
};

use super::run::{precompiled_policy, program_name};
use crate::{
    cli::{GuestArgs, NetworkArgs, parse_size},
    exit::{Class, Exit, Failure, load_class},
};

/// Options of `serve`.
#[derive(Args, Debug)]
#[command(after_help = "\
Socket servers written for WasmEdge, commands (as CGI) and wasi:http 0.2 components can be served.
The first line on standard output is `listening on http://ADDRESS`; the log is on standard error.
SIGTERM and SIGINT let running requests finish. SIGHUP, or a change of the file, loads it again; what cannot be loaded
leaves what is served as it is.

Examples:
  prewasm serve server.wasm
  prewasm serve server.wasm --listen 0.0.0.0:80 --timeout 5s --max-memory 64MiB
  prewasm serve app.wasm --dir ./assets::/assets --env LOG=info --allow-outbound https://api.example.com")]
pub struct ServeArgs {
    /// The module or component, binary or text; `-` is standard input.
    file: PathBuf,
    /// The address to listen on; port 0 lets the system choose.
    #[arg(
        long,
        value_name = "IP:PORT",
        default_value = "127.0.0.1:8080",
        env = "PREWASM_LISTEN",
        hide_env_values = true
    )]
    listen: SocketAddr,
    /// Whether requests share an instance: `resident` does, `isolated` and `auto` do not.
    #[arg(long, value_enum, default_value_t = ModeArg::Auto, env = "PREWASM_MODE", hide_env_values = true)]
    mode: ModeArg,
    /// Threads which serve; without it, one per core.
    #[arg(long, value_name = "N", env = "PREWASM_WORKERS", hide_env_values = true)]
    workers: Option<NonZeroUsize>,
    /// Wait this long for running requests when told to stop.
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "30s",
        value_parser = humantime::parse_duration,
        env = "PREWASM_DRAIN",
        hide_env_values = true
    )]
    drain: Duration,
    /// When told to stop, go on for this long, with `Connection: close` in each answer, so that load balancers notice.
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "0s",
        value_parser = humantime::parse_duration,
        env = "PREWASM_DRAIN_DELAY",
        hide_env_values = true
    )]
    drain_delay: Duration,
    /// Let other processes listen on the same address.
    #[arg(long)]
    reuse_port: bool,
    #[command(flatten)]
    guest: GuestArgs,
    #[command(flatten)]
    network: NetworkArgs,
    /// Serve precompiled machine code, which is not checked in any way.
    #[arg(long, help_heading = "Guest")]
    allow_precompiled: bool,
    /// Wall-clock time of a request.
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "30s",
        value_parser = humantime::parse_duration,
        env = "PREWASM_TIMEOUT",
        hide_env_values = true,
        help_heading = "Limits"
    )]
    timeout: Duration,
    /// Linear memory of an instance.
    #[arg(
        long,
        value_name = "SIZE",
        default_value = "256MiB",
        value_parser = parse_size,
        env = "PREWASM_MAX_MEMORY",
        hide_env_values = true,
        help_heading = "Limits"
    )]
    max_memory: u64,
    /// Size of a request's body.
    #[arg(
        long,
        value_name = "SIZE",
        default_value = "16MiB",
        value_parser = parse_size,
        env = "PREWASM_MAX_BODY",
        hide_env_values = true,
        help_heading = "Limits"
    )]
    max_body: u64,
    /// Fuel of a request, about one unit per wasm instruction; without it, unlimited.
    #[arg(long, value_name = "UNITS", env = "PREWASM_FUEL", hide_env_values = true, help_heading = "Limits")]
    fuel: Option<u64>,
    /// Instances alive at the same time.
    #[arg(
        long,
        value_name = "N",
        default_value_t = Limits::default().instances,
        env = "PREWASM_INSTANCES",
        hide_env_values = true,
        help_heading = "Limits"
    )]
    instances: u32,
    /// Requests which wait for an instance; any more are answered 503.
    #[arg(
        long,
        value_name = "N",
        default_value_t = Limits::default().queue,
        env = "PREWASM_QUEUE",
        hide_env_values = true,
        help_heading = "Limits"
    )]
    queue: u32,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ModeArg {
    Auto,
    Isolated,
    Resident,
}

/// Serves until told to stop.
pub fn run(args: ServeArgs) -> Result<Exit, Failure> {
    let mut source = SingleFile(args);
    let first = source.load()?;
    let options = source.0.server_options();
    serve(first, source, &options, &CodeCache::user(), |address| {
        // Who started us may have gone; that is no reason not to serve.
        let mut stdout = io::stdout();
        let _ = writeln!(stdout, "listening on http://{address}").and_then(|()| stdout.flush());
    })
    .map_err(failure)?;
    Ok(Exit::Done)
}

/// The file named on the command line, and its options.
struct SingleFile(ServeArgs);

impl SiteSource for SingleFile {
    type Error = Failure;

    fn load(&mut self) -> Result<Loaded, Failure> {
        let app = self.0.app(Artifact::read(&self.0.file)?)?;
        Ok(Loaded { site: SiteSpec::single(app), watched: vec![self.0.file.clone()] })
    }
}

impl ServeArgs {
    fn app(&self, artifact: Artifact) -> Result<App, Failure> {
        let environment = Environment {
            args: vec![program_name(&self.file)],
            env: self.guest.env(),
            dirs: self.guest.directories(Access::ReadOnly),
            ..Environment::default()
        };
        Ok(App {
            mode: match self.mode {
                ModeArg::Auto => Mode::Auto,
                ModeArg::Isolated => Mode::Isolated,
                ModeArg::Resident => Mode::Resident,
            },
            environment: Arc::new(environment),
            outbound: Arc::new(self.network.policy(&self.guest)?),
            limits: Limits {
                timeout: self.timeout,
                memory: self.max_memory,
                fuel: self.fuel,
                body: self.max_body,
                instances: self.instances,
                queue: self.queue,
                ..Limits::default()
            },
            precompiled: precompiled_policy(self.allow_precompiled),
            ..App::new(artifact)
        })
    }

    fn server_options(&self) -> ServerOptions {
        let defaults = ServerOptions::default();
        ServerOptions {
            listen: self.listen,
            workers: self.workers.unwrap_or(defaults.workers),
            drain_delay: self.drain_delay,
            drain: self.drain,
            reuse_port: self.reuse_port,
            instances: self.instances,
            ..defaults
        }
    }
}

/// There is one app, so its name says nothing.
fn failure(error: ServeError) -> Failure {
    let class = class(&error);
    match error {
        ServeError::Site(SiteErrors(mut errors)) if errors.len() == 1 => match errors.remove(0) {
            SiteError::App { source, .. } => Failure::new(class, source),
            error => Failure::new(class, error),
        },
        error => Failure::new(class, error),
    }
}

fn class(error: &ServeError) -> Class {
    match error {
        ServeError::Listen { .. } | ServeError::Worker(_) => Class::Ours,
        ServeError::Reset(_) => Class::Usage,
        // The worst thing decides.
        ServeError::Site(errors) => errors.0.iter().map(site_class).max().unwrap_or(Class::Usage),
    }
}

fn site_class(error: &SiteError) -> Class {
    match error {
        SiteError::App { source, .. } => prepare_class(source),
        SiteError::Files { .. } | SiteError::NoApp { .. } | SiteError::Conflict(_) => Class::Usage,
    }
}

fn prepare_class(error: &PrepareError) -> Class {
    match error {
        PrepareError::Load(error) => load_class(error),
        PrepareError::Kind { .. }
        | PrepareError::Frozen { .. }
        | PrepareError::FrozenListener { .. }
        | PrepareError::FrozenEnvironment { .. } => Class::Rejected,
        PrepareError::Directory(_)
        | PrepareError::NotResident { .. }
        | PrepareError::Memory { .. }
        | PrepareError::Reset(_) => Class::Usage,
        PrepareError::Engine { .. } | PrepareError::Thread(_) => Class::Ours,
    }
}
