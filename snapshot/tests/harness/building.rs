//! Builds of small programs in text form, and what came of them, for tests.

use prewasm_artifact::Artifact;
use prewasm_snapshot::{BuildError, InitializeError, Objection, Options, RunError, Snapshot, build, silent};

pub fn artifact(wat: &str) -> Artifact {
    Artifact::from_bytes("test.wat", wat.into()).expect("valid wat")
}

pub fn snapshot_with(wat: &str, options: &Options) -> Result<Snapshot, BuildError> {
    build(&artifact(wat), options, &silent())
}

pub fn snapshot(wat: &str) -> Result<Snapshot, BuildError> {
    snapshot_with(wat, &Options::default())
}

pub fn objections(result: Result<Snapshot, BuildError>) -> Vec<Objection> {
    match result {
        Err(BuildError::Rejected { objections, .. }) => objections,
        other => panic!("not rejected: {other:?}"),
    }
}

pub fn failure(result: Result<Snapshot, BuildError>) -> RunError {
    match result {
        Err(BuildError::Initialize { source: InitializeError::Run(error), .. }) => error,
        other => panic!("no failure: {other:?}"),
    }
}

pub fn constructs(wat: &str) -> Vec<String> {
    let found = objections(snapshot(wat));
    found
        .iter()
        .map(|objection| match objection {
            Objection::Construct { construct, .. } => construct.clone(),
            other => panic!("not a construct: {other}"),
        })
        .collect()
}
