//! Why a program was not started.

use std::io;

use prewasm_artifact::Kind;
use wasmedge_sdk::error::WasmEdgeError;

use crate::{DirectoryError, FrozenError, link::LinkError};

/// Why WasmEdge has not started a program.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It is no program for WasmEdge.
    #[error("`{origin}` is a {kind}, which WasmEdge cannot run\n  hint: {hint}")]
    Kind {
        /// The artifact.
        origin: String,
        /// What it is.
        kind: Kind,
        /// What can be done instead.
        hint: &'static str,
    },
    /// It was frozen with sockets, which only our own host can give back to it.
    #[error(
        "`{origin}` was frozen with open sockets, which WasmEdge cannot restore\n  hint: leave out `--engine wasmedge`"
    )]
    Frozen {
        /// The artifact.
        origin: String,
    },
    /// Its host state is damaged.
    #[error("`{origin}` cannot be resumed")]
    Damaged {
        /// The artifact.
        origin: String,
        /// What is wrong.
        #[source]
        source: FrozenError,
    },
    /// It imports what nobody provides.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// It imports what WasmEdge does not provide.
    #[error("`{origin}` imports `{import}`, which WasmEdge does not have\n  hint: leave out `--engine wasmedge`")]
    Import {
        /// The artifact.
        origin: String,
        /// The import, with its type.
        import: String,
    },
    /// It has sockets, and may not call everybody.
    #[error(
        "`{origin}` imports `{import}`: on WasmEdge, sockets are not subject to any rule\n  hint: allow everything with `--allow-outbound '*://*:*'`, or leave out `--engine wasmedge`"
    )]
    Sockets {
        /// The artifact.
        origin: String,
        /// The import, with its type.
        import: String,
    },
    /// It has sockets, which look names up themselves.
    #[error(
        "`{origin}` imports `{import}`: WasmEdge cannot honour `--resolve` for sockets\n  hint: leave out `--resolve` or `--engine wasmedge`"
    )]
    Resolve {
        /// The artifact.
        origin: String,
        /// The import, with its type.
        import: String,
    },
    /// A directory cannot be opened.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// A path that WasmEdge would read in another way.
    #[error(
        "WasmEdge cannot be given the directory `{directory}`: a path of it has a colon\n  hint: give the directory another name, or leave out `--engine wasmedge`"
    )]
    Path {
        /// Guest's and host's path, in WasmEdge's way.
        directory: String,
    },
    /// An argument, variable or path has a NUL, where C's strings end.
    #[error("`{text}` has a NUL, which WasmEdge cannot pass on", text = text.escape_default())]
    Nul {
        /// The text.
        text: String,
    },
    /// Its `_start` is not one.
    #[error("`{origin}` exports a `_start` that is no function without parameters and results")]
    Start {
        /// The artifact.
        origin: String,
    },
    /// WasmEdge does not accept it.
    #[error("WasmEdge rejects `{origin}`")]
    Rejected {
        /// The artifact.
        origin: String,
        /// Why.
        #[source]
        source: Box<WasmEdgeError>,
    },
    /// WasmEdge does not accept its settings.
    #[error("cannot set up WasmEdge")]
    Engine(#[source] Box<WasmEdgeError>),
    /// A runtime could not be started.
    #[error("cannot start the runtime")]
    System(#[source] io::Error),
}
