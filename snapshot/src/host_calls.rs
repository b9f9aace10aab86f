//! What a program asks of its host while it runs.

use std::collections::BTreeMap;

use prewasm_artifact::{Artifact, Import};
use prewasm_ext_http::Upcoming;
use wasmtime::{AsContext, Val, WasmBacktrace};

/// Backtraces are taken of this many calls for random bytes: whoever draws more often does not need more to be found.
const MAX_BACKTRACES: usize = 64;

/// Notes each host call.
#[derive(Debug)]
pub(crate) struct HostCalls {
    /// Imported functions, by index.
    imports: Vec<Import>,
    /// How often each was called.
    counts: Vec<u64>,
    /// From where random bytes were drawn, in order.
    backtraces: Vec<String>,
    has_read_realtime: bool,
}

/// The import by which a program begins to read its environment: where there is nothing to read, it does no more.
const READS_ENVIRONMENT: &str = "wasi_snapshot_preview1.environ_sizes_get";

impl Asked {
    /// Whether it has read its environment variables.
    pub(crate) fn has_read_environment(&self) -> bool {
        self.counts.contains_key(READS_ENVIRONMENT)
    }

    /// Whether it has been told numbers of files: they are given in the order in which files are met.
    pub(crate) fn has_numbered_files(&self) -> bool {
        let calls = ["fd_filestat_get", "path_filestat_get", "fd_readdir"];
        calls.iter().any(|call| self.counts.contains_key(&format!("wasi_snapshot_preview1.{call}")))
    }

    /// Whether it has looked which directories it was given.
    pub(crate) fn has_read_preopens(&self) -> bool {
        self.counts.contains_key("wasi_snapshot_preview1.fd_prestat_get")
    }
}

/// What a run has asked for.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    /// Calls by import.
    pub(crate) counts: BTreeMap<String, u64>,
    /// From where random bytes were drawn, in order; the first ones only.
    pub(crate) backtraces: Vec<String>,
    /// Whether it has read the realtime clock.
    pub(crate) has_read_realtime: bool,
}

impl HostCalls {
    pub(crate) fn new(artifact: &Artifact) -> Self {
        let imports: Vec<_> = artifact.imports().iter().filter(|import| import.signature.is_some()).cloned().collect();
        Self { counts: vec![0; imports.len()], imports, backtraces: Vec::new(), has_read_realtime: false }
    }

    /// The import with this index.
    pub(crate) fn import(&self, index: u32) -> &Import {
        &self.imports[index as usize]
    }

    /// The index of the import which is called.
    pub(crate) fn index(&self, call: &Upcoming<'_>) -> wasmtime::Result<u32> {
        let index = self.imports.iter().position(|import| call.is(import));
        let index = index.ok_or_else(|| wasmtime::format_err!("a call of what is not imported"))?;
        Ok(u32::try_from(index)?)
    }

    /// From where the call is made, if it is one that needs to be explained.
    pub(crate) fn backtrace(&self, call: &Upcoming<'_>, context: impl AsContext) -> Option<String> {
        let is_draw = call.name() == "random_get" && self.backtraces.len() < MAX_BACKTRACES;
        // The first line of a backtrace is a heading for an error.
        let frames = |backtrace: String| backtrace.trim_end().lines().skip(1).collect::<Vec<_>>().join("\n");
        is_draw.then(|| frames(WasmBacktrace::capture(context).to_string()))
    }

    /// Notes a call which is made now.
    pub(crate) fn note(&mut self, index: u32, call: &Upcoming<'_>, backtrace: Option<String>) {
        const REALTIME: i32 = 0;
        self.counts[index as usize] += 1;
        self.backtraces.extend(backtrace);
        if call.name() == "clock_time_get" && matches!(call.arguments(), [Val::I32(REALTIME), ..]) {
            self.has_read_realtime = true;
        }
    }

    /// A call which was noted is not made after all.
    pub(crate) fn take_back(&mut self, index: u32) {
        let count = &mut self.counts[index as usize];
        *count = count.saturating_sub(1);
    }

    /// What was asked for so far.
    pub(crate) fn asked(&self) -> Asked {
        let names = self.imports.iter().map(|import| format!("{}.{}", import.module, import.name));
        Asked {
            counts: names.zip(self.counts.iter().copied()).filter(|(_, count)| *count > 0).collect(),
            backtraces: self.backtraces.clone(),
            has_read_realtime: self.has_read_realtime,
        }
    }
}
