//! What is built: programs, and where they are stopped.

use prewasm_snapshot::{Options, Stop, Until};

use crate::wizer::Imports;

/// A program and how it is brought to its stop point.
pub(crate) struct Case {
    /// How it is called in the table.
    pub(crate) name: &'static str,
    /// The file in `samples/prebuilt/`.
    pub(crate) file: &'static str,
    /// What every build of ours has in common.
    pub(crate) options: Options,
    /// How Wizer runs it, if it can.
    pub(crate) wizer: Option<Imports>,
}

/// All cases.
pub(crate) fn all() -> anyhow::Result<Vec<Case>> {
    let until_init = || Options { until: Until::Init, ..Options::default() };
    Ok(vec![
        // Its calls of WasmEdge's sockets clash with what Wasmtime has under the same name.
        Case { name: "rules-server", file: "rules-server.wasm", options: until_init(), wizer: Some(Imports::Trap) },
        // These two read the clock or draw random numbers while they start.
        Case { name: "templates", file: "templates.wasm", options: until_init(), wizer: Some(Imports::Preview1) },
        Case { name: "javascript", file: "javascript.wasm", options: until_init(), wizer: Some(Imports::Preview1) },
        Case {
            name: "rules-server, running, after a request",
            file: "rules-server.wasm",
            options: Options {
                until: Until::Stop(Stop::Accept),
                warm_ups: vec!["GET /check?q=hello".parse()?],
                ..Options::default()
            },
            wizer: None,
        },
    ])
}
