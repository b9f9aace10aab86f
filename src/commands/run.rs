//! `prewasm run`.

#[cfg(feature = "wasmedge")]
mod wasmedge;

use std::{error::Error, path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};
use prewasm_artifact::{Artifact, PREVIEW1};
use prewasm_ext_http::{Access, Environment, InboundRule, ResumeError};
use prewasm_gateway::{
    CodeCache, PrecompiledPolicy,
    run::{Finished, Outcome, RunError, RunOptions},
};

use crate::{
    cli::{GuestArgs, NetworkArgs, parse_size},
    exit::{Class, Exit, Failure, chain, load_class},
    output,
    program_name::program_name,
};

/// Options of `run`.
#[derive(Args, Debug)]
#[command(after_help = "\
The network is closed unless opened. A server says on standard error where it really listens. The
exit code is the guest's own; 134 is a trap or the end of its fuel, 124 the time limit.

Examples:
  prewasm run server.wasm --allow-inbound 127.0.0.1:8080
  prewasm run server.wasm --allow-inbound 0.0.0.0:1234=127.0.0.1:0
  prewasm run client.wasm --allow-outbound http://example.com http://example.com/
  prewasm run tool.wasm --dir ./data::/data --env MODE=fast -- --input /data/in.txt
  prewasm run client.wasm --engine wasmedge --allow-outbound '*://*:*' http://example.com/")]
pub struct RunArgs {
    /// The module or component, binary or text; `-` is standard input.
    file: PathBuf,
    /// Arguments of the program; from the first one on, or from `--` on, all belong to it.
    #[arg(trailing_var_arg = true)]
    args: Vec<String>,
    /// What runs the program. WasmEdge is there if prewasm was built with the cargo feature `wasmedge`.
    #[arg(
        long,
        value_enum,
        default_value_t,
        env = "PREWASM_ENGINE",
        hide_env_values = true,
        hide_possible_values = true,
        value_name = "wasmtime|wasmedge"
    )]
    engine: Engine,
    #[command(flatten)]
    guest: GuestArgs,
    #[command(flatten)]
    network: NetworkArgs,
    /// Allow listening on an address, IP:PORT; what the guest asks for may be put in front (repeatable).
    #[arg(long, value_name = "[GUEST_ADDR=]HOST_ADDR", help_heading = "Guest")]
    allow_inbound: Vec<InboundRule>,
    /// Run precompiled machine code, which is not checked in any way.
    #[arg(long, help_heading = "Guest")]
    allow_precompiled: bool,
    /// Wall-clock time of the program; without it, unlimited.
    #[arg(
        long,
        value_name = "DURATION",
        value_parser = humantime::parse_duration,
        env = "PREWASM_TIMEOUT",
        hide_env_values = true,
        help_heading = "Limits"
    )]
    timeout: Option<Duration>,
    /// Linear memory of the program.
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
    /// Fuel of the program, about one unit per wasm instruction; without it, unlimited.
    #[arg(long, value_name = "UNITS", env = "PREWASM_FUEL", hide_env_values = true, help_heading = "Limits")]
    fuel: Option<u64>,
}

/// What runs a program.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Engine {
    #[default]
    Wasmtime,
    #[value(name = "wasmedge")]
    WasmEdge,
}

/// Runs a program.
pub fn run(args: RunArgs) -> Result<Exit, Failure> {
    match args.engine {
        Engine::Wasmtime => run_on_wasmtime(&args),
        #[cfg(feature = "wasmedge")]
        Engine::WasmEdge => wasmedge::run(&args),
        #[cfg(not(feature = "wasmedge"))]
        Engine::WasmEdge => Err(Failure::usage(
            "this prewasm was built without the feature `wasmedge`, which `--engine wasmedge` needs\n  hint: build it with `cargo build --locked --features wasmedge`; README.md says what that needs",
        )),
    }
}

fn run_on_wasmtime(args: &RunArgs) -> Result<Exit, Failure> {
    let artifact = Artifact::read(&args.file)?;
    let finished = prewasm_gateway::run::run(&artifact, &args.options()?, &CodeCache::user())
        .map_err(|error| Failure::new(class(&error), error))?;
    Ok(report(&artifact, &finished))
}

impl RunArgs {
    fn options(&self) -> Result<RunOptions, Failure> {
        let args = self.program_args();
        let dirs = self.guest.directories(Access::ReadWrite);
        Ok(RunOptions {
            environment: Environment { args, env: self.guest.env(), dirs, ..Environment::default() },
            inbound: self.allow_inbound.clone(),
            outbound: self.network.policy(&self.guest)?,
            fuel: self.fuel,
            timeout: self.timeout,
            memory: self.max_memory,
            precompiled: precompiled_policy(self.allow_precompiled),
        })
    }

    fn program_args(&self) -> Vec<String> {
        let mut args = vec![program_name(&self.file)];
        args.extend(self.args.iter().cloned());
        args
    }
}

/// What `--allow-precompiled` means.
pub fn precompiled_policy(allow: bool) -> PrecompiledPolicy {
    if allow { PrecompiledPolicy::Trust } else { PrecompiledPolicy::Refuse }
}

/// Tells how the program ended, where its exit code does not.
fn report(artifact: &Artifact, finished: &Finished) -> Exit {
    let origin = artifact.origin();
    let exit = match &finished.outcome {
        Outcome::Exited(code) => Exit::Guest(*code),
        Outcome::Trapped(error) => trapped(origin, error.as_ref()),
        Outcome::OutOfFuel { fuel, error } => {
            output::message(format_args!(
                "error: `{origin}` ran out of fuel ({fuel} units)\n  hint: raise the limit with `--fuel`\n  caused by: {}",
                chain(error.as_ref())
            ));
            Exit::Trapped
        }
        Outcome::OutOfMemory { asked, limit, error } => {
            output::message(format_args!(
                "error: `{origin}` trapped after it had asked for {asked} bytes of memory, where the limit is {limit}\n  hint: raise the limit with `--max-memory`\n  caused by: {}",
                chain(error.as_ref())
            ));
            Exit::Trapped
        }
        Outcome::TimedOut(timeout) => timed_out(origin, *timeout),
    };
    if exit.code() != 0 && finished.missed_directory && opens_files(artifact) {
        output::message(format_args!(
            "hint: the program looked for files, and was given no directory: pass one with `--dir HOST::GUEST`"
        ));
    }
    exit
}

fn trapped(origin: &str, error: &(dyn Error + 'static)) -> Exit {
    output::message(format_args!("error: `{origin}` trapped\n  caused by: {}", chain(error)));
    Exit::Trapped
}

fn timed_out(origin: &str, timeout: Duration) -> Exit {
    output::message(format_args!(
        "error: `{origin}` did not end within {timeout:?}\n  hint: raise the limit with `--timeout`"
    ));
    Exit::TimedOut
}

fn opens_files(artifact: &Artifact) -> bool {
    artifact.imports().iter().any(|import| import.module == PREVIEW1 && import.name == "path_open")
}

fn class(error: &RunError) -> Class {
    match error {
        RunError::Load(error) => load_class(error),
        RunError::Kind { .. } | RunError::Link { .. } | RunError::Frozen { .. } => Class::Rejected,
        RunError::Resume { source: ResumeError::Denied { .. }, .. } => Class::Policy,
        RunError::Resume { source: ResumeError::Bind { .. }, .. } => Class::Ours,
        RunError::Directory(_) | RunError::ComponentInbound { .. } => Class::Usage,
        RunError::Engine(_) | RunError::System(_) => Class::Ours,
    }
}
