//! What it costs to be ported, and what a snapshot saves then: the same guest as it is, and as a component, here and on the
//! Wasmtime CLI.

use std::path::Path;

use crate::{
    peers::{Peer, Wasmtime},
    samples::sample,
    snapshots,
};

/// A guest, a request to it and its answer, the name of its snapshot, and the options which make that.
type Case = (&'static str, &'static str, &'static str, &'static str, &'static [&'static str]);

const CASES: [Case; 2] = [
    ("hyper-server", "/", "POST something to /echo\n", "frozen", &["--warm-up", "GET /"]),
    ("rules-server", "/check?q=hello", "0\n", "initialized", &["--until", "init"]),
];

/// A group for each guest; the first of each is the original.
pub(crate) fn all(folder: &Path, wasmtime: Option<&Wasmtime>) -> anyhow::Result<Vec<Vec<Peer>>> {
    CASES.iter().map(|case| group(folder, wasmtime, case)).collect()
}

fn group(folder: &Path, wasmtime: Option<&Wasmtime>, case: &Case) -> anyhow::Result<Vec<Peer>> {
    let (name, path, body, label, options) = *case;
    let original = sample(&format!("{name}.wasm"));
    let snapshot = snapshots::make(folder, name, label, options)?;
    let ported = snapshots::port(folder, &original, name)?;
    let ported_snapshot = snapshots::port(folder, &snapshot, &format!("{name}.{label}"))?;
    let both = format!("{name}, {label}");
    let modules = [(original, name.to_owned()), (snapshot, both.clone())];
    let components = [(ported, format!("{name}, ported")), (ported_snapshot, format!("{both}, ported"))];
    let mut peers = Vec::new();
    for (file, guest) in modules.iter().chain(&components) {
        peers.push(Peer::serving(file, guest.clone(), body, folder));
    }
    for (file, guest) in &components {
        peers.extend(wasmtime.map(|wasmtime| wasmtime.serving(file, guest.clone(), body)));
    }
    Ok(peers.into_iter().map(|peer| peer.asked_for(path)).collect())
}
