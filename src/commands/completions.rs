//! `prewasm completions`.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::{
    cli::Cli,
    exit::{Exit, Failure},
    output,
};

/// Options of `completions`.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  prewasm completions bash > ~/.local/share/bash-completion/completions/prewasm")]
pub struct CompletionsArgs {
    /// The shell to write completions for.
    shell: Shell,
}

/// Prints completions.
pub fn run(args: CompletionsArgs) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "prewasm", &mut script);
    output::result(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}
