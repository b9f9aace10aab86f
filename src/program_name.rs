//! What a program finds as its first argument.

use std::path::Path;

/// The name of the file, without what the host's folders are called.
pub fn program_name(file: &Path) -> String {
    file.file_name().unwrap_or(file.as_os_str()).to_string_lossy().into_owned()
}
