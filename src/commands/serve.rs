//! `prewasm serve`.

use std::{
    io::{self, Write as _},
    path::PathBuf,
};

use clap::Args;
use prewasm_gateway::{CodeCache, PrepareError, ServeError, SiteError, SiteErrors, SiteSource as _, serve};

use crate::{
    cli::{AppArgs, ConfigFileArgs, Given, ServerArgs},
    config::Source,
    exit::{Class, Exit, Failure, load_class},
};

/// Options of `serve`.
#[derive(Args, Debug)]
#[command(after_help = "\
Socket servers written for WasmEdge, commands (as CGI) and wasi:http components can be served: one,
named as FILE, or many, with the routes, hosts and limits that a configuration gives them. A flag
counts before its variable, a variable before the configuration, and that before the default; with a
configuration, the options under Guest and Limits stand in it, not on the command line.
The first line on standard output is `listening on http://ADDRESS`; the log is on standard error.
SIGTERM and SIGINT let running requests finish. SIGHUP, or a change of the files, loads them again;
what cannot be loaded leaves what is served as it is.

Examples:
  prewasm serve server.wasm
  prewasm serve server.wasm --listen 0.0.0.0:80 --timeout 5s --max-memory 64MiB
  prewasm serve app.wasm --dir ./assets::/assets --env LOG=info --allow-outbound https://api.example.com
  prewasm serve -c prewasm.toml --listen 0.0.0.0:80
  prewasm serve -c spin.toml")]
pub struct ServeArgs {
    /// The module or component, binary or text; `-` is standard input.
    file: Option<PathBuf>,
    #[command(flatten)]
    config: Given<ConfigFileArgs>,
    #[command(flatten)]
    server: Given<ServerArgs>,
    #[command(flatten)]
    app: Given<AppArgs>,
}

/// Serves until told to stop.
pub fn run(args: &ServeArgs) -> Result<Exit, Failure> {
    let mut source = args.source()?;
    let options = source.first()?.server.options();
    let first = source.load()?;
    serve(first, source, &options, &CodeCache::user(), |address| {
        // Who started us may have gone; that is no reason not to serve.
        let mut stdout = io::stdout();
        let _ = writeln!(stdout, "listening on http://{address}").and_then(|()| stdout.flush());
    })
    .map_err(failure)?;
    Ok(Exit::Done)
}

impl ServeArgs {
    /// A program that is named counts before a configuration which a variable names.
    fn source(&self) -> Result<Source, Failure> {
        match &self.file {
            Some(_) if self.config.is_flag() => Err(Failure::usage(
                "FILE and `--config` cannot be used together\n  hint: name the program in the configuration, as `source` of an `[[app]]`",
            )),
            Some(file) => Ok(Source::of_program(file.clone(), self.server.raw(), self.app.raw())),
            None => self.configured(),
        }
    }

    fn configured(&self) -> Result<Source, Failure> {
        let path = self.config.path().map_err(|_| Failure::usage(NOTHING_TO_SERVE))?;
        match self.app.first() {
            Some(option) => Err(Failure::usage(format_args!(
                "{option} is about one program, and `{}` may have several\n  hint: set it there, for the app that is meant; docs/configuration.md has all keys",
                path.display()
            ))),
            None => Ok(Source::of_file(path, self.server.raw())),
        }
    }
}

const NOTHING_TO_SERVE: &str = "nothing to serve: no program and no configuration is named, and there is no `prewasm.toml` here\n  hint: name a program, or a configuration with `-c FILE`";

/// There is one app, so its name says nothing.
fn failure(error: ServeError) -> Failure {
    let class = class(&error);
    match error {
        ServeError::Site(SiteErrors(mut errors)) if errors.len() == 1 => match errors.remove(0) {
            SiteError::App { source, .. } => Failure::new(class, source),
            error => Failure::new(class, error),
        },
        error => Failure::new(class, error),
    }
}

fn class(error: &ServeError) -> Class {
    match error {
        ServeError::Listen { .. } | ServeError::Worker(_) => Class::Ours,
        ServeError::Reset(_) => Class::Usage,
        // The worst thing decides.
        ServeError::Site(errors) => errors.0.iter().map(site_class).max().unwrap_or(Class::Usage),
    }
}

fn site_class(error: &SiteError) -> Class {
    match error {
        SiteError::App { source, .. } => prepare_class(source),
        SiteError::Files { .. } | SiteError::NoApp { .. } | SiteError::Conflict(_) => Class::Usage,
    }
}

fn prepare_class(error: &PrepareError) -> Class {
    match error {
        PrepareError::Load(error) => load_class(error),
        PrepareError::Kind { .. }
        | PrepareError::Frozen { .. }
        | PrepareError::FrozenListener { .. }
        | PrepareError::FrozenEnvironment { .. } => Class::Rejected,
        PrepareError::Directory(_)
        | PrepareError::NotResident { .. }
        | PrepareError::Memory { .. }
        | PrepareError::Reset(_) => Class::Usage,
        PrepareError::Engine { .. } | PrepareError::Thread(_) => Class::Ours,
    }
}
