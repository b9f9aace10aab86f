//! What is declared with `--dir`, as far as a program can see it: files, folders and links, by name and content.
//!
//! Times, owners and numbers of files can be seen, too, but are not taken into account: they are others after every
//! checkout.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use prewasm_artifact::{Sha256, sha256, sha256_of};
use prewasm_snapshot::Options;

use crate::exit::{Class, Failure};

/// All that is in the declared directories.
pub(super) struct Declared {
    /// Directory by directory, each sorted.
    pub(super) entries: Vec<Entry>,
}

/// Something in a declared directory, or the directory itself.
pub(super) struct Entry {
    /// Where it is on the host.
    pub(super) path: PathBuf,
    /// Which of the directories it is in.
    pub(super) directory: usize,
    /// Below that directory; empty for itself.
    pub(super) name: PathBuf,
    pub(super) kind: EntryKind,
}

/// What it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum EntryKind {
    File,
    Folder,
    /// Links are not followed: what they lead to is declared if it is in the directory, and else out of reach.
    Link {
        target: PathBuf,
    },
    /// A pipe, socket or device: nothing that has a content.
    Special,
}

impl Declared {
    /// Looks into all directories.
    pub(super) fn of(options: &Options) -> Result<Self, Failure> {
        let mut entries = Vec::new();
        for (index, directory) in options.inputs.dirs.iter().enumerate() {
            walk(index, &directory.host, &mut entries)?;
        }
        Ok(Self { entries })
    }
}

/// With a list instead of recursion, since folders may be nested deeply.
fn walk(directory: usize, host: &Path, entries: &mut Vec<Entry>) -> Result<(), Failure> {
    let first = entries.len();
    let root = Entry { path: host.to_owned(), directory, name: PathBuf::new(), kind: EntryKind::Folder };
    let mut folders = vec![(root.path.clone(), root.name.clone())];
    entries.push(root);
    while let Some((folder, below)) = folders.pop() {
        for found in fs::read_dir(&folder).map_err(|error| unreadable(&folder, error))? {
            let found = found.map_err(|error| unreadable(&folder, error))?;
            let (path, name) = (found.path(), below.join(found.file_name()));
            let kind = kind(&path).map_err(|error| unreadable(&path, error))?;
            if kind == EntryKind::Folder {
                folders.push((path.clone(), name.clone()));
            }
            entries.push(Entry { path, directory, name, kind });
        }
    }
    entries[first..].sort_by(|a, b| a.name.cmp(&b.name));
    Ok(())
}

fn kind(path: &Path) -> io::Result<EntryKind> {
    let file_type = fs::symlink_metadata(path)?.file_type();
    Ok(if file_type.is_file() {
        EntryKind::File
    } else if file_type.is_dir() {
        EntryKind::Folder
    } else if file_type.is_symlink() {
        EntryKind::Link { target: fs::read_link(path)? }
    } else {
        EntryKind::Special
    })
}

impl Entry {
    /// The hash of a file's content, or of a link's target; `None` for what has no content.
    pub(super) fn hash(&self) -> Result<Option<Sha256>, Failure> {
        match &self.kind {
            EntryKind::File => hash_file(&self.path).map(Some),
            EntryKind::Link { target } => Ok(Some(sha256([target.as_os_str().as_encoded_bytes()]))),
            EntryKind::Folder | EntryKind::Special => Ok(None),
        }
    }
}

/// The hash of a file's content.
pub(super) fn hash_file(path: &Path) -> Result<Sha256, Failure> {
    fs::File::open(path).and_then(sha256_of).map_err(|error| unreadable(path, error))
}

/// As for a directory that cannot be opened: it is the command line which names it.
fn unreadable(path: &Path, error: io::Error) -> Failure {
    let context = format!("cannot read `{}`, which is a declared input", path.display());
    Failure::new(Class::Usage, anyhow::Error::new(error).context(context))
}
