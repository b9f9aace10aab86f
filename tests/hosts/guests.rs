//! Samples, and what `prewasm` makes of them.

use std::path::PathBuf;

use crate::program::{Folder, sample};

/// Where ported samples are.
pub struct Guests(Folder);

impl Guests {
    pub fn new() -> Self {
        Self(Folder::new())
    }

    pub fn with(self, name: &str, content: &str) -> Self {
        Self(self.0.with(name, content))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path(name)
    }

    /// Ports a sample.
    pub fn ported(&self, name: &str) -> PathBuf {
        self.port(sample(name), &format!("{name}.ported.wasm"), &[])
    }

    /// Snapshots a sample, then ports it.
    pub fn snapshotted_and_ported(&self, name: &str, options: &[&str]) -> PathBuf {
        let (from, to) = (sample(name), self.path("snapshot.wasm"));
        let fixed = ["snapshot".as_ref(), from.as_os_str(), "-o".as_ref(), to.as_os_str()];
        self.0.run(fixed.into_iter().chain(options.iter().map(AsRef::as_ref))).succeeds();
        self.port(to, &format!("{name}.frozen.ported.wasm"), &[])
    }

    /// Ports a file. That it speaks HTTP is about to be seen.
    pub fn port(&self, from: PathBuf, to: &str, options: &[&str]) -> PathBuf {
        let to = self.path(to);
        let fixed = ["port".as_ref(), from.as_os_str(), "-o".as_ref(), to.as_os_str(), "--no-probe".as_ref()];
        self.0.run(fixed.into_iter().chain(options.iter().map(AsRef::as_ref))).succeeds();
        to
    }
}
