//! Calls which go to a stream, a file or a socket, as the descriptor tells.

use wasmtime::{Caller, Linker, Result};
use wasmtime_wasi::p1::wasi_snapshot_preview1::{self as files, WasiSnapshotPreview1 as _};

use super::{
    finish, parts,
    transfer::{Receiver, receive, send},
};
use crate::{
    abi::errno::Errno,
    host::{Host, HostView},
    imports::{DescriptorCall, Entry},
    sockets::{FIRST_SOCKET, Failure},
    wasi::files::FIRST_FILE,
};

/// File types of `fdstat` and `filestat`.
const FILETYPE_UNKNOWN: u8 = 0;
const FILETYPE_SOCKET_STREAM: u8 = 6;
const FDFLAG_NONBLOCK: u16 = 4;
/// Rights which WasmEdge reports for sockets it opened and for those it accepted; libc derives `O_RDWR` from them.
const RIGHTS_OPENED_SOCKET: u64 = 0xF_F800_004A;
const RIGHTS_ACCEPTED_SOCKET: u64 = 0xF_1800_004A;
/// `FD_READ` and `FD_WRITE`, with `POLL_FD_READWRITE`.
const RIGHTS_STDIN: u64 = 0x800_0002;
const RIGHTS_STDOUT: u64 = 0x800_0040;

pub(super) fn define<T: HostView>(linker: &mut Linker<T>, entry: &'static Entry, call: DescriptorCall) -> Result<()> {
    match call {
        DescriptorCall::Read => later!(linker, entry, |caller, fd: i32, iovecs: i32, count: i32, out: i32| match fd {
            0 => read_stdin(&mut caller, iovecs, count, out).await,
            FIRST_SOCKET.. => receive(&mut caller, fd, (iovecs, count), 0, Receiver::new(out)).await,
            _ => on_file!(caller, fd, |context, memory| files::fd_read(context, memory, fd, iovecs, count, out).await),
        }),
        DescriptorCall::Write => later!(linker, entry, |caller, fd: i32, iovecs: i32, count: i32, out: i32| match fd {
            1 | 2 => write_stdio(&mut caller, fd, iovecs, count, out).await,
            FIRST_SOCKET.. => send(&mut caller, fd, (iovecs, count), 0, out, None).await,
            _ => on_file!(caller, fd, |context, memory| files::fd_write(context, memory, fd, iovecs, count, out).await),
        }),
        DescriptorCall::Close => later!(linker, entry, |caller, fd: i32| match fd {
            0..FIRST_FILE => {
                let (_, host) = parts(&mut caller)?;
                finish(host.wasi.stdio.close(fd).map_err(Failure::from))
            }
            FIRST_SOCKET.. => {
                let (_, host) = parts(&mut caller)?;
                finish(host.sockets.close(fd).map_err(Failure::from))
            }
            _ => on_file!(caller, fd, |context, memory| files::fd_close(context, memory, fd).await),
        }),
        DescriptorCall::FdstatGet => later!(linker, entry, |caller, fd: i32, out: i32| match fd {
            FIRST_FILE..FIRST_SOCKET => {
                on_file!(caller, fd, |context, memory| files::fd_fdstat_get(context, memory, fd, out).await)
            }
            _ => {
                let (mut memory, host) = parts(&mut caller)?;
                let stat = fdstat(host, fd).and_then(|stat| memory.write(out, &stat));
                finish(stat.map_err(Failure::from))
            }
        }),
        DescriptorCall::FdstatSetFlags => later!(linker, entry, |caller, fd: i32, flags: i32| match fd {
            FIRST_FILE..FIRST_SOCKET => {
                on_file!(caller, fd, |context, memory| files::fd_fdstat_set_flags(context, memory, fd, flags))
            }
            _ => {
                let (_, host) = parts(&mut caller)?;
                finish(set_flags(host, fd, flags).map_err(Failure::from))
            }
        }),
        DescriptorCall::FilestatGet => later!(linker, entry, |caller, fd: i32, out: i32| match fd {
            FIRST_FILE..FIRST_SOCKET => {
                on_file!(caller, fd, |context, bytes, reproducible| match reproducible {
                    Some(reproducible) => reproducible.stat(context, bytes, fd, out).await,
                    None => {
                        let memory = &mut wiggle::GuestMemory::Unshared(bytes);
                        files::fd_filestat_get(context, memory, fd, out).await
                    }
                })
            }
            _ => {
                let (mut memory, host) = parts(&mut caller)?;
                let stat = filestat(host, fd).and_then(|stat| memory.write(out, &stat));
                finish(stat.map_err(Failure::from))
            }
        }),
        DescriptorCall::Renumber => later!(linker, entry, |caller, from: i32, to: i32| {
            if from >= FIRST_SOCKET && to >= FIRST_SOCKET {
                let (_, host) = parts(&mut caller)?;
                return finish(host.sockets.renumber(from, to).map_err(Failure::from));
            }
            if from >= FIRST_SOCKET || !(FIRST_FILE..FIRST_SOCKET).contains(&to) {
                return Ok(Errno::NotSup.code());
            }
            on_file!(caller, from, |context, memory| files::fd_renumber(context, memory, from, to).await)
        }),
    }?;
    Ok(())
}

