//! WasmEdge's socket extension and HTTP plugin for WASI preview 1.
//!
//! Unmodified WasmEdge network apps import more than WASI preview 1 offers. This crate provides it all on Wasmtime:
//! preview 1 itself (files by wasmtime-wasi), sockets on a virtual or a real network, and the HTTP plugin, behind one
//! policy for calls out. Nothing is inherited from the host: what is allowed is named.
//!
//! With the feature `wasmedge`, `link::wasmedge` runs programs on WasmEdge, with the same plugin and codec.
//!
//! ```no_run
//! use std::sync::Arc;
//! use prewasm_ext_http::{Environment, Host, HostOptions, HostView, Inbound, Network, Outbound, link};
//! # fn example(engine: &wasmtime::Engine, artifact: &prewasm_artifact::Artifact) -> Result<(), Box<dyn std::error::Error>> {
//! struct State(Host);
//! impl HostView for State {
//!     fn host(&mut self) -> &mut Host {
//!         &mut self.0
//!     }
//! }
//!
//! let linked = link::prepare(artifact)?;
//! let module = wasmtime::Module::new(engine, &linked)?;
//! let template = link::linker::<State>(engine)?.instantiate_pre(&module)?;
//! let network = Network { inbound: Inbound::Denied, outbound: Arc::new(Outbound::default()) };
//! let host = Host::new(Arc::new(Environment::default()), HostOptions::silent(network));
//! let store = wasmtime::Store::new(engine, State(host));
//! # drop((template, store));
//! # Ok(())
//! # }
//! ```

mod abi;
mod codec;
mod frozen;
mod host;
pub mod imports;
pub mod link;
mod network;
mod outbound;
mod plugin;
mod poll;
pub mod port;
mod sockets;
mod upcoming;
mod wasi;

pub use frozen::{Frozen, FrozenError, HostState, Reseed, ResumeError, Unfreezable};
pub use host::{Host, HostOptions, HostView};
pub use network::{Connector, Inbound, InboundRule, Network, VirtualInbound, VirtualStream, virtual_inbound};
pub use outbound::{
    AnswerBody, Authorities, AuthorityError, Outbound, OutboundLimits, OutboundPolicy, Pattern, PatternError, Refusal,
    RequestError, Resolution, Scheme, Usage,
};
pub use plugin::PluginError;
pub use upcoming::Upcoming;
pub use wasi::files::DirectoryError;
pub use wasi::{Access, Clock, Directory, Draw, Environment, ExtraEnv, FileView, Input, Output, Random, Seed, Varied};

/// The tracing target of the event which tells the address (field `address`) that a guest's listener really got.
pub const LISTENING: &str = "prewasm::listening";
