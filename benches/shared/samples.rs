//! Where the guests are.

use std::path::{Path, PathBuf};

/// A guest from `samples/prebuilt/`.
pub(crate) fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/prebuilt").join(name)
}
