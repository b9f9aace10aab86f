//! `prewasm port`.

mod comparison;
mod trial;

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use prewasm_artifact::Artifact;
use prewasm_ext_http::port::{Authority, PortError, PortOptions, Ported, World, port};

use self::comparison::Comparison;
use crate::{
    cli::{Format, GuestArgs, NetworkArgs},
    exit::{Class, Exit, Failure},
    output,
};

/// Options of `port`.
#[derive(Args, Debug)]
#[command(after_help = "\
A server becomes a handler of requests (world `proxy`), each of which runs the program from its
start to where it waits for the next connection; any other program becomes a command. Its sockets
and WasmEdge's HTTP plugin and TLS codec are mapped to `wasi:http`. The component imports nothing
but `wasi:`, and runs on stock hosts. What cannot be ported is refused by name with code 3, before
anything is written: `prewasm inspect` tells beforehand.

A server is asked `GET /` once, with what the options below let it see, to find out whether it
speaks HTTP.

Examples:
  prewasm port server.wasm -o server.component.wasm
  prewasm port server.wasm -o server.component.wasm --check requests.txt
  prewasm snapshot server.wasm -o server.snap.wasm && prewasm port server.snap.wasm -o server.component.wasm
  wasmtime serve server.component.wasm
  prewasm port client.wasm -o client.component.wasm
  wasmtime run -S http client.component.wasm http://127.0.0.1:8080/

A script for `--check` has a request per line, written as for `snapshot --warm-up`:
  GET /
  POST /echo @body.txt => 200")]
pub struct PortArgs {
    /// The program, binary or text; `-` is standard input.
    input: PathBuf,
    /// Where the component goes; `-` is standard output.
    #[arg(short, long, env = "PREWASM_OUTPUT", hide_env_values = true, required_unless_present = "check")]
    output: Option<PathBuf>,
    /// What the component imports and exports.
    #[arg(long, value_enum, default_value = "auto", env = "PREWASM_WORLD", hide_env_values = true)]
    world: WorldArg,
    /// Whom a request is for, if the program connects to one host and names another in the request.
    #[arg(long, value_enum, default_value = "connect", env = "PREWASM_AUTHORITY", hide_env_values = true)]
    authority: AuthorityArg,
    /// Let connections that are not HTTP go through `wasi:sockets`, which not every host has.
    #[arg(long)]
    with_sockets: bool,
    /// Ask the program and the component what a script says, and print how their answers differ; if they do, nothing is
    /// written, and the code is 5.
    #[arg(long, value_name = "SCRIPT", env = "PREWASM_CHECK", hide_env_values = true)]
    check: Option<PathBuf>,
    /// The form of what `--check` prints.
    #[arg(long, value_enum, default_value_t, env = "PREWASM_FORMAT", hide_env_values = true)]
    format: Format,
    /// Do not ask a server whether it speaks HTTP.
    #[arg(long)]
    no_probe: bool,
    #[command(flatten)]
    guest: GuestArgs,
    #[command(flatten)]
    network: NetworkArgs,
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
    args.check_streams()?;
    let requests = args.check.as_deref().map(trial::read_script).transpose()?;
    let artifact = Artifact::read(&args.input)?;
    let ported = port(&artifact, &args.options()).map_err(|error| Failure::new(class(&error), error))?;
    let is_handler = ported.plan.world.is_handler();
    if is_handler && !args.no_probe {
        trial::check_speaks_http(args, &artifact)?;
    }
    if let Some(requests) = requests {
        if !is_handler {
            return Err(Failure::usage("`--check` asks servers, and this program does not listen"));
        }
        let comparison = trial::compare(args, &requests, &artifact, &ported.artifact)?;
        print(&comparison, args.format)?;
        if !comparison.same {
            return Ok(Exit::Different);
        }
    }
    if let Some(path) = &args.output {
        output::binary(path, ported.artifact.bytes())?;
        if !quiet {
            summary(&artifact, &ported);
        }
    }
    Ok(Exit::Done)
}

fn print(comparison: &Comparison, format: Format) -> Result<(), Failure> {
    let text = match format {
        Format::Text => comparison.to_string(),
        Format::Json => {
            let json = serde_json::to_string_pretty(comparison);
            json.map_err(|error| Failure::new(Class::Ours, anyhow::Error::new(error)))? + "\n"
        }
    };
    output::result(&text)
}

impl PortArgs {
    fn check_streams(&self) -> Result<(), Failure> {
        let Some(output) = &self.output else { return Ok(()) };
        if output == Path::new("-") && self.check.is_some() {
            return Err(Failure::usage(
                "standard output cannot take both the component and the comparison\n  hint: name a file with `-o`",
            ));
        }
        output::check_binary(output)
    }

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

#[cfg(test)]
mod tests {
    use std::{env, fs};

    use schemars::generate::SchemaSettings;

    use super::*;

    #[test]
    fn the_schema_is_that_of_the_type() {
        let generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
        let schema = generator.into_root_schema_for::<Comparison>().to_value();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/port-check.schema.json");
        if env::var_os("BLESS").is_some() {
            fs::write(&path, serde_json::to_string_pretty(&schema).expect("JSON") + "\n").expect("writable");
        }
        let found: serde_json::Value = serde_json::from_slice(&fs::read(&path).expect("readable")).expect("JSON");
        assert_eq!(found, schema, "run the tests with BLESS=1");
    }
}
