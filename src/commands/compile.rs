//! `prewasm compile`.

use std::path::PathBuf;

use clap::Args;
use prewasm_artifact::Artifact;

use crate::{
    exit::{Exit, Failure, load_class},
    output,
};

/// Options of `compile`.
#[derive(Args, Debug)]
#[command(after_help = "\
`serve` and `run` compile by themselves and keep the code in a cache; compile where neither fits.
The output runs on this kind of machine and with this version only, and `serve` and `run` take it
only with `--allow-precompiled`: machine code can do anything that its host process can.

Example:
  prewasm compile app.wasm -o app.cwasm
  prewasm serve app.cwasm --allow-precompiled")]
pub struct CompileArgs {
    /// The module or component, binary or text; `-` is standard input.
    input: PathBuf,
    /// Where the machine code goes; `-` is standard output.
    #[arg(short, long, env = "PREWASM_OUTPUT", hide_env_values = true)]
    output: PathBuf,
}

/// Compiles a file.
pub fn run(args: &CompileArgs) -> Result<Exit, Failure> {
    output::check_binary(&args.output)?;
    let artifact = Artifact::read(&args.input)?;
    let compiled = prewasm_gateway::compile(&artifact).map_err(|error| Failure::new(load_class(&error), error))?;
    output::binary(&args.output, &compiled)?;
    Ok(Exit::Done)
}
