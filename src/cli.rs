//! The command line: verbs, and what several of them share.

mod app;
mod config_file;
mod directory;
mod given;
mod guest;
mod server;

pub use app::AppArgs;
pub use config_file::ConfigFileArgs;
pub use directory::DirectorySpec;
pub use given::Given;
pub use guest::{GuestArgs, NetworkArgs};
pub use server::ServerArgs;

pub use crate::size::parse_size;

use clap::{Parser, Subcommand, ValueEnum};

use crate::commands::{
    compile::CompileArgs, completions::CompletionsArgs, config::ConfigArgs, inspect::InspectArgs, port::PortArgs,
    run::RunArgs, serve::ServeArgs, snapshot::SnapshotArgs,
};

/// Pre-initialized WebAssembly for servers.
#[derive(Debug, Parser)]
#[command(name = "prewasm", version, max_term_width = 100, after_help = EXIT_CODES)]
pub struct Cli {
    /// Print errors only.
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Print decisions and progress too.
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "\
Single-value options can also be set as PREWASM_<OPTION>, except for those that widen what a guest
may see or do.

Exit codes: 0 done; 1 failure of prewasm or the system; 2 usage or configuration; 3 input rejected;
4 guest failed; 5 verification failed, or files differ; 6 refused by policy. `run` passes on the
guest's own code; 134 is a trap, 124 the time limit.";

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a program's start-up once, and write the program as it is afterwards.
    Snapshot(Box<SnapshotArgs>),
    /// Serve programs over HTTP, each request on a fresh instance.
    Serve(Box<ServeArgs>),
    /// Check, show and describe the configuration of `serve`.
    Config(ConfigArgs),
    /// Run a program on real sockets, as `wasmedge FILE` would.
    Run(RunArgs),
    /// Make a standard wasi:http component of a program for WasmEdge's sockets.
    Port(PortArgs),
    /// Tell what a wasm file is, what it needs, and which verbs will work.
    Inspect(InspectArgs),
    /// Compile ahead of time for this machine.
    Compile(CompileArgs),
    /// Print shell completions.
    Completions(CompletionsArgs),
}

/// How a result is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs, with a `schemaVersion`.
    Json,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_widens_a_guests_view_is_never_taken_from_the_environment() {
        for verb in Cli::command().get_subcommands() {
            for arg in verb.get_arguments().filter(|arg| !arg.is_global_set() && !arg.is_positional()) {
                let name = arg.get_long().unwrap_or_default();
                let widens = ["dir", "env", "arg", "resolve", "stdin"].contains(&name) || name.starts_with("allow-");
                let is_single = arg.get_action().takes_values() && !matches!(arg.get_action(), clap::ArgAction::Append);
                let expected = (is_single && !widens && name != "rename")
                    .then(|| format!("PREWASM_{}", name.to_uppercase().replace('-', "_")));
                let found = arg.get_env().map(|name| name.to_string_lossy().into_owned());
                assert_eq!(found, expected, "{}: --{name}", verb.get_name());
            }
        }
    }

    #[test]
    fn the_defaults_in_the_help_of_serve_are_those_that_hold() {
        let command = Cli::command();
        let serve = command.find_subcommand("serve").expect("a verb");
        let schema = crate::config::schema();
        let keys = [
            ("listen", "server", "listen"),
            ("drain", "server", "drain"),
            ("drain-delay", "server", "drain_delay"),
            ("connections", "server", "connections"),
            ("mode", "app", "mode"),
            ("timeout", "limits", "timeout"),
            ("max-memory", "limits", "memory"),
            ("max-body", "limits", "body"),
            ("instances", "limits", "instances"),
            ("queue", "limits", "queue"),
        ];
        for (flag, table, key) in keys {
            let option = serve.get_arguments().find(|option| option.get_long() == Some(flag)).expect(flag);
            let help = option.get_help().map(ToString::to_string).unwrap_or_default();
            let default = &schema["$defs"][table]["properties"][key]["default"];
            let default = default.as_str().map_or_else(|| default.to_string(), str::to_owned);
            assert!(help.ends_with(&format!("[default: {default}]")), "--{flag}: {help}");
        }
    }
}
