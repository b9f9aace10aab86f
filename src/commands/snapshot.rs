//! `prewasm snapshot`.

use std::{
    env, fmt,
    io::{self, IsTerminal as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use clap::Args;
use prewasm_artifact::{Artifact, write_whole};
use prewasm_ext_http::Access;
use prewasm_snapshot::{
    BuildError, Event, FreezeError, InitExport, InitializeError, Inputs, Limits, Options, Progress, Rename, Report,
    RunError, Until, WarmUp, WarmUpFailure, build,
};

use crate::{
    cli::{Format, GuestArgs, parse_size},
    exit::{Class, Exit, Failure},
    output,
};

/// The first argument of every guest during init: not the file's name, which must not decide the output.
const PROGRAM_NAME: &str = "main.wasm";

/// Options of `snapshot`.
#[derive(Args, Debug)]
#[command(after_help = "\
The program runs in a world of its own: what is not declared is empty, the realtime clock stands
at SOURCE_DATE_EPOCH (seconds, or else 0), and random numbers follow a fixed seed. The same input
and options give the same bytes, on every machine. Do not draw keys before the stop point.

Stop points:
  auto                `init` if it exports an init function; a server stops at `accept`, any other
                      command at `pure`
  init                the end of its init function
  accept              a server waits for a connection, and has none open
  pure                before the first effect outside of its memory: the snapshot runs everywhere
  marker              before its first call of the import `prewasm:marker` `here`
  import:MODULE.NAME  before its first call of that import

Examples:
  prewasm snapshot server.wasm -o server.snap.wasm
  prewasm snapshot server.wasm -o server.snap.wasm --warm-up 'GET /' --warm-up 'POST /echo @body.txt => 200'
  prewasm snapshot app.wasm -o app.snap.wasm --init warm_up --dir ./rules::/rules --env MODE=strict
  prewasm snapshot app.wasm -o - --report report.json | wc -c")]
pub struct SnapshotArgs {
    /// The module or component, binary or text; `-` is standard input.
    input: PathBuf,
    /// Where the snapshot goes; `-` is standard output.
    #[arg(short, long, env = "PREWASM_OUTPUT", hide_env_values = true)]
    output: PathBuf,
    /// Where to stop the program (see below).
    #[arg(long, value_name = "STOP", default_value = "auto", env = "PREWASM_UNTIL", hide_env_values = true)]
    until: Until,
    /// The exported init function; without it, `wizer-initialize` or `wizer.initialize`.
    #[arg(long, value_name = "NAME", env = "PREWASM_INIT", hide_env_values = true)]
    init: Option<String>,
    /// Keep the init function among the exports.
    #[arg(long)]
    keep_init: bool,
    /// Export function SRC as DST (repeatable); `wizer.resume` becomes `_start` by itself.
    #[arg(long, value_name = "DST=SRC")]
    rename: Vec<Rename>,
    /// A request which a server answers before it is frozen: `METHOD PATH [@BODYFILE] [=> STATUS]` (repeatable).
    #[arg(long, value_name = "REQUEST")]
    warm_up: Vec<WarmUp>,
    #[command(flatten)]
    guest: GuestArgs,
    /// An argument of the program, after its name (repeatable).
    #[arg(long, value_name = "ARG", help_heading = "Guest", allow_hyphen_values = true)]
    arg: Vec<String>,
    /// Wall-clock time for the run.
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "60s",
        value_parser = humantime::parse_duration,
        env = "PREWASM_TIMEOUT",
        hide_env_values = true,
        help_heading = "Limits"
    )]
    timeout: Duration,
    /// Linear memory of the program, altogether.
    #[arg(
        long,
        value_name = "SIZE",
        default_value = "4GiB",
        value_parser = parse_size,
        env = "PREWASM_MAX_MEMORY",
        hide_env_values = true,
        help_heading = "Limits"
    )]
    max_memory: u64,
    /// Fuel for the run, about one unit per wasm instruction; without it, unlimited.
    #[arg(long, value_name = "UNITS", env = "PREWASM_FUEL", hide_env_values = true, help_heading = "Limits")]
    fuel: Option<u64>,
    /// Write the report to a file, as JSON.
    #[arg(long, value_name = "FILE", env = "PREWASM_REPORT", hide_env_values = true)]
    report: Option<PathBuf>,
    /// The form of the report: a summary on standard error, or JSON on standard output.
    #[arg(long, value_enum, default_value_t, env = "PREWASM_FORMAT", hide_env_values = true)]
    format: Format,
}

