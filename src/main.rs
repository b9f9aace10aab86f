//! The `prewasm` command.

mod cli;
mod commands;
mod config;
mod exit;
mod log;
mod output;
mod program_name;
mod size;

use std::process;

use clap::Parser as _;

use cli::Cli;

/// A request on a fresh instance makes and drops some hundred small objects; the system's allocator would take a tenth
/// of its time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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
