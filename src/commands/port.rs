//! `prewasm port`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use prewasm_artifact::Artifact;
use prewasm_ext_http::port::{Authority, PortError, PortOptions, Ported, World, port};

use crate::{
    exit::{Class, Exit, Failure},
    output,
};

/// Options of `port`.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  prewasm port server.wasm -o server.component.wasm")]
pub struct PortArgs {
    /// The program, binary or text; `-` is standard input.
    input: PathBuf,
    /// Where the component goes; `-` is standard output.
    #[arg(short, long, env = "PREWASM_OUTPUT", hide_env_values = true)]
    output: PathBuf,
    /// What the component imports and exports.
    #[arg(long, value_enum, default_value = "auto", env = "PREWASM_WORLD", hide_env_values = true)]
    world: WorldArg,
    /// Whom a request is for, if the program connects to one host and names another in the request.
    #[arg(long, value_enum, default_value = "connect", env = "PREWASM_AUTHORITY", hide_env_values = true)]
    authority: AuthorityArg,
    /// Let connections that are not HTTP go through `wasi:sockets`, which not every host has.
    #[arg(long)]
    with_sockets: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum WorldArg {
    /// `proxy` for a server, `command` for any other program.
    Auto,
    /// `wasi:http/proxy`: a handler of requests, which sees no arguments, variables or files.
    Proxy,
    /// A handler of requests that reads arguments, variables or files.
    ProxyCli,
    /// `wasi:cli/command`: a program that is run.
    Command,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum AuthorityArg {
    /// Whom it connects to; a request that names somebody else is refused.
    Connect,
    /// Whom the request names.
    HostHeader,
}

/// Ports a program.
pub fn run(args: &PortArgs, quiet: bool) -> Result<Exit, Failure> {
    output::check_binary(&args.output)?;
    let artifact = Artifact::read(&args.input)?;
    let ported = port(&artifact, &args.options()).map_err(|error| Failure::new(class(&error), error))?;
    output::binary(&args.output, ported.artifact.bytes())?;
    if !quiet {
        summary(&artifact, &ported);
    }
    Ok(Exit::Done)
}

impl PortArgs {
    fn options(&self) -> PortOptions {
        PortOptions {
            world: match self.world {
                WorldArg::Auto => None,
                WorldArg::Proxy => Some(World::Proxy),
                WorldArg::ProxyCli => Some(World::ProxyCli),
                WorldArg::Command => Some(World::Command),
            },
            authority: match self.authority {
                AuthorityArg::Connect => Authority::Connect,
                AuthorityArg::HostHeader => Authority::HostHeader,
            },
            with_sockets: self.with_sockets,
        }
    }
}

fn summary(artifact: &Artifact, Ported { artifact: component, plan }: &Ported) {
    let (before, after) = (artifact.bytes().len(), component.bytes().len());
    output::message(format_args!(
        "`{}` is ported to world `{}`: {before} -> {after} bytes",
        artifact.origin(),
        plan.world.name()
    ));
    for note in &plan.notes {
        output::message(format_args!("  {note}"));
    }
}

fn class(error: &PortError) -> Class {
    match error {
        PortError::Rejected { .. } => Class::Rejected,
        PortError::Link { .. } | PortError::Encode { .. } | PortError::Output { .. } => Class::Ours,
    }
}