/// Makes a snapshot.
pub fn run(args: &SnapshotArgs, quiet: bool) -> Result<Exit, Failure> {
    if args.format == Format::Json && args.output == Path::new("-") {
        return Err(Failure::usage(
            "standard output cannot take both the snapshot and the report\n  hint: use `--report FILE`",
        ));
    }
    output::check_binary(&args.output)?;
    let options = args.options()?;
    let artifact = Artifact::read(&args.input)?;
    let snapshot = build(&artifact, &options, &progress(quiet)).map_err(|error| Failure::new(class(&error), error))?;
    output::binary(&args.output, &snapshot.wasm)?;
    args.print(&snapshot.report, quiet)?;
    Ok(Exit::Done)
}

impl SnapshotArgs {
    fn options(&self) -> Result<Options, Failure> {
        let mut args = vec![PROGRAM_NAME.to_owned()];
        args.extend(self.arg.iter().cloned());
        Ok(Options {
            until: self.until.clone(),
            init: self.init.clone(),
            init_export: if self.keep_init { InitExport::Keep } else { InitExport::Remove },
            renames: self.rename.clone(),
            warm_ups: self.warm_up.clone(),
            inputs: Inputs {
                args,
                env: self.guest.env(),
                dirs: self.guest.directories(Access::ReadOnly),
                stdin: None,
                outbound: self.guest.outbound(),
                realtime: source_date_epoch()?,
            },
            limits: Limits { timeout: self.timeout, memory: self.max_memory, fuel: self.fuel },
        })
    }

    fn print(&self, report: &Report, quiet: bool) -> Result<(), Failure> {
        let json = || {
            let text = serde_json::to_string_pretty(report).context("cannot encode the report");
            text.map(|text| text + "\n").map_err(|error| Failure::new(Class::Ours, error))
        };
        if let Some(path) = &self.report {
            write_whole(path, json()?.as_bytes())?;
        }
        match self.format {
            Format::Json => output::result(&json()?),
            Format::Text if quiet => Ok(()),
            Format::Text => {
                output::message(format_args!("{report}"));
                Ok(())
            }
        }
    }
}

/// The convention of reproducible builds: seconds since the Unix epoch.
fn source_date_epoch() -> Result<u64, Failure> {
    let Some(value) = env::var_os("SOURCE_DATE_EPOCH") else { return Ok(0) };
    let parsed = value.to_str().and_then(|value| value.parse().ok());
    parsed.ok_or_else(|| {
        Failure::usage(format_args!(
            "SOURCE_DATE_EPOCH is `{}`, which is no number of seconds\n  hint: set it to a number, or unset it",
            value.to_string_lossy()
        ))
    })
}

/// On a terminal, somebody waits.
fn progress(quiet: bool) -> Progress {
    let is_watched = !quiet && io::stderr().is_terminal();
    let tell = move |text: fmt::Arguments<'_>| match is_watched {
        true => output::message(text),
        false => tracing::debug!("{text}"),
    };
    Arc::new(move |event| match event {
        Event::Compiling => tell(format_args!("compiling")),
        Event::Calling { function } => tell(format_args!("calling `{function}`")),
        Event::Checking => tell(format_args!("comparing the result with what was stopped")),
        Event::Guest { line } => output::guest(line),
        Event::GuestOutputCut { limit } => {
            tracing::warn!("the guest has printed more than {limit} bytes; the rest is dropped");
        }
    })
}

fn class(error: &BuildError) -> Class {
    match error {
        BuildError::Rejected { .. } => Class::Rejected,
        BuildError::Verify { .. } => Class::Verification,
        BuildError::Initialize { source, .. } => match source {
            InitializeError::Run(error) => class_of_run(error),
            InitializeError::NoInit { .. } | InitializeError::Record(_) => Class::Rejected,
        },
        BuildError::Freeze { source, .. } => match source {
            FreezeError::Run(error) | FreezeError::FailedAt { source: error, .. } => class_of_run(error),
            FreezeError::Ended { .. } | FreezeError::Waits { .. } => Class::Guest,
            FreezeError::WarmUp(WarmUpFailure::File { .. }) => Class::Usage,
            FreezeError::WarmUp(WarmUpFailure::NoAnswer { .. } | WarmUpFailure::Status { .. }) => Class::Guest,
            FreezeError::State { .. } | FreezeError::Host { .. } | FreezeError::Damaged(_) | FreezeError::Resume(_) => {
                Class::Rejected
            }
            FreezeError::Encode(_) => Class::Ours,
            FreezeError::Differs { .. } => Class::Verification,
        },
    }
}

fn class_of_run(error: &RunError) -> Class {
    match error {
        RunError::Trapped { .. }
        | RunError::Exited { .. }
        | RunError::TimedOut { .. }
        | RunError::OutOfFuel { .. }
        | RunError::OutOfMemory { .. } => Class::Guest,
        RunError::Compile(_) => Class::Rejected,
        RunError::Directory(_) => Class::Usage,
        RunError::System(_) | RunError::Engine(_) => Class::Ours,
    }
}
