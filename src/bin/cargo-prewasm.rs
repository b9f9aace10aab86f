//! `cargo prewasm build`: builds a package for WebAssembly, and snapshots what comes out.

#[path = "cargo-prewasm/artifacts.rs"]
mod artifacts;
#[path = "cargo-prewasm/request.rs"]
mod request;
#[path = "cargo-prewasm/settings.rs"]
mod settings;

use std::{
    env,
    ffi::OsString,
    io::Write as _,
    path::{Path, PathBuf},
    process::{self, Command, ExitStatus, Stdio},
};

use anyhow::{Context as _, bail};

use artifacts::Built;
use request::{BuildRequest, Request};
use settings::Settings;

const HELP: &str = "\
Build a package for WebAssembly with cargo, and snapshot each program that comes out

Usage: cargo prewasm build [OPTIONS] [CARGO OPTIONS] [-- SNAPSHOT OPTIONS]

Runs `cargo build`, then `prewasm snapshot` on each program and each library of type cdylib, and writes
NAME.snap.wasm beside NAME.wasm.

Options:
      --target TARGET    What to build for [default: wasm32-wasip1, or `target` of the settings]
      --profile PROFILE  With which profile [default: release]
  -h, --help             Print help

All other options go to `cargo build`; those behind `--` go to `prewasm snapshot`, whose paths are relative to
the current folder. Settings of a package, in its Cargo.toml:

  [package.metadata.prewasm]
  target = \"wasm32-wasip1\"
  until = \"accept\"                       # --until
  init = \"warm_up\"                       # --init
  warm-up = [\"GET /\", \"POST /a @b.txt\"]  # --warm-up; files relative to the package
  args = [\"--max-size\", \"2MiB\"]          # any others

Variables: CARGO and PREWASM name the programs to run; without PREWASM, it is the one beside this program, or
else on the PATH.

The exit code is that of the command that failed.
";

fn main() {
    let code = match request::parse(env::args_os().skip(1)) {
        Ok(Request::Help) => {
            // Whoever does not read it needs no help.
            let _ = std::io::stdout().write_all(HELP.as_bytes());
            Ok(0)
        }
        Ok(Request::Build(request)) => build(&request),
        Err(error) => {
            complain(&format!("error: {error}\n  hint: see `cargo prewasm --help`"));
            Ok(2)
        }
    };
    process::exit(code.unwrap_or_else(|error| {
        complain(&format!("error: {error:#}"));
        1
    }));
}

/// Builds and snapshots, and gives the exit code.
fn build(request: &BuildRequest) -> anyhow::Result<i32> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let (status, metadata) = output(Command::new(&cargo).args(metadata_args(request)))?;
    if !status.success() {
        return Ok(status.code().unwrap_or(1));
    }
    let packages = settings::parse(&metadata)?;
    let target = match &request.target {
        Some(target) => target.clone(),
        None => settings::target(packages.values())?,
    };
    let mut command = Command::new(&cargo);
    // What is to be said goes to standard error by itself.
    command.args(["build", "--message-format=json-render-diagnostics", "--target", &target]);
    command.args(["--profile", &request.profile]).args(&request.cargo);
    let (status, messages) = output(&mut command)?;
    if !status.success() {
        return Ok(status.code().unwrap_or(1));
    }
    let built = artifacts::parse(&messages);
    if built.is_empty() {
        bail!("`cargo build` made no program and no cdylib for {target}");
    }
    let prewasm = prewasm();
    for built in &built {
        let settings = packages.get(&built.package).cloned().unwrap_or_default();
        let status = snapshot(&prewasm, built, &settings, &request.snapshot)?;
        if !status.success() {
            return Ok(status.code().unwrap_or(1));
        }
    }
    Ok(0)
}

/// The manifest may be another than that of the current folder.
fn metadata_args(request: &BuildRequest) -> Vec<OsString> {
    let mut args: Vec<OsString> = ["metadata", "--no-deps", "--format-version=1"].map(Into::into).to_vec();
    let mut given = request.cargo.iter();
    while let Some(arg) = given.next() {
        if arg == "--manifest-path" {
            args.push(arg.clone());
            args.extend(given.next().cloned());
        } else if arg.to_str().is_some_and(|arg| arg.starts_with("--manifest-path=")) {
            args.push(arg.clone());
        }
    }
    args
}

fn snapshot(prewasm: &Path, built: &Built, settings: &Settings, args: &[OsString]) -> anyhow::Result<ExitStatus> {
    let output = built.wasm.with_extension("snap.wasm");
    let mut command = Command::new(prewasm);
    command.arg("snapshot").arg(&built.wasm).arg("-o").arg(&output).args(settings.args()).args(args);
    let status = command.status().with_context(|| format!("cannot run `{}`", prewasm.display()))?;
    if status.success() {
        complain(&output.display().to_string());
    }
    Ok(status)
}

/// Runs a command whose standard output is for us.
fn output(command: &mut Command) -> anyhow::Result<(ExitStatus, Vec<u8>)> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stderr(Stdio::inherit()).output().with_context(|| format!("cannot run `{name}`"))?;
    Ok((output.status, output.stdout))
}

fn prewasm() -> PathBuf {
    let name = format!("prewasm{}", env::consts::EXE_SUFFIX);
    let beside = || env::current_exe().ok()?.parent().map(|folder| folder.join(&name)).filter(|path| path.is_file());
    env::var_os("PREWASM").map(PathBuf::from).or_else(beside).unwrap_or_else(|| name.clone().into())
}

fn complain(text: &str) {
    let _ = writeln!(std::io::stderr(), "cargo-prewasm: {text}");
}
