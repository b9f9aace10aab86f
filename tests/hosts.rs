//! Ported samples on hosts of components, each answer held against the original's: on `prewasm` itself, and on the stock
//! `wasmtime` and `jco` where they are there.
//!
//! They are taken from the `PATH`, or from where `WASMTIME` and `JCO` say; `tools/hosts-install` installs them. What is
//! not there is skipped, unless `PREWASM_REQUIRE_HOSTS=wasmtime,jco` forbids that. It prints a table: host, what becomes of
//! its instances, guest, and what was seen.

#[path = "hosts/clients.rs"]
mod clients;
#[path = "parity/engine.rs"]
#[allow(dead_code, reason = "the comparison of every guest is another test program's")]
mod engine;
#[path = "hosts/exchange.rs"]
mod exchange;
#[path = "hosts/guests.rs"]
mod guests;
#[path = "hosts/host.rs"]
mod host;
#[path = "hosts/memory.rs"]
mod memory;
#[path = "hosts/process.rs"]
mod process;
#[path = "harness/program.rs"]
#[allow(dead_code, reason = "no test program uses all of it")]
mod program;
#[path = "hosts/secrecy.rs"]
mod secrecy;
#[path = "hosts/servers.rs"]
mod servers;
#[path = "harness/socket_client.rs"]
mod socket_client;
#[path = "harness/tls.rs"]
#[allow(dead_code, reason = "no test program uses all of it")]
mod tls;
#[path = "hosts/upstream.rs"]
mod upstream;

use std::io::{self, Write as _};

use host::{Host, Instances};

/// A row of the table of what ran where. Not by `print!`, which is only shown when a test fails.
fn report(host: &Host, instances: Option<Instances>, guest: &str, what: &str) {
    let instances = instances.map_or(String::new(), |instances| format!("{instances:?}").to_lowercase());
    let _ = writeln!(io::stdout(), "{:<9} {instances:<7} {guest:<28} {what}", format!("{:?}", host.kind()));
}

/// Each way in which each host serves.
fn ways(hosts: &[Host]) -> impl Iterator<Item = (&Host, Instances)> {
    hosts.iter().flat_map(|host| host.instances().iter().map(move |&instances| (host, instances)))
}
