//! A frozen server whose memory is full.

use std::time::Duration;

use anyhow::ensure;
use prewasm_artifact::Artifact;
use prewasm_gateway::{App, CodeCache, Rehearsal, Trial};
use prewasm_snapshot::{Options, build, silent};

use crate::cost::Cost;

pub(crate) const HEADER: &str = "\
| Reset | Memory | instantiate p50 | p99 | run p50 | p99 | reset p50 | p99 | processor time, µs | page faults |
|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|";

const MEBIBYTES: [u32; 3] = [1, 16, 64];
const PAGES_PER_MEBIBYTE: u32 = 16;

/// Prints a row for each size.
pub(crate) fn measure(rounds: usize) -> anyhow::Result<()> {
    for mebibytes in MEBIBYTES {
        let server = Artifact::from_bytes("server.wat", server(mebibytes).into_bytes())?;
        let frozen = build(&server, &Options::default(), &silent())?;
        let app = App::new(Artifact::from_bytes("server.snap.wasm", frozen.wasm)?);
        let trial = Trial::prepare(&app, &CodeCache::disabled())?;
        trial.rehearse(rounds / 10);
        let before = Cost::so_far()?;
        let times = trial.rehearse(rounds);
        let (processor, faults) = before.per_round(rounds)?;
        ensure!(times.len() == rounds, "{} of {rounds} instances failed", rounds - times.len());
        let column = |part: fn(&Rehearsal) -> Duration| {
            let mut part: Vec<_> = times.iter().map(part).collect();
            part.sort_unstable();
            [50, 99].map(|percent| format!(" {:.1?} |", part[part.len() * percent / 100])).concat()
        };
        let parts: [fn(&Rehearsal) -> Duration; 3] = [|t| t.instantiate, |t| t.run, |t| t.reset];
        println!("{mebibytes} MiB |{} {processor:.1} | {faults:.2} |", parts.map(column).concat());
    }
    Ok(())
}

/// A server which writes all of its memory, and then answers each connection with two bytes, and writes to eight pages all
/// over its memory each time.
pub(crate) fn server(mebibytes: u32) -> String {
    let pages = mebibytes * PAGES_PER_MEBIBYTE;
    let bytes = pages * 65536;
    let stores: String =
        (1..9).map(|part| format!("(i32.store (i32.const {}) (i32.const 1))\n", part * (bytes / 9))).collect();
    format!(
        r#"(module
            (import "wasi_snapshot_preview1" "sock_open" (func $open (param i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "sock_listen" (func $listen (param i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "sock_accept" (func $accept (param i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32)))
            (memory (export "memory") {pages})
            ;; Two buffers: 2 KiB from 2048 on, and the answer.
            (data (i32.const 32) "\00\08\00\00\00\08\00\00\40\00\00\00\28\00\00\00")
            (data (i32.const 64) "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            (func (export "_start")
                (memory.fill (i32.const 4096) (i32.const 0xA5) (i32.const {rest}))
                (drop (call $open (i32.const 1) (i32.const 2) (i32.const 0)))
                (drop (call $listen (i32.load (i32.const 0)) (i32.const 1)))
                (loop $serve
                    (drop (call $accept (i32.load (i32.const 0)) (i32.const 16)))
                    (drop (call $read (i32.load (i32.const 16)) (i32.const 32) (i32.const 1) (i32.const 8)))
                    {stores}
                    (drop (call $write (i32.load (i32.const 16)) (i32.const 40) (i32.const 1) (i32.const 8)))
                    (drop (call $close (i32.load (i32.const 16))))
                    (br $serve))))"#,
        rest = bytes - 4096,
    )
}
