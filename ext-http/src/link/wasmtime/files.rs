//! Calls which only files know: wasmtime-wasi answers them.

use wasmtime::{Caller, Linker, Result};
use wasmtime_wasi::p1::wasi_snapshot_preview1::{self as files, WasiSnapshotPreview1 as _};

use crate::{
    abi::errno::Errno,
    host::HostView,
    imports::{Entry, FileCall},
    sockets::FIRST_SOCKET,
    wasi::files::reproducible::{GuestPath, ReadDirectory},
};

/// Of `oflags`.
const OFLAG_CREAT: i32 = 1;

pub(super) fn define<T: HostView>(linker: &mut Linker<T>, entry: &'static Entry, call: FileCall) -> Result<()> {
    match call {
        FileCall::FdPrestatGet => later!(linker, entry, |caller, fd: i32, out: i32| {
            on_file!(caller, fd, |context, memory| files::fd_prestat_get(context, memory, fd, out))
        }),
        FileCall::FdPrestatDirName => later!(linker, entry, |caller, fd: i32, path: i32, length: i32| {
            on_file!(caller, fd, |context, memory| files::fd_prestat_dir_name(context, memory, fd, path, length))
        }),
        FileCall::FdAllocate => later!(linker, entry, |caller, fd: i32, offset: i64, length: i64| {
            on_file!(caller, fd, |context, memory| files::fd_allocate(context, memory, fd, offset, length))
        }),
        FileCall::FdFdstatSetRights => later!(linker, entry, |caller, fd: i32, base: i64, inheriting: i64| {
            on_file!(caller, fd, |context, memory| files::fd_fdstat_set_rights(context, memory, fd, base, inheriting))
        }),
        FileCall::FdTell => later!(linker, entry, |caller, fd: i32, out: i32| {
            on_file!(caller, fd, |context, memory| files::fd_tell(context, memory, fd, out))
        }),
        FileCall::FdAdvise => file!(linker, entry, fd_advise(fd, offset: i64, length: i64, advice: i32)),
        FileCall::FdDatasync => file!(linker, entry, fd_datasync(fd)),
        FileCall::FdFilestatSetSize => file!(linker, entry, fd_filestat_set_size(fd, size: i64)),
        FileCall::FdFilestatSetTimes => {
            file!(linker, entry, fd_filestat_set_times(fd, atime: i64, mtime: i64, flags: i32))
        }
        FileCall::FdPread => file!(linker, entry, fd_pread(fd, iovecs: i32, count: i32, offset: i64, out: i32)),
        FileCall::FdPwrite => file!(linker, entry, fd_pwrite(fd, iovecs: i32, count: i32, offset: i64, out: i32)),
        FileCall::FdReaddir => {
            later!(linker, entry, |caller, fd: i32, buffer: i32, length: i32, cookie: i64, out: i32| {
                on_file!(caller, fd, |context, bytes, reproducible| match reproducible {
                    Some(reproducible) => {
                        let call = ReadDirectory { fd, buffer, length, cookie, out };
                        reproducible.read_directory(context, bytes, call).await
                    }
                    None => {
                        let memory = &mut wiggle::GuestMemory::Unshared(bytes);
                        files::fd_readdir(context, memory, fd, buffer, length, cookie, out).await
                    }
                })
            })
        }
        FileCall::FdSeek => file!(linker, entry, fd_seek(fd, offset: i64, whence: i32, out: i32)),
        FileCall::FdSync => file!(linker, entry, fd_sync(fd)),
        FileCall::PathCreateDirectory => later!(linker, entry, |caller, fd: i32, path: i32, length: i32| {
            on_file!(caller, fd, |context, bytes, reproducible| {
                let memory = &mut wiggle::GuestMemory::Unshared(bytes);
                let errno = files::path_create_directory(context, memory, fd, path, length).await?;
                if let Some(reproducible) = reproducible.filter(|_| errno == 0) {
                    reproducible.created(context, bytes, GuestPath { fd, flags: 0, path, length }).await?;
                }
                Ok(errno)
            })
        }),
        FileCall::PathFilestatGet => {
            later!(linker, entry, |caller, fd: i32, flags: i32, path: i32, length: i32, out: i32| {
                on_file!(caller, fd, |context, bytes, reproducible| match reproducible {
                    Some(reproducible) => {
                        reproducible.stat_at(context, bytes, GuestPath { fd, flags, path, length }, out).await
                    }
                    None => {
                        let memory = &mut wiggle::GuestMemory::Unshared(bytes);
                        files::path_filestat_get(context, memory, fd, flags, path, length, out).await
                    }
                })
            })
        }
        FileCall::PathFilestatSetTimes => {
            file!(linker, entry, path_filestat_set_times(fd, flags: i32, path: i32, length: i32, atime: i64, mtime: i64, fst_flags: i32))
        }
        FileCall::PathLink => {
            file!(linker, entry, path_link(fd, flags: i32, path: i32, length: i32, new_fd: i32, new_path: i32, new_length: i32))
        }
        FileCall::PathOpen => later!(linker, entry, |caller,
                                                     fd: i32,
                                                     dirflags: i32,
                                                     path: i32,
                                                     length: i32,
                                                     oflags: i32,
                                                     base: i64,
                                                     inheriting: i64,
                                                     fdflags: i32,
                                                     out: i32| {
            open_path(caller, PathOpen { fd, dirflags, path, length, oflags, base, inheriting, fdflags, out }).await
        }),
        FileCall::PathReadlink => {
            file!(linker, entry, path_readlink(fd, path: i32, length: i32, buffer: i32, buffer_length: i32, out: i32))
        }
        FileCall::PathRemoveDirectory => file!(linker, entry, path_remove_directory(fd, path: i32, length: i32)),
        FileCall::PathRename => {
            file!(linker, entry, path_rename(fd, path: i32, length: i32, new_fd: i32, new_path: i32, new_length: i32))
        }
        // The descriptor is the third argument here.
        FileCall::PathSymlink => {
            later!(linker, entry, |caller, path: i32, length: i32, fd: i32, new_path: i32, new_length: i32| {
                on_file!(caller, fd, |context, bytes, reproducible| {
                    let memory = &mut wiggle::GuestMemory::Unshared(bytes);
                    let errno = files::path_symlink(context, memory, path, length, fd, new_path, new_length).await?;
                    if let Some(reproducible) = reproducible.filter(|_| errno == 0) {
                        let link = GuestPath { fd, flags: 0, path: new_path, length: new_length };
                        reproducible.created(context, bytes, link).await?;
                    }
                    Ok(errno)
                })
            })
        }
        FileCall::PathUnlinkFile => file!(linker, entry, path_unlink_file(fd, path: i32, length: i32)),
    }?;
    Ok(())
}

