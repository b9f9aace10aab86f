//! The verbs, a file each.

pub mod compile;
pub mod completions;
pub mod config;
pub mod inspect;
pub mod port;
pub mod run;
pub mod serve;
pub mod snapshot;

use crate::{
    cli::{Cli, Command},
    exit::{Exit, Failure},
};

/// Does what the command line asks for.
pub fn run(cli: Cli) -> Result<Exit, Failure> {
    match cli.command {
        Command::Snapshot(args) => snapshot::run(&args, cli.quiet),
        Command::Serve(args) => serve::run(&args),
        Command::Config(args) => config::run(&args),
        Command::Run(args) => run::run(args),
        Command::Port(args) => port::run(&args, cli.quiet),
        Command::Inspect(args) => inspect::run(&args),
        Command::Compile(args) => compile::run(&args),
        Command::Completions(args) => completions::run(args),
    }
}
