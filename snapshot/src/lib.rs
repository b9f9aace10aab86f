//! Pre-initialize a wasm module or component.
//!
//! [`build`] runs the init function of a program once, in surroundings which are declared and reproducible, and gives
//! back the same program as it was afterwards: a plain `.wasm` whose start-up is already over.
//!
//! ```
//! use prewasm_artifact::Artifact;
//! use prewasm_snapshot::{Options, build};
//!
//! let wat = r#"(module
//!     (global $ready (mut i32) (i32.const 0))
//!     (func (export "wizer-initialize") (global.set $ready (i32.const 1)))
//!     (func (export "ready") (result i32) (global.get $ready)))"#;
//! let artifact = Artifact::from_bytes("lazy.wat", wat.into())?;
//! let snapshot = build(&artifact, &Options::default(), &prewasm_snapshot::silent())?;
//! assert_eq!(snapshot.report.init.function, "wizer-initialize");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod build;
mod census;
pub mod difference;
mod freeze;
mod initialize;
mod options;
mod preflight;
mod program;
mod progress;
mod provenance;
mod report;
mod sandbox;
#[cfg(test)]
mod schemas;
mod state;
mod verify;
mod warm_up;

pub use build::{BuildError, Snapshot, build};
pub use difference::Difference;
pub use freeze::{FreezeError, Unfreezable};
pub use initialize::InitializeError;
pub use options::{InitExport, Inputs, Limits, Options, Rename, RenameError, Stop, Until, UntilError};
pub use preflight::{Objection, check};
pub use progress::{Event, Progress, silent};
pub use provenance::WASMTIME_VERSION;
pub use report::{Freeze, Image, Init, Report, WarmUpAnswer};
pub use sandbox::RunError;
pub use verify::VerifyError;
pub use warm_up::{Body, WarmUp, WarmUpError, WarmUpFailure};
