//! `prewasm run --engine wasmedge`.

use std::{
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::Duration,
};

use prewasm_artifact::Artifact;
use prewasm_ext_http::{
    Access,
    link::wasmedge::{self, Ended, Program, StartError},
};

use super::{RunArgs, timed_out, trapped};
use crate::{
    exit::{Class, Exit, Failure},
    output,
};

/// As much as a system's first thread usually has.
const STACK: usize = 8 * 1024 * 1024;

/// Runs a program on WasmEdge.
pub fn run(args: &RunArgs) -> Result<Exit, Failure> {
    refuse_what_is_not_honoured(args)?;
    let artifact = Artifact::read(&args.file)?;
    let origin = artifact.origin().to_owned();
    let program = Program {
        artifact,
        args: args.program_args(),
        env: args.guest.env(),
        dirs: args.guest.directories(Access::ReadWrite),
        outbound: args.network.policy(&args.guest)?,
        memory: args.max_memory,
    };
    let Some(ended) = wait(&start(program)?, args.timeout)? else {
        return Ok(timed_out(&origin, args.timeout.unwrap_or_default()));
    };
    Ok(match ended.map_err(|error| Failure::new(class(&error), error))? {
        Ended::Exited(code) => Exit::Guest(code),
        Ended::Trapped(trap) => trapped(&origin, &trap),
        Ended::OutOfMemory { asked, limit } => {
            output::message(format_args!(
                "error: `{origin}` asks for {asked} bytes of memory at its start, where the limit is {limit}\n  hint: raise the limit with `--max-memory`"
            ));
            Exit::Trapped
        }
    })
}

/// Better no run than one without what was asked for.
fn refuse_what_is_not_honoured(args: &RunArgs) -> Result<(), Failure> {
    let refused = [("--allow-inbound", !args.allow_inbound.is_empty()), ("--fuel", args.fuel.is_some())];
    match refused.iter().find(|(_, is_given)| *is_given) {
        None => Ok(()),
        Some((flag, _)) => Err(Failure::usage(format_args!(
            "`--engine wasmedge` cannot honour `{flag}`\n  hint: leave out one of the two"
        ))),
    }
}

/// Runs the program on a thread of its own. WasmEdge cannot be interrupted everywhere, in a read from standard input say:
/// at the deadline, the process ends with the thread in it.
fn start(program: Program) -> Result<Receiver<Result<Ended, StartError>>, Failure> {
    let (sender, receiver) = mpsc::channel();
    let run = move || {
        // Nobody listens any more after the deadline.
        let _ = sender.send(wasmedge::run(&program));
    };
    let started = thread::Builder::new().name("wasmedge".to_owned()).stack_size(STACK).spawn(run);
    started.map_err(|error| Failure::new(Class::Ours, error))?;
    Ok(receiver)
}

/// Waits for the end, or until the deadline: then there is none.
fn wait<T>(receiver: &Receiver<T>, timeout: Option<Duration>) -> Result<Option<T>, Failure> {
    let received = match timeout {
        Some(timeout) => receiver.recv_timeout(timeout),
        None => receiver.recv().map_err(|_| RecvTimeoutError::Disconnected),
    };
    match received {
        Ok(ended) => Ok(Some(ended)),
        Err(RecvTimeoutError::Timeout) => Ok(None),
        Err(RecvTimeoutError::Disconnected) => {
            Err(Failure::new(Class::Ours, anyhow::anyhow!("the thread that runs the program has failed")))
        }
    }
}

fn class(error: &StartError) -> Class {
    match error {
        StartError::Kind { .. }
        | StartError::Frozen { .. }
        | StartError::Damaged { .. }
        | StartError::Link(_)
        | StartError::Import { .. }
        | StartError::Start { .. }
        | StartError::Rejected { .. } => Class::Rejected,
        StartError::Sockets { .. } => Class::Policy,
        StartError::Resolve { .. } | StartError::Directory(_) | StartError::Path { .. } | StartError::Nul { .. } => {
            Class::Usage
        }
        StartError::Engine(_) | StartError::System(_) => Class::Ours,
    }
}
