//! `prewasm config`.

use anyhow::Context as _;
use clap::{Args, Subcommand};

use crate::{
    cli::{ConfigFileArgs, Format, Given, ServerArgs},
    config::{self, Shown},
    exit::{Class, Exit, Failure},
    output,
};

/// Options of `config`.
#[derive(Args, Debug)]
pub struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Print the JSON Schema of `prewasm.toml`.
    #[command(after_help = "\
Editors which know the schema complete keys and mark mistakes.

Examples:
  prewasm config schema > prewasm.schema.json")]
    Schema,
    /// Check a configuration, and print every problem with its line and column.
    #[command(after_help = "\
Nothing is served. Programs, folders, secrets and routes are looked at, too. Exit code 2: there are problems.

Examples:
  prewasm config check
  prewasm config check -c spin.toml")]
    Check(CheckArgs),
    /// Print the configuration that holds, with all defaults.
    #[command(after_help = "\
The result is a `prewasm.toml` again, whatever format was read. Secrets are not printed.

Examples:
  prewasm config show
  prewasm config show -c spin.toml --origin
  prewasm config show --listen 0.0.0.0:80 --format json")]
    Show(ShowArgs),
}

#[derive(Args, Debug)]
struct CheckArgs {
    #[command(flatten)]
    file: Given<ConfigFileArgs>,
}

#[derive(Args, Debug)]
struct ShowArgs {
    #[command(flatten)]
    file: Given<ConfigFileArgs>,
    /// Say where each value comes from: a flag, a variable, the file with its line, or the default.
    #[arg(long)]
    origin: bool,
    /// The form of the result.
    #[arg(long, value_enum, default_value_t, env = "PREWASM_FORMAT", hide_env_values = true)]
    format: Format,
    #[command(flatten)]
    server: Given<ServerArgs>,
}

/// Describes, checks or shows the configuration.
pub fn run(args: &ConfigArgs) -> Result<Exit, Failure> {
    match &args.command {
        ConfigCommand::Schema => output::result(&json(&config::schema())?)?,
        ConfigCommand::Check(args) => check(args)?,
        ConfigCommand::Show(args) => show(args)?,
    }
    Ok(Exit::Done)
}

fn check(args: &CheckArgs) -> Result<(), Failure> {
    let path = args.file.path()?;
    let config = config::read(&path, config::RawServer::default())?;
    let (apps, routes) = (config.apps.len(), config.routes());
    output::result(&format!(
        "{}: no problems; {apps} app{}, {routes} route{}\n",
        path.display(),
        plural(apps),
        plural(routes)
    ))
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

fn show(args: &ShowArgs) -> Result<(), Failure> {
    let config = config::read(&args.file.path()?, args.server.raw())?;
    let shown = Shown::of(&config);
    output::result(&match args.format {
        Format::Text => shown.toml(args.origin),
        Format::Json => json(&shown.json(args.origin))?,
    })
}

fn json(value: &serde_json::Value) -> Result<String, Failure> {
    let json = serde_json::to_string_pretty(value).context("cannot encode the result");
    Ok(json.map_err(|error| Failure::new(Class::Ours, error))? + "\n")
}
