//! What a request waits for before a frozen server goes on: `cargo bench --bench restore`.
//!
//! A server is frozen with 1, 16 and 64 MiB of memory in which every byte has been written. Instances of it are made one
//! after the other in the gateway's pool, with no request to serve: each finds that nobody connects, and ends. It touches
//! no page of its memory: what a request pays for those it does touch is not in these figures.
//!
//! `PREWASM_BENCH_ROUNDS` sets how many instances are made of each (default 20,000).
#![expect(clippy::print_stdout, reason = "the table is the result")]

use std::{env, time::Duration};

use anyhow::{Context as _, ensure};
use prewasm_artifact::Artifact;
use prewasm_gateway::{App, CodeCache, Rehearsal, Trial};
use prewasm_snapshot::{Options, build, silent};

const MEBIBYTES: [u32; 3] = [1, 16, 64];
const PAGES_PER_MEBIBYTE: u32 = 16;

fn main() -> anyhow::Result<()> {
    // `cargo test --all-targets` starts benchmarks as if they were tests.
    if !env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let rounds = match env::var("PREWASM_BENCH_ROUNDS") {
        Ok(value) => value.parse().context("PREWASM_BENCH_ROUNDS is no number")?,
        Err(_) => 20_000,
    };
    println!("| Memory written | instances | instantiate p50 | p99 | to the first wait p50 | p99 | reset p50 | p99 |");
    println!("|---:|---:|---:|---:|---:|---:|---:|---:|");
    for mebibytes in MEBIBYTES {
        let times = measure(mebibytes, rounds)?;
        let column = |part: fn(&Rehearsal) -> Duration| {
            let mut part: Vec<_> = times.iter().map(part).collect();
            part.sort_unstable();
            [50, 99].map(|percent| format!(" {:.1?} |", part[part.len() * percent / 100])).concat()
        };
        let parts: [fn(&Rehearsal) -> Duration; 3] = [|t| t.instantiate, |t| t.run, |t| t.reset];
        println!("| {mebibytes} MiB | {} |{}", times.len(), parts.map(column).concat());
    }
    Ok(())
}

fn measure(mebibytes: u32, rounds: usize) -> anyhow::Result<Vec<Rehearsal>> {
    let server = Artifact::from_bytes("server.wat", server(mebibytes * PAGES_PER_MEBIBYTE).into_bytes())?;
    let frozen = build(&server, &Options::default(), &silent())?;
    let app = App::new(Artifact::from_bytes("server.snap.wasm", frozen.wasm)?);
    let trial = Trial::prepare(&app, &CodeCache::disabled())?;
    trial.rehearse(rounds / 10);
    let times = trial.rehearse(rounds);
    ensure!(times.len() == rounds, "{} of {rounds} instances failed", rounds - times.len());
    Ok(times)
}

/// A server which writes all of its memory, and then accepts for ever.
fn server(pages: u32) -> String {
    let bytes = pages * 65536;
    format!(
        r#"(module
            (import "wasi_snapshot_preview1" "sock_open" (func $open (param i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "sock_listen" (func $listen (param i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "sock_accept" (func $accept (param i32 i32) (result i32)))
            (memory (export "memory") {pages})
            (func (export "_start")
                (memory.fill (i32.const 0) (i32.const 0xA5) (i32.const {bytes}))
                (drop (call $open (i32.const 1) (i32.const 2) (i32.const 0)))
                (drop (call $listen (i32.load (i32.const 0)) (i32.const 1)))
                (loop $serve
                    (drop (call $accept (i32.load (i32.const 0)) (i32.const 16)))
                    (br $serve))))"#
    )
}