/// The nine arguments of `path_open`.
struct PathOpen {
    fd: i32,
    dirflags: i32,
    path: i32,
    length: i32,
    oflags: i32,
    base: i64,
    inheriting: i64,
    fdflags: i32,
    out: i32,
}

/// Opens a file; one whose descriptor would be a socket's is closed again.
async fn open_path<T: HostView>(mut caller: Caller<'_, T>, open: PathOpen) -> Result<i32> {
    let PathOpen { fd, dirflags, path, length, oflags, base, inheriting, fdflags, out } = open;
    on_file!(caller, fd, |context, bytes, reproducible| {
        let target = GuestPath { fd, flags: dirflags, path, length };
        // Only who numbers files wants to know of new ones.
        let new_file = match reproducible {
            Some(reproducible) if oflags & OFLAG_CREAT != 0 && target.file(context, bytes).await?.is_none() => {
                Some(reproducible)
            }
            _ => None,
        };
        let memory = &mut wiggle::GuestMemory::Unshared(&mut *bytes);
        let mut errno =
            files::path_open(context, memory, fd, dirflags, path, length, oflags, base, inheriting, fdflags, out)
                .await?;
        if errno == 0 {
            let opened = memory.read(wiggle::GuestPtr::<u32>::new(out.cast_unsigned()))?.cast_signed();
            if opened >= FIRST_SOCKET {
                files::fd_close(context, memory, opened).await?;
                errno = Errno::MFile.code();
            }
        }
        if let Some(reproducible) = new_file {
            reproducible.created(context, bytes, target).await?;
        }
        Ok(errno)
    })
}
