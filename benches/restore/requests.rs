//! Samples that are asked.

use anyhow::ensure;
use http::{Method, StatusCode, Uri};
use prewasm_artifact::Artifact;
use prewasm_gateway::{App, CodeCache, Question, Trial};
use prewasm_snapshot::{Options, build, silent};

use crate::{cost::Cost, samples::sample, snapshots::server};

pub(crate) const HEADER: &str = "\
| Reset | Program | processor time per request, µs | page faults per request |
|---|---|---:|---:|";

const SAMPLES: [&str; 6] = [
    "cgi-hello",
    "cgi-hello-default",
    "hyper-server",
    "hyper-server-default",
    "component-hello",
    "component-hello-default",
];

/// Prints a row for each program.
pub(crate) fn measure(rounds: usize) -> anyhow::Result<()> {
    let mut programs = Vec::new();
    for name in SAMPLES {
        programs.push((name.to_owned(), Artifact::read(&sample(&format!("{name}.wasm")))?));
    }
    let hyper = Artifact::read(&sample("hyper-server-default.wasm"))?;
    programs.push(("hyper-server-default, frozen".to_owned(), frozen(&hyper)?));
    for mebibytes in [1, 16] {
        let server = Artifact::from_bytes("server.wat", server(mebibytes).into_bytes())?;
        programs.push((format!("server of {mebibytes} MiB, frozen"), frozen(&server)?));
    }
    for (name, artifact) in programs {
        let trial = Trial::prepare(&App::new(artifact), &CodeCache::disabled())?;
        ask(&trial, rounds / 10)?;
        let before = Cost::so_far()?;
        ask(&trial, rounds)?;
        let (processor, faults) = before.per_round(rounds)?;
        println!("{name} | {processor:.1} | {faults:.2} |");
    }
    Ok(())
}

fn frozen(artifact: &Artifact) -> anyhow::Result<Artifact> {
    let frozen = build(artifact, &Options::default(), &silent())?;
    Ok(Artifact::from_bytes(artifact.origin(), frozen.wasm)?)
}

fn ask(trial: &Trial, rounds: usize) -> anyhow::Result<()> {
    for _ in 0..rounds {
        let question = Question { method: Method::GET, target: Uri::from_static("/"), body: Default::default() };
        let answer = trial.ask(question)?;
        ensure!(answer.status == StatusCode::OK, "{answer:?}");
    }
    Ok(())
}
