//! Where ours does otherwise, on purpose. Each entry must be seen by the suite, so that none outlives its cause.

use crate::cases::Case;

#[derive(Debug)]
pub struct Deviation {
    pub guest: &'static str,
    pub script: &'static str,
    pub what: What,
    pub reason: &'static str,
}

/// How it shows.
#[derive(Debug)]
pub enum What {
    /// These lines instead of those. An asterisk at the end stands for any rest.
    Lines { wasmedge: &'static [&'static str], prewasm: &'static [&'static str] },
    /// WasmEdge ends with a failed assertion, as Debian builds it; ours goes on.
    WasmEdgeAborts,
}

impl Deviation {
    pub fn is_of(&self, case: &Case) -> bool {
        (self.guest, self.script) == (case.guest, case.script)
    }

    pub fn explains(&self, wasmedge: &[String], prewasm: &[String]) -> bool {
        match self.what {
            What::WasmEdgeAborts => false,
            What::Lines { wasmedge: left, prewasm: right } => fits(left, wasmedge) && fits(right, prewasm),
        }
    }
}

fn fits(patterns: &[&str], lines: &[String]) -> bool {
    let fits = |(pattern, line): (&&str, &String)| match pattern.strip_suffix('*') {
        Some(start) => line.starts_with(start),
        None => line == pattern,
    };
    patterns.len() == lines.len() && patterns.iter().zip(lines).all(fits)
}

const fn differs(
    (guest, script): (&'static str, &'static str),
    wasmedge: &'static [&'static str],
    prewasm: &'static [&'static str],
    reason: &'static str,
) -> Deviation {
    Deviation { guest, script, what: What::Lines { wasmedge, prewasm }, reason }
}

const fn aborts(guest: &'static str, script: &'static str) -> Deviation {
    Deviation { guest, script, what: What::WasmEdgeAborts, reason: "WasmEdge ends with a failed assertion" }
}

/// Two more cannot be seen from here. Ours sets TCP_NODELAY, as guests write answers in pieces and each would wait for
/// the client's delayed acknowledgement. And ours verifies the certificates of `https`, which WasmEdge's plugin never did,
/// when there was one.
pub const DEVIATIONS: &[Deviation] = &[
    differs(("udp-echo", "from another port"), &["wire 2 margatad"], &["wire 1 margatad"], PORT_ORDER),
    differs(
        ("http-client", "without permission"),
        &["out  200", "out  answer 1 to *", "wire 1 *", "wire 1 *", "wire 1 *", "wire 1 *", "wire 1 *", "exit 0"],
        &["err  http-client: `http://127.0.0.1:PORT/`: Error: IO error: Permission denied (os error 2)", "exit 1"],
        "nobody is called who was not allowed",
    ),
    differs(
        ("plugin-client", "get"),
        &["exit 1"],
        &["out  200", "out  answer 1 to *", "wire 1 *", "wire 1 *", "wire 1 *", "wire 1 *", "wire 1 *", "exit 0"],
        "WasmEdge has no HTTP plugin since 0.13",
    ),
    differs(
        ("legacy-client", "get"),
        &["err  legacy-client: `http://127.0.0.1:PORT/page`: Error: IO error: failed to write whole buffer", "exit 1"],
        &["out  200", "out  answer 1 to *", "wire 1 *", "wire 1 *", "wire 1 *", "wire 1 *", "wire 1 *", "exit 0"],
        LEGACY,
    ),
    differs(
        ("socket-calls", "udp"),
        &["out  recv_from with port: the port is in the network's byte order"],
        &["out  recv_from with port: the port is in the host's byte order"],
        PORT_ORDER,
    ),
    differs(
        ("socket-calls", "udp"),
        &["out  recv_from_v2: the port is in the network's byte order"],
        &["out  recv_from_v2: the port is in the host's byte order"],
        PORT_ORDER,
    ),
    differs(
        ("socket-calls", "modes"),
        &["out  accepted has flags 0", "out  listener has flags 4"],
        &["out  accepted has flags 4", "out  listener has flags 0"],
        "the flags of `sock_accept` are the new socket's; WasmEdge up to 0.17.1 gives them to the listener",
    ),
    differs(
        ("socket-calls", "polls"),
        &["out  poll, nothing: 0 0"],
        &["out  poll, nothing: 28 0"],
        "preview 1 says INVAL where there is nothing to wait for",
    ),
    differs(
        ("socket-calls", "polls"),
        &["out  receive: (0, \"\", 0)"],
        &["out  receive: (14, \"\", 0)"],
        "transfers go on telling why a connection failed: many runtimes never ask SO_ERROR",
    ),
    differs(("socket-calls", "errors"), &["out  open 0 1: 28"], &["out  open 0 1: 0"], LEGACY),
    differs(("socket-calls", "errors"), &["out  bind with 128 bytes: 28"], &["out  bind with 128 bytes: 5"], BY_LENGTH),
    differs(
        ("socket-calls", "errors"),
        &[
            "out  address into 128 bytes: 28",
            "out  long address into 4 bytes: 28",
            "out  long address into 16 bytes: 28",
        ],
        &["out  address into 128 bytes: 0", "out  long address into 4 bytes: 0", "out  long address into 16 bytes: 0"],
        BY_LENGTH,
    ),
    differs(
        ("socket-calls", "errors"),
        &["out  listen on standard output: 57", "out  address of standard output: 57"],
        &["out  listen on standard output: 8", "out  address of standard output: 8"],
        "socket calls look among sockets alone",
    ),
    differs(
        ("socket-calls", "errors"),
        &["out  open, odd pointer: 4"],
        &["out  open, odd pointer: 0"],
        "pointers need not be aligned, as on WasmEdge before 0.16",
    ),
    differs(
        ("socket-calls", "errors"),
        &["out  bind where another listens: 3"],
        &["out  bind where another listens: 0"],
        "port 0 in `--allow-inbound` gives each socket a port of its own",
    ),
    differs(
        ("socket-calls", "options"),
        &["out  set 14: 43, then 0 []"],
        &["out  set 14: 2, then 0 []"],
        "no socket is bound to a device",
    ),
    aborts("socket-calls", "odd-lengths"),
    aborts("socket-calls", "any-kind"),
    differs(
        ("socket-calls", "descriptors"),
        &["out  in sequence: false"],
        &["out  in sequence: true"],
        "WasmEdge's descriptors are random, ours count from 512",
    ),
];

const LEGACY: &str = "numbers of WasmEdge 0.9 and before are understood";
const PORT_ORDER: &str = "WasmEdge stores the port in network byte order, libraries read the host's";
const BY_LENGTH: &str = "the buffer's length chooses the layout of an address, in all calls";
