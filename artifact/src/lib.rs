//! What a wasm file is.
//!
//! Every other crate of prewasm asks this one: [`Artifact::read`] turns a path (binary, text or standard input)
//! into validated bytes with their [`Kind`], imports and exports; [`write_whole`] puts bytes into a file so that a
//! reader sees the old file or the new one, never a part.
//!
//! ```
//! use prewasm_artifact::{Artifact, Kind};
//!
//! let artifact = Artifact::from_bytes("hello.wat", b"(module (func (export \"_start\")))".to_vec())?;
//! assert_eq!(artifact.kind(), Kind::Command);
//! # Ok::<(), prewasm_artifact::ArtifactError>(())
//! ```

mod artifact;
mod hash;
mod imports;
mod kind;
mod private_folder;
mod sections;
mod write;

pub use artifact::{Artifact, ArtifactError, Memory};
pub use hash::{Sha256, sha256, sha256_of};
pub use imports::{Family, Import, MARKER, PREVIEW1, ValueType};
pub use kind::{HttpVersion, Kind};
pub use private_folder::create_private_folder;
pub use sections::{FROZEN_SECTION, SNAPSHOT_SECTION, append_section};
pub use write::{WriteError, write_whole};
