//! The same guests on WasmEdge itself and on `prewasm run`: what they print, how they end, and what goes over the wire
//! must be the same, but for the deviations in `parity/deviations.rs`.
//!
//! `wasmedge` is taken from the `PATH`, or from where `WASMEDGE` says; `tools/wasmedge-install` installs it. Without it
//! the comparison is skipped, unless `PREWASM_REQUIRE_WASMEDGE=1` forbids that.

#[path = "parity/cases.rs"]
mod cases;
#[path = "parity/compare.rs"]
mod compare;
#[path = "parity/deviations.rs"]
mod deviations;
#[path = "parity/engine.rs"]
mod engine;
#[path = "parity/observation.rs"]
mod observation;
#[path = "parity/outside.rs"]
mod outside;
#[expect(dead_code, reason = "runs to the end are for other test programs")]
#[path = "harness/program.rs"]
mod program;
#[path = "parity/talk.rs"]
mod talk;

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    io::{self, Write as _},
    panic::{self, AssertUnwindSafe},
};

use prewasm_artifact::{Artifact, Family};

use compare::Verdict;
use deviations::DEVIATIONS;
use engine::{Engine, PortLock};

#[test]
fn guests_do_what_they_do_on_wasmedge() {
    let Some(wasmedge) = Engine::wasmedge() else { return };
    let _lock = PortLock::take();
    let prewasm = Engine::prewasm();
    let mut table = format!("parity with {}\n", wasmedge.version());
    let mut unexplained = String::new();
    let mut used = BTreeSet::new();
    for case in cases::all() {
        // One that goes wrong must not hide what the others do.
        let judged = panic::catch_unwind(AssertUnwindSafe(|| {
            compare::judge(&case, &case.observe(&wasmedge), &case.observe(&prewasm))
        }));
        let verdict = judged.unwrap_or_else(|_| Verdict::Differs("  it went wrong: see above\n".to_owned()));
        let _ = writeln!(table, "{:<19} {:<34} {}", case.guest, case.script, verdict.summary());
        match verdict {
            Verdict::Same => {}
            Verdict::Deviates(explained) => used.extend(explained),
            Verdict::Differs(differences) => {
                let _ = writeln!(unexplained, "{} × {}:\n{differences}", case.guest, case.script);
            }
        }
    }
    for (index, deviation) in DEVIATIONS.iter().enumerate().filter(|(index, _)| !used.contains(index)) {
        let _ = writeln!(
            unexplained,
            "{index}: {} × {} no longer deviates: {deviation:?}",
            deviation.guest, deviation.script
        );
    }
    // Not by `print!`, which is only shown when a test fails.
    let _ = io::stdout().write_all(table.as_bytes());
    assert!(unexplained.is_empty(), "{unexplained}");
}

/// Calls that WasmEdge does not have: they are for guests of its other hosts.
const NOT_ON_WASMEDGE: [&str; 1] = [
    // Of its Rust host, `async-wasi`.
    "sock_lookup_ip",
];

/// Each call of the extension is made by one of the guests above, so that none is without a comparison.
#[test]
fn every_call_of_the_extension_is_imported_by_a_guest() {
    let mut imported = BTreeSet::new();
    let guests: BTreeSet<_> = cases::all().iter().map(|case| case.guest).collect();
    for guest in guests {
        let artifact = Artifact::read(&program::sample(guest)).expect("a guest");
        imported.extend(artifact.imports().iter().map(ToString::to_string));
    }
    let missing: Vec<_> = prewasm_ext_http::imports::entries()
        .into_iter()
        .filter(|import| import.family == Family::Sockets || import.name == "poll_oneoff")
        .filter(|import| !NOT_ON_WASMEDGE.contains(&import.name.as_str()))
        .map(|import| import.to_string())
        .filter(|import| !imported.contains(import))
        .collect();
    assert!(missing.is_empty(), "no parity guest imports {missing:#?}");
}
