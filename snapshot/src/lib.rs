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

mod assemble;
mod build;
mod census;
mod cleared;
mod code;
mod constructors;
pub mod difference;
mod entropy;
mod freed;
mod freeze;
mod host_calls;
mod initialize;
mod layout;
mod names;
mod options;
mod preflight;
mod program;
mod progress;
mod prologue;
mod provenance;
#[cfg(test)]
mod random;
mod regions;
mod report;
mod sandbox;
#[cfg(test)]
mod schemas;
mod secrets;
mod sections;
mod shadow_stack;
mod sizes;
mod stack;
mod state;
mod strip;
mod types;
mod verify;
mod warm_up;

pub use assemble::{AssembleError, Seen};
pub use build::{BuildError, Snapshot, build};
pub use cleared::Cleared;
pub use difference::Difference;
pub use entropy::EntropyError;
pub use freeze::{FreezeError, Unfreezable};
pub use initialize::InitializeError;
pub use layout::{Layout, LayoutError, UnknownLayout};
pub use options::{
    EntropyPolicy, InitExport, Inputs, Limits, Options, Rename, RenameError, Sizes, Stop, Strip, Until, UntilError,
    Verification,
};
pub use preflight::{Objection, check};
pub use progress::{Event, Progress, silent};
pub use prologue::PrologueError;
pub use provenance::WASMTIME_VERSION;
pub use report::{Comparison, Dependent, EntropyReport, Freeze, Image, Init, Part, Report, WarmUpAnswer};
pub use sandbox::RunError;
pub use secrets::{Finding, Findings, SecretRules, SecretsFound, scan as scan_for_secrets, token_rules};
pub use sizes::{FileSizes, InitialData, InitialMemory, InitialRange};
pub use strip::StripError;
pub use verify::VerifyError;
pub use warm_up::{Body, WarmUp, WarmUpError, WarmUpFailure};
