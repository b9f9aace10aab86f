//! HTTP gateway: each request on a fresh, isolated instance.
//!
//! [`serve`] takes a site: apps (socket servers written for WasmEdge, CGI commands, wasi:http components), and routes to
//! them. It compiles each app once, and gives every request an instance of its own under limits that hold. [`run::run`]
//! runs one program on real sockets instead.
//!
//! ```no_run
//! use prewasm_artifact::{Artifact, ArtifactError};
//! use prewasm_gateway::{App, CodeCache, Loaded, ServerOptions, SiteSource, SiteSpec, serve};
//!
//! /// A site of one app, which is read again at each reload.
//! struct File;
//!
//! impl SiteSource for File {
//!     type Error = ArtifactError;
//!
//!     fn load(&mut self) -> Result<Loaded, ArtifactError> {
//!         let app = App::new(Artifact::read("server.wasm".as_ref())?);
//!         Ok(Loaded { site: SiteSpec::single(app), watched: vec!["server.wasm".into()] })
//!     }
//! }
//!
//! let on_listening = |address| println!("listening on http://{address}");
//! serve(File.load()?, File, &ServerOptions::default(), &CodeCache::user(), on_listening)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod admin;
mod admission;
mod app;
mod background;
mod body;
mod cache;
mod cgi;
mod chain;
mod door;
mod engines;
mod failure;
mod fields;
mod files;
mod guest;
mod guest_log;
mod injected;
mod memory;
mod peer;
mod pipeline;
mod prepared;
mod record;
mod reload;
mod respond;
mod route;
mod router;
pub mod run;
mod server;
mod shared_code;
mod site;
mod spec;
mod store;
mod target;
mod ticker;
mod trial;
mod turns;

pub use app::{App, Injected, Limits, Mode, Reuse};
pub use cache::{Code, CodeCache, LoadError, PrecompiledPolicy, compile, compile_objection};
pub use files::{FilesError, FilesSpec};
pub use guest::{component::provides, core::Rehearsal};
pub use memory::{Choice, Reset, ResetError};
pub use peer::Peer;
pub use prepared::{PrepareError, objections};
pub use record::ACCESS;
pub use route::{HostPattern, Route};
pub use router::Conflict;
pub use server::{ServeError, ServerOptions, serve};
pub use site::{SiteError, SiteErrors};
pub use spec::{Loaded, RouteSpec, SiteSource, SiteSpec, StaticResponse, TargetSpec};
pub use trial::{Answer, Question, Reason, Trial};
