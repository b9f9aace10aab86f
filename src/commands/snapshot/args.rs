//! The options of `snapshot`.

use std::{
    collections::BTreeSet,
    env, fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use prewasm_ext_http::Access;
use prewasm_snapshot::{
    Body, EntropyPolicy, InitExport, Inputs, Layout, Limits, Options, Rename, SecretRules, Sizes, Strip, Until,
    Verification, WarmUp, token_rules,
};

use super::budget::Budget;
use crate::{
    cli::{Format, GuestArgs, parse_size},
    exit::{Class, Failure},
    output,
};

/// The first argument of every guest during init: not the file's name, which must not decide the output.
const PROGRAM_NAME: &str = "main.wasm";

/// Options of `snapshot`.
#[derive(Args, Debug)]
#[command(after_help = "\
The program runs in a world of its own: what is not declared is empty, the realtime clock stands
at SOURCE_DATE_EPOCH (seconds, or else 0), and random numbers follow from its hash. The same input
and options give the same bytes, on every machine. Nothing is written if the result would hold
random bytes, except for hash keys, or what looks like a secret of this machine.

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
  prewasm snapshot app.wasm -o - --report report.json | wc -c
  prewasm snapshot app.wasm --check app.snap.wasm
  prewasm snapshot app.wasm -o app.snap.wasm --cache-dir ~/.cache/snapshots --depfile app.d")]
pub struct SnapshotArgs {
    /// The module or component, binary or text; `-` is standard input.
    pub(super) input: PathBuf,
    /// Where the snapshot goes; `-` is standard output.
    #[arg(
        short,
        long,
        env = "PREWASM_OUTPUT",
        hide_env_values = true,
        required_unless_present = "check",
        conflicts_with = "check"
    )]
    pub(super) output: Option<PathBuf>,
    /// Instead of writing, compare with a snapshot made before; if it differs, say where, and end with code 5.
    #[arg(long, value_name = "FILE", env = "PREWASM_CHECK", hide_env_values = true)]
    pub(super) check: Option<PathBuf>,
    /// Where to stop the program (see below).
    #[arg(long, value_name = "STOP", default_value = "auto", env = "PREWASM_UNTIL", hide_env_values = true)]
    pub(super) until: Until,
    /// The exported init function; without it, `wizer-initialize` or `wizer.initialize`.
    #[arg(long, value_name = "NAME", env = "PREWASM_INIT", hide_env_values = true)]
    pub(super) init: Option<String>,
    /// Keep the init function among the exports.
    #[arg(long)]
    pub(super) keep_init: bool,
    /// Export function SRC as DST (repeatable); `wizer.resume` becomes `_start` by itself.
    #[arg(long, value_name = "DST=SRC")]
    pub(super) rename: Vec<Rename>,
    /// A request which a server answers before it is frozen: `METHOD PATH [@BODYFILE] [=> STATUS]` (repeatable).
    #[arg(long, value_name = "REQUEST")]
    pub(super) warm_up: Vec<WarmUp>,
    #[command(flatten)]
    pub(super) guest: GuestArgs,
    /// An argument of the program, after its name (repeatable).
    #[arg(long, value_name = "ARG", help_heading = "Guest", allow_hyphen_values = true)]
    pub(super) arg: Vec<String>,
    /// A file which the program finds on its standard input; without it, that is empty.
    #[arg(long, value_name = "FILE", help_heading = "Guest")]
    pub(super) stdin: Option<PathBuf>,
    /// How memory is laid out in the file: `cow` in few large segments, which hosts map copy-on-write; `wire` as small as
    /// possible when compressed; `raw` as it came.
    #[arg(
        long,
        value_name = "LAYOUT",
        default_value = "cow",
        env = "PREWASM_OPTIMIZE",
        hide_env_values = true,
        help_heading = "Size"
    )]
    pub(super) optimize: Layout,
    /// Drop code which only the start-up could reach, and debug information; put alike functions side by side.
    #[arg(long, help_heading = "Size")]
    pub(super) strip: bool,
    /// Do not run the snapshot beside the original, which takes about as long as the build itself.
    #[arg(long, help_heading = "Policy")]
    pub(super) no_verify: bool,
    /// Accept random bytes which are in the snapshot, the same in every instance.
    #[arg(long, help_heading = "Policy", conflicts_with = "deny_hash_entropy")]
    pub(super) allow_frozen_entropy: bool,
    /// Refuse even what depends on the hash keys of Rust's standard library, such as maps made before the stop point.
    #[arg(long, help_heading = "Policy")]
    pub(super) deny_hash_entropy: bool,
    /// Accept what looks like a secret: `env:NAME` for the value of a variable of this machine, or a kind of token
    /// (repeatable).
    #[arg(long, value_name = "RULE", help_heading = "Policy")]
    pub(super) allow_secret: Vec<String>,
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
    pub(super) timeout: Duration,
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
    pub(super) max_memory: u64,
    /// Fuel for the run, about one unit per wasm instruction; without it, unlimited.
    #[arg(long, value_name = "UNITS", env = "PREWASM_FUEL", hide_env_values = true, help_heading = "Limits")]
    pub(super) fuel: Option<u64>,
    #[command(flatten)]
    pub(super) budget: Budget,
    /// Take the result of a former build with the same inputs and options from this folder, or keep it there.
    #[arg(long, value_name = "FOLDER", env = "PREWASM_CACHE_DIR", hide_env_values = true, help_heading = "Pipelines")]
    pub(super) cache_dir: Option<PathBuf>,
    /// Write what the output depends on, as a rule for Make or Ninja.
    #[arg(
        long,
        value_name = "FILE",
        env = "PREWASM_DEPFILE",
        hide_env_values = true,
        conflicts_with = "check",
        help_heading = "Pipelines"
    )]
    pub(super) depfile: Option<PathBuf>,
    /// Write how the output was made, as an unsigned in-toto statement with SLSA provenance.
    #[arg(
        long,
        value_name = "FILE",
        env = "PREWASM_ATTESTATION",
        hide_env_values = true,
        conflicts_with = "check",
        help_heading = "Pipelines"
    )]
    pub(super) attestation: Option<PathBuf>,
    /// Write the report to a file, as JSON.
    #[arg(long, value_name = "FILE", env = "PREWASM_REPORT", hide_env_values = true)]
    pub(super) report: Option<PathBuf>,
    /// The form of the report: a summary on standard error, or JSON on standard output.
    #[arg(long, value_enum, default_value_t, env = "PREWASM_FORMAT", hide_env_values = true)]
    pub(super) format: Format,
}

