//! Snapshots and components of samples, made by the program under test.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::ensure;

use crate::{peers::PREWASM, samples::sample};

/// Makes `NAME.LABEL.wasm` in `folder` of the sample `NAME.wasm`.
pub(crate) fn make(folder: &Path, name: &str, label: &str, args: &[&str]) -> anyhow::Result<PathBuf> {
    let snapshot = folder.join(format!("{name}.{label}.wasm"));
    let mut command = Command::new(PREWASM);
    command.arg("snapshot").arg(sample(&format!("{name}.wasm"))).arg("-o").arg(&snapshot).args(args);
    let built = command.env("XDG_CACHE_HOME", folder).output()?;
    ensure!(built.status.success(), "no snapshot of {name}:\n{}", String::from_utf8_lossy(&built.stderr));
    Ok(snapshot)
}

/// Makes `NAME.ported.wasm` in `folder` of a file.
pub(crate) fn port(folder: &Path, from: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let component = folder.join(format!("{name}.ported.wasm"));
    let mut command = Command::new(PREWASM);
    command.arg("port").arg(from).arg("-o").arg(&component).arg("--no-probe");
    let built = command.env("XDG_CACHE_HOME", folder).output()?;
    ensure!(built.status.success(), "{name} is not ported:\n{}", String::from_utf8_lossy(&built.stderr));
    Ok(component)
}
