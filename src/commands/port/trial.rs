//! Asking the program, and what came of it, the same: `--check`, and whether it speaks HTTP at all.

use std::{fs, path::Path, sync::Arc, time::Duration};

use prewasm_artifact::Artifact;
use prewasm_ext_http::{Access, Environment};
use prewasm_gateway::{App, CodeCache, Limits, PrepareError, Question, Reason, Trial};
use prewasm_snapshot::{Body, WarmUp};

use super::{PortArgs, comparison::Comparison};
use crate::{
    exit::{Class, Failure, load_class},
    program_name::program_name,
};

/// A server which is alive has said something by then.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);
/// Comments of scripts.
const COMMENT: &str = "#";

/// The requests in a script, a line each, written as for `snapshot --warm-up`.
pub(super) fn read_script(path: &Path) -> Result<Vec<WarmUp>, Failure> {
    let text = fs::read_to_string(path).map_err(|error| {
        Failure::new(Class::Usage, anyhow::Error::new(error).context(format!("cannot read `{}`", path.display())))
    })?;
    let lines = (1..).zip(text.lines().map(str::trim));
    let requests = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with(COMMENT)).map(|(number, line)| {
        let place = || format!("`{}`, line {number}", path.display());
        line.parse::<WarmUp>().map_err(|error| Failure::new(Class::Usage, anyhow::Error::new(error).context(place())))
    });
    let requests = requests.collect::<Result<Vec<_>, _>>()?;
    match requests.is_empty() {
        true => Err(Failure::usage(format_args!("`{}` has no requests", path.display()))),
        false => Ok(requests),
    }
}

/// Refuses a server which answers something else than HTTP: what is ported must be asked over `wasi:http`.
pub(super) fn check_speaks_http(args: &PortArgs, artifact: &Artifact) -> Result<(), Failure> {
    let mut app = app(args, artifact.clone())?;
    app.limits.timeout = PROBE_TIMEOUT;
    let Ok(request) = "GET /".parse::<WarmUp>() else { return Ok(()) };
    let answer = ask(&trial(app)?, &request)?;
    match answer.failure {
        // Anything else may have reasons which are not in the program: what it finds in its environment, say.
        Some(Reason::NotHttp(reason)) => Err(Failure::new(
            Class::Rejected,
            anyhow::anyhow!(
                "`{}` cannot be ported: it is a server, but not of HTTP: {reason}\n  hint: it was asked `GET /`; `--no-probe` skips that",
                artifact.origin()
            ),
        )),
        _ => Ok(()),
    }
}

/// Asks both everything in the script.
pub(super) fn compare(
    args: &PortArgs,
    requests: &[WarmUp],
    original: &Artifact,
    component: &Artifact,
) -> Result<Comparison, Failure> {
    let original = trial(app(args, original.clone())?)?;
    let component = trial(app(args, component.clone())?)?;
    let mut comparison = Comparison::default();
    for request in requests {
        comparison.add(request, &ask(&original, request)?, &ask(&component, request)?);
    }
    Ok(comparison)
}

fn app(args: &PortArgs, artifact: Artifact) -> Result<App, Failure> {
    let environment = Environment {
        args: vec![program_name(&args.input)],
        env: args.guest.env(),
        dirs: args.guest.directories(Access::ReadOnly),
        ..Environment::default()
    };
    Ok(App {
        environment: Arc::new(environment),
        outbound: Arc::new(args.network.policy(&args.guest)?),
        // One request at a time.
        limits: Limits { instances: 1, ..Limits::default() },
        ..App::new(artifact)
    })
}

fn trial(app: App) -> Result<Trial, Failure> {
    Trial::prepare(&app, &CodeCache::user()).map_err(|error| {
        let class = match &error {
            PrepareError::Load(error) => load_class(error),
            PrepareError::Directory(_) | PrepareError::Memory { .. } | PrepareError::Reset(_) => Class::Usage,
            PrepareError::Engine { .. } | PrepareError::Thread(_) => Class::Ours,
            _ => Class::Rejected,
        };
        Failure::new(class, error)
    })
}

fn ask(trial: &Trial, request: &WarmUp) -> Result<prewasm_gateway::Answer, Failure> {
    let body = match &request.body {
        Body::Empty => Vec::new(),
        Body::File(path) => fs::read(path).map_err(|error| {
            let context = format!("cannot read the body of `{request}` from `{}`", path.display());
            Failure::new(Class::Usage, anyhow::Error::new(error).context(context))
        })?,
    };
    let question = Question { method: request.method.clone(), target: request.target.clone(), body: body.into() };
    trial
        .ask(question)
        .map_err(|error| Failure::new(Class::Ours, anyhow::Error::new(error).context(request.to_string())))
}