impl SnapshotArgs {
    /// Refuses two things on one standard stream, and a binary on a terminal, before any work is done for them.
    pub(super) fn check_streams(&self) -> Result<(), Failure> {
        let is_stream = |path: &Option<PathBuf>| path.as_deref() == Some(Path::new("-"));
        if is_stream(&self.output) {
            if self.format == Format::Json {
                return Err(Failure::usage(
                    "standard output cannot take both the snapshot and the report\n  hint: use `--report FILE`",
                ));
            }
            if self.depfile.is_some() || self.attestation.is_some() {
                return Err(Failure::usage(
                    "`--depfile` and `--attestation` name the output, and standard output has no name\n  hint: name a file with `-o`",
                ));
            }
        }
        if is_stream(&self.stdin) && self.input == Path::new("-") {
            return Err(Failure::usage("standard input cannot give both the program and what it is to read"));
        }
        self.output.as_deref().map_or(Ok(()), output::check_binary)
    }

    /// What the library is to do.
    pub(super) fn options(&self) -> Result<Options, Failure> {
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
                stdin: self.stdin.as_deref().map(read_stdin).transpose()?.map(Into::into),
                outbound: self.guest.outbound(),
                realtime: source_date_epoch()?.unwrap_or(0),
            },
            limits: Limits { timeout: self.timeout, memory: self.max_memory, fuel: self.fuel },
            layout: self.optimize,
            strip: if self.strip { Strip::Unreachable } else { Strip::Nothing },
            sizes: match (&self.report, self.format) {
                (None, Format::Text) => Sizes::File,
                _ => Sizes::Compressed,
            },
            entropy: match (self.allow_frozen_entropy, self.deny_hash_entropy) {
                (true, _) => EntropyPolicy::Any,
                (false, true) => EntropyPolicy::DenyHashKeys,
                (false, false) => EntropyPolicy::HashKeys,
            },
            verification: if self.no_verify { Verification::Skip } else { Verification::Compare },
            secrets: SecretRules { environment: environment(), allowed: self.allowed_secrets()? },
        })
    }

    /// A rule which does not exist is a mistake that would be noticed too late.
    fn allowed_secrets(&self) -> Result<BTreeSet<String>, Failure> {
        let tokens = token_rules();
        let unknown = |rule: &&String| !rule.starts_with("env:") && !tokens.contains(rule.as_str());
        match self.allow_secret.iter().find(unknown) {
            None => Ok(self.allow_secret.iter().cloned().collect()),
            Some(rule) => {
                let known: Vec<_> = tokens.into_iter().collect();
                Err(Failure::usage(format_args!(
                    "`--allow-secret {rule}`: there is no such rule\n  hint: write `env:NAME`, or one of {}",
                    known.join(", ")
                )))
            }
        }
    }

    /// The files named on the command line which decide the output.
    pub(super) fn files(&self) -> Vec<&Path> {
        let bodies = self.warm_up.iter().filter_map(|warm_up| match &warm_up.body {
            Body::Empty => None,
            Body::File(path) => Some(path.as_path()),
        });
        let named = [self.input.as_path()].into_iter().chain(self.stdin.as_deref()).chain(bodies);
        named.filter(|path| *path != Path::new("-")).collect()
    }
}

/// The variables of this process: none of their values is to be in a snapshot.
fn environment() -> Vec<(String, String)> {
    env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))).collect()
}

fn read_stdin(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut content = Vec::new();
    let read = match path == Path::new("-") {
        true => io::stdin().lock().read_to_end(&mut content).map(|_| content),
        false => fs::read(path),
    };
    read.map_err(|error| {
        let context = format!("cannot read the program's standard input from `{}`", path.display());
        Failure::new(Class::Usage, anyhow::Error::new(error).context(context))
    })
}

/// The convention of reproducible builds: seconds since the Unix epoch, if it is set.
pub(super) fn source_date_epoch() -> Result<Option<u64>, Failure> {
    let Some(value) = env::var_os("SOURCE_DATE_EPOCH") else { return Ok(None) };
    let parsed = value.to_str().and_then(|value| value.parse().ok());
    parsed.map(Some).ok_or_else(|| {
        Failure::usage(format_args!(
            "SOURCE_DATE_EPOCH is `{}`, which is no number of seconds\n  hint: set it to a number, or unset it",
            value.to_string_lossy()
        ))
    })
}