async fn read_stdin<T: HostView>(caller: &mut Caller<'_, T>, iovecs: i32, count: i32, out: i32) -> Result<i32> {
    let (mut memory, host) = parts(caller)?;
    let result = async {
        let target = memory.iovecs(iovecs, count)?.into_iter().find(|range| range.len() > 0);
        memory.range(out, 4)?;
        let length = match target {
            Some(range) => host.read_stdin(memory.bytes_mut(range)).await?,
            None => 0,
        };
        memory.write_u32(out, u32::try_from(length).map_err(|_| Errno::Fault)?)
    };
    finish(result.await.map_err(Failure::from))
}

async fn write_stdio<T: HostView>(
    caller: &mut Caller<'_, T>,
    fd: i32,
    iovecs: i32,
    count: i32,
    out: i32,
) -> Result<i32> {
    let (mut memory, host) = parts(caller)?;
    let result = async {
        let ranges = memory.iovecs(iovecs, count)?;
        memory.range(out, 4)?;
        let mut total = 0u32;
        for range in ranges {
            let mut bytes = memory.bytes(range);
            while !bytes.is_empty() {
                let written = host.write_stdio(fd, bytes).await?;
                if written == 0 {
                    return Err(Errno::Pipe);
                }
                bytes = &bytes[written..];
            }
            total = total.saturating_add(u32::try_from(range.len()).map_err(|_| Errno::Fault)?);
        }
        memory.write_u32(out, total)
    };
    finish(result.await.map_err(Failure::from))
}

/// `fdstat`: filetype u8 @0, fdflags u16 @2, rights u64 @8, inheriting rights u64 @16.
fn fdstat(host: &mut Host, fd: i32) -> Result<[u8; 24], Errno> {
    let (filetype, flags, rights) = match fd {
        FIRST_SOCKET.. => {
            let rights = if host.sockets.is_accepted(fd)? { RIGHTS_ACCEPTED_SOCKET } else { RIGHTS_OPENED_SOCKET };
            let flags = if host.sockets.is_nonblocking(fd)? { FDFLAG_NONBLOCK } else { 0 };
            (FILETYPE_SOCKET_STREAM, flags, rights)
        }
        // Not a character device: a guest would take the stream for a terminal.
        0 if host.wasi.stdio.is_open(0) => (FILETYPE_UNKNOWN, 0, RIGHTS_STDIN),
        1 | 2 if host.wasi.stdio.is_open(fd) => (FILETYPE_UNKNOWN, 0, RIGHTS_STDOUT),
        _ => return Err(Errno::BadF),
    };
    let mut stat = [0; 24];
    stat[0] = filetype;
    stat[2..4].copy_from_slice(&flags.to_le_bytes());
    stat[8..16].copy_from_slice(&rights.to_le_bytes());
    Ok(stat)
}

/// `filestat`: filetype u8 @16; everything else is unknown for streams.
fn filestat(host: &mut Host, fd: i32) -> Result<[u8; 64], Errno> {
    let mut stat = [0; 64];
    stat[16] = fdstat(host, fd)?[0];
    Ok(stat)
}

fn set_flags(host: &mut Host, fd: i32, flags: i32) -> Result<(), Errno> {
    match fd {
        FIRST_SOCKET.. => host.sockets.set_nonblocking(fd, flags & i32::from(FDFLAG_NONBLOCK) != 0),
        // Standard streams wait whatever the flags, like wasmtime-wasi's.
        _ if host.wasi.stdio.is_open(fd) => Ok(()),
        _ => Err(Errno::BadF),
    }
}
