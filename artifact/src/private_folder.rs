//! Folders for caches: what is found there is used again, so nobody else may put anything there.

use std::{fs, io, path::Path};

/// Creates a folder with mode 0700, or checks that an existing one is a folder of ours which nobody else can use.
///
/// # Errors
/// If it cannot be created or written to, or is somebody else's or open to others.
#[cfg(unix)]
pub fn create_private_folder(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};

    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let metadata = fs::symlink_metadata(folder)?;
    // A file that we just made tells who we are, without a system call that needs unsafe code.
    let probe = tempfile::tempfile_in(folder)?;
    let is_ours = metadata.is_dir() && metadata.uid() == probe.metadata()?.uid();
    if !is_ours || metadata.mode() & 0o077 != 0 {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "the folder must be owned by you with mode 0700 (chmod 700)",
        ));
    }
    Ok(())
}

/// Creates a folder. Who may use it is up to the system.
///
/// # Errors
/// If it cannot be created.
#[cfg(not(unix))]
pub fn create_private_folder(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)
}
