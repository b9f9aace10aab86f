//! Output files are written whole or not at all.

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
};

/// Why an output file could not be written. The target is as it was before.
#[derive(Debug, thiserror::Error)]
#[error("cannot write `{path}`", path = path.display())]
pub struct WriteError {
    /// The file that was to be written.
    pub path: PathBuf,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

/// Writes `bytes` beside `path` and renames the finished file over it.
///
/// A reader sees the old content or the new one. Permissions are those of a file newly created by this process.
///
/// # Errors
/// [`WriteError`] if the folder cannot be written to or the disk is full; nothing is left behind then.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), WriteError> {
    // The name of the temporary file, which some of these errors carry, would tell nobody anything.
    let plain = |error: io::Error| error.raw_os_error().map_or(error.kind().into(), io::Error::from_raw_os_error);
    write(path, bytes).map_err(|source| WriteError { path: path.to_owned(), source: plain(source) })
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(".prewasm-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        // Narrowed by the umask, as for any new file; tempfile's own default is 0600.
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let mut file = builder.tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_a_file_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("out.wasm");
        write_whole(&path, b"old").expect("writable");
        write_whole(&path, b"new").expect("writable");
        assert_eq!(std::fs::read(&path).expect("readable"), b"new");
        assert_eq!(std::fs::read_dir(folder.path()).expect("readable").count(), 1);
    }

    #[test]
    fn a_missing_folder_is_an_error_which_names_the_file() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("no/such/out.wasm");
        let error = write_whole(&path, b"x").expect_err("no such folder");
        assert_eq!(error.path, path);
    }
}
