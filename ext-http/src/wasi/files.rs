//! Descriptors from 3 up to where sockets start: wasmtime-wasi's files.

pub(crate) mod reproducible;

use std::{fmt, io, path::PathBuf, sync::Arc};

use wasmtime_wasi::{
    FsPerms, WasiCtxBuilder,
    p1::{WasiP1Ctx, wasi_snapshot_preview1},
};

use super::Environment;
use crate::{abi::errno::Errno, frozen::Unfreezable, sockets::FIRST_SOCKET};

use reproducible::Reproducible;

/// The first descriptor of a file; preopened directories come first.
pub(crate) const FIRST_FILE: i32 = 3;

/// What a guest may do in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read files and list directories.
    ReadOnly,
    /// Also create, change and delete.
    ReadWrite,
}

/// A directory opened for a guest before it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    /// Where it is on the host.
    pub host: PathBuf,
    /// Where the guest sees it.
    pub guest: String,
    /// What the guest may do there.
    pub access: Access,
}

/// What a guest is told about its files besides their names, types and content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FileView {
    /// What the host's file system tells.
    #[default]
    Host,
    /// The same on every machine and in every run, for snapshots. Directories are listed in the order of their names'
    /// bytes. Files have the numbers 1, 2, 3 and so on, as the guest meets them: what is the same file has the same
    /// number. All are on device 1 with one link each, and directories have size 0. What a guest changes in a directory
    /// is seen, except for the times that it sets.
    Reproducible {
        /// The time of every file, in nanoseconds since the Unix epoch.
        time: u64,
    },
}

/// A directory which cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open directory `{path}`", path = path.display())]
pub struct DirectoryError {
    /// The directory on the host.
    pub path: PathBuf,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

impl Directory {
    /// Checks that the directory exists and can be listed.
    ///
    /// # Errors
    /// [`DirectoryError`], naming it.
    pub fn check(&self) -> Result<(), DirectoryError> {
        std::fs::read_dir(&self.host).map(drop).map_err(|source| self.error(source))
    }

    /// Opens the directory for a guest of wasmtime-wasi, under the guest's name and with the guest's rights.
    ///
    /// # Errors
    /// [`DirectoryError`], naming it.
    pub fn preopen(&self, builder: &mut WasiCtxBuilder) -> Result<(), DirectoryError> {
        let perms = match self.access {
            Access::ReadOnly => FsPerms::ReadOnly,
            Access::ReadWrite => FsPerms::ReadWrite,
        };
        let opened = builder.preopened_dir(&self.host, &self.guest, perms);
        opened.map(drop).map_err(|error| self.error(io::Error::other(error)))
    }

    fn error(&self, source: io::Error) -> DirectoryError {
        DirectoryError { path: self.host.clone(), source }
    }
}

/// The files of one instance, opened at the first call which needs them.
pub(crate) struct Files {
    environment: Arc<Environment>,
    context: Option<Box<WasiP1Ctx>>,
    reproducible: Option<Reproducible>,
    looked_for_directory: bool,
}

impl Files {
    pub(crate) fn new(environment: Arc<Environment>) -> Self {
        let reproducible = match environment.files {
            FileView::Host => None,
            FileView::Reproducible { time } => Some(Reproducible::new(time)),
        };
        Self { environment, context: None, reproducible, looked_for_directory: false }
    }

    /// Whether a guest without directories looked for one: a hint for the user if it fails later.
    pub(crate) fn looked_in_vain(&self) -> bool {
        self.looked_for_directory
    }

    /// wasmtime-wasi's context; `None` if no directory is open, for then no descriptor can be a file.
    pub(crate) fn context(&mut self) -> wasmtime::Result<Option<&mut WasiP1Ctx>> {
        Ok(self.parts()?.map(|(context, _)| context))
    }

    /// wasmtime-wasi's context, and what replaces the host's part in its answers.
    pub(crate) fn parts(&mut self) -> wasmtime::Result<Option<(&mut WasiP1Ctx, Option<&mut Reproducible>)>> {
        if self.environment.dirs.is_empty() {
            self.looked_for_directory = true;
            return Ok(None);
        }
        if self.context.is_none() {
            self.context = Some(Box::new(open(&self.environment)?));
        }
        Ok(self.context.as_deref_mut().map(|context| (context, self.reproducible.as_mut())))
    }

    /// What a guest has opened, closed or moved since its start cannot be kept for it. There is no list of its
    /// descriptors, so each is asked for.
    pub(crate) fn freeze(&mut self, objections: &mut Vec<Unfreezable>) {
        // Without a context, there was no call about files.
        let Some(context) = self.context.as_deref_mut() else { return };
        let mut preopened = self.environment.dirs.iter();
        for fd in FIRST_FILE..FIRST_SOCKET {
            match preopened.next() {
                Some(directory) if !is_preopened(context, fd, &directory.guest) => {
                    objections.push(Unfreezable::Preopen { fd, guest: directory.guest.clone() });
                }
                None if is_open(context, fd) => objections.push(Unfreezable::File { fd }),
                _ => {}
            }
        }
    }
}

/// Whether a descriptor is this directory, opened before the start.
fn is_preopened(context: &mut WasiP1Ctx, fd: i32, guest: &str) -> bool {
    let mut bytes = vec![0; guest.len()];
    let length = i32::try_from(bytes.len()).unwrap_or(i32::MAX);
    let memory = &mut wiggle::GuestMemory::Unshared(&mut bytes);
    let found = wasi_snapshot_preview1::fd_prestat_dir_name(context, memory, fd, 0, length);
    matches!(found, Ok(0)) && bytes == guest.as_bytes()
}

/// Whether a descriptor is anything. Its rights cannot be changed, but only one that exists is told so.
fn is_open(context: &mut WasiP1Ctx, fd: i32) -> bool {
    let memory = &mut wiggle::GuestMemory::Unshared(&mut []);
    let answer = wasi_snapshot_preview1::fd_fdstat_set_rights(context, memory, fd, 0, 0);
    !matches!(answer, Ok(errno) if errno == Errno::BadF.code())
}

fn open(environment: &Environment) -> wasmtime::Result<WasiP1Ctx> {
    let mut builder = WasiCtxBuilder::new();
    if let FileView::Reproducible { .. } = environment.files {
        // Threads would make it a matter of luck when a call is done.
        builder.allow_blocking_current_thread(true);
    }
    for directory in &environment.dirs {
        directory.preopen(&mut builder)?;
    }
    Ok(builder.build_p1())
}

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Files").field("open", &self.context.is_some()).finish_non_exhaustive()
    }
}
