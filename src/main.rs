//! The `prewasm` command.

mod cli;
mod commands;
mod exit;
mod log;
mod output;

use std::process;

use clap::Parser as _;

use cli::Cli;

fn main() {
    // First of all: whoever sets up TLS later finds one provider, not the choice between several. It can only fail if
    // there is one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cli = Cli::parse();
    log::install(&cli);
    let code = match commands::run(cli) {
        Ok(exit) => exit.code(),
        Err(failure) => {
            failure.print();
            failure.code()
        }
    };
    // Not by returning: a thread may wait for standard input.
    process::exit(code);
}
