//! Host functions on Wasmtime: decode, call the meaning, encode.

use prewasm_artifact::{Family, Import, ValueType};
use wasmtime::{Caller, Engine, Extern, Linker, Module, Result, Store, ValType, bail};
use wasmtime_wasi::{
    I32Exit,
    p1::wasi_snapshot_preview1::{self as files, WasiSnapshotPreview1 as _},
};

use crate::{
    abi::{
        address::{self, Dialect, FAMILY_INET4, FAMILY_INET6},
        addrinfo,
        errno::Errno,
        memory::{GuestMemory, GuestRange},
        poll,
    },
    host::{Host, HostView},
    imports::{Call, Entry, TABLE, resolve},
    plugin,
    sockets::{FIRST_SOCKET, Failure, Family as SocketFamily, OptionValue, option},
    wasi::files::FIRST_FILE,
};

/// The guest waits for a connection and none will come: it has served everything. Not a failure.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the guest waits for a connection, and none will come")]
pub struct ServedOut;

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
const RIFLAG_PEEK: i32 = 1;
const RIFLAG_WAITALL: i32 = 2;
const SDFLAG_RD: i32 = 1;
const SDFLAG_WR: i32 = 2;
const SOL_SOCKET: i32 = 0;
const TYPE_DGRAM: u8 = 1;
const TYPE_STREAM: u8 = 2;

/// A linker with every host function.
///
/// # Errors
/// Never, unless the table names a function twice.
pub fn linker<T: HostView>(engine: &Engine) -> Result<Linker<T>> {
    let mut linker = Linker::new(engine);
    for entry in TABLE {
        define(&mut linker, entry)?;
    }
    Ok(linker)
}

/// The host functions for the imports of `module`, in order: for instantiating a module whose imports may share names.
///
/// # Errors
/// If an import is not provided.
pub fn externs<T: HostView>(linker: &Linker<T>, store: &mut Store<T>, module: &Module) -> Result<Vec<Extern>> {
    let mut found = Vec::new();
    for import in module.imports() {
        let signature =
            import.ty().func().map(|ty| (ty.params().map(value).collect(), ty.results().map(value).collect()));
        let import = Import {
            module: import.module().to_owned(),
            name: import.name().to_owned(),
            signature,
            family: Family::of(import.module(), import.name()),
        };
        let entry = resolve(&import)?;
        found.push(linker.get(&mut *store, entry.module, &entry.link_name())?);
    }
    Ok(found)
}

fn value(ty: ValType) -> ValueType {
    match ty {
        ValType::I32 => ValueType::I32,
        ValType::I64 => ValueType::I64,
        _ => ValueType::Other,
    }
}

/// The guest's memory and the host's side, borrowed together.
fn parts<'a, T: HostView>(caller: &'a mut Caller<'_, T>) -> Result<(GuestMemory<'a>, &'a mut Host)> {
    let Some(Extern::Memory(memory)) = caller.get_export("memory") else {
        bail!("the guest exports no memory named `memory`, which every WASI call needs");
    };
    let (bytes, data) = memory.data_and_store_mut(caller);
    Ok((GuestMemory::new(bytes), data.host()))
}

/// Encodes the outcome of a call as an errno; a guest that has served out is stopped.
fn finish(result: Result<(), Failure>) -> Result<i32> {
    match result {
        Ok(()) => Ok(0),
        Err(Failure::Errno(errno)) => Ok(errno.code()),
        Err(Failure::ServedOut) => Err(ServedOut.into()),
    }
}

/// Gives `?` in the body of a [`now`] call something to return from.
fn attempt(body: impl FnOnce() -> Result<(), Errno>) -> Result<(), Errno> {
    body()
}

/// Defines a call that never waits: `|memory, host, arguments| -> Result<(), Errno>`.
macro_rules! now {
    ($linker:ident, $entry:ident, |$memory:ident, $host:ident $(, $arg:ident: $ty:ty)*| $body:expr) => {
        $linker.func_wrap($entry.module, &$entry.link_name(), |mut caller: Caller<'_, T> $(, $arg: $ty)*| -> Result<i32> {
            #[allow(unused_mut, reason = "not every call writes to memory")]
            let (mut $memory, $host) = parts(&mut caller)?;
            let _ = &$memory;
            let result = attempt(|| $body);
            finish(result.map_err(Failure::from))
        })
    };
}

/// Defines a call that may wait: `|caller, arguments| -> Result<i32>`, as an async block.
macro_rules! later {
    ($linker:ident, $entry:ident, |$caller:ident $(, $arg:ident: $ty:ty)*| $body:expr) => {
        $linker.func_wrap_async($entry.module, &$entry.link_name(), |#[allow(unused_mut, reason = "some calls pass it on")] mut $caller: Caller<'_, T>, ($($arg,)*): ($($ty,)*)| {
            Box::new(async move { $body })
        })
    };
}

/// Evaluates a call of wasmtime-wasi with its context, or yields the errno for a descriptor that is no file.
macro_rules! on_file {
    ($caller:ident, $fd:expr, |$context:ident, $memory:ident| $call:expr) => {{
        let Some(Extern::Memory(memory)) = $caller.get_export("memory") else {
            bail!("the guest exports no memory named `memory`, which every WASI call needs");
        };
        // What a call may copy out of the guest; wasmtime's own default per store.
        let fuel = wasmtime::AsContextMut::as_context_mut(&mut $caller).hostcall_fuel();
        let (bytes, data) = memory.data_and_store_mut(&mut $caller);
        let host = data.host();
        if let Err(errno) = may_be_file(host, $fd) {
            return Ok(errno.code());
        }
        let Some($context) = host.wasi.files.context()? else { return Ok(Errno::BadF.code()) };
        $context.set_hostcall_fuel(fuel);
        let $memory = &mut wiggle::GuestMemory::Unshared(bytes);
        $call
    }};
}

/// Defines a call on a file: wasmtime-wasi's, if the descriptor (the first argument) can be one.
macro_rules! file {
    ($linker:ident, $entry:ident, $function:ident($fd:ident $(, $arg:ident: $ty:ty)*)) => {
        $linker.func_wrap_async($entry.module, &$entry.link_name(), |mut caller: Caller<'_, T>, ($fd, $($arg,)*): (i32, $($ty,)*)| {
            Box::new(async move {
                on_file!(caller, $fd, |context, memory| files::$function(context, memory, $fd $(, $arg)*).await)
            })
        })
    };
}

fn may_be_file(host: &mut Host, fd: i32) -> Result<(), Errno> {
    match fd {
        FIRST_FILE..FIRST_SOCKET => Ok(()),
        // Standard streams and sockets do not seek, and are no directories.
        0..FIRST_FILE if host.wasi.stdio.is_open(fd) => Err(Errno::SPipe),
        _ if fd >= FIRST_SOCKET && host.sockets.is_nonblocking(fd).is_ok() => Err(Errno::SPipe),
        _ => Err(Errno::BadF),
    }
}

#[expect(clippy::too_many_lines, reason = "one arm per call: a table")]
fn define<T: HostView>(linker: &mut Linker<T>, entry: &'static Entry) -> Result<()> {
    match entry.call {
        Call::ArgsGet => now!(linker, entry, |memory, host, pointers: i32, text: i32| {
            host.wasi.args_get(&mut memory, pointers, text)
        }),
        Call::ArgsSizesGet => now!(linker, entry, |memory, host, count: i32, size: i32| {
            host.wasi.args_sizes(&mut memory, count, size)
        }),
        Call::EnvironGet => now!(linker, entry, |memory, host, pointers: i32, text: i32| {
            host.wasi.environ_get(&mut memory, pointers, text)
        }),
        Call::EnvironSizesGet => now!(linker, entry, |memory, host, count: i32, size: i32| {
            host.wasi.environ_sizes(&mut memory, count, size)
        }),
        Call::ClockResGet => now!(linker, entry, |memory, host, id: i32, out: i32| {
            memory.write(out, &host.wasi.clock.resolution(id)?.to_le_bytes())
        }),
        Call::ClockTimeGet => now!(linker, entry, |memory, host, id: i32, _precision: i64, out: i32| {
            memory.write(out, &host.wasi.clock.now(id)?.to_le_bytes())
        }),
        Call::RandomGet => later!(linker, entry, |caller, pointer: i32, length: i32| {
            random_get(&mut caller, pointer, length).await
        }),
        Call::ProcExit => {
            linker.func_wrap(entry.module, entry.name, |code: i32| -> Result<()> { Err(I32Exit(code).into()) })
        }
        // Signals do not exist; wasmtime-wasi refuses likewise.
        Call::ProcRaise => linker.func_wrap(entry.module, entry.name, |_signal: i32| Errno::NotSup.code()),
        Call::SchedYield => linker.func_wrap_async(entry.module, entry.name, |_: Caller<'_, T>, (): ()| {
            Box::new(async {
                tokio::task::yield_now().await;
                0
            })
        }),
        Call::FdRead => later!(linker, entry, |caller, fd: i32, iovecs: i32, count: i32, out: i32| match fd {
            0 => read_stdin(&mut caller, iovecs, count, out).await,
            FIRST_SOCKET.. => receive(&mut caller, fd, (iovecs, count), 0, (out, None)).await,
            _ => on_file!(caller, fd, |context, memory| files::fd_read(context, memory, fd, iovecs, count, out).await),
        }),
        Call::FdWrite => later!(linker, entry, |caller, fd: i32, iovecs: i32, count: i32, out: i32| match fd {
            1 | 2 => write_stdio(&mut caller, fd, iovecs, count, out).await,
            FIRST_SOCKET.. => send(&mut caller, fd, iovecs, count, out).await,
            _ => on_file!(caller, fd, |context, memory| files::fd_write(context, memory, fd, iovecs, count, out).await),
        }),
        Call::FdClose => later!(linker, entry, |caller, fd: i32| match fd {
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
        Call::FdFdstatGet => later!(linker, entry, |caller, fd: i32, out: i32| match fd {
            FIRST_FILE..FIRST_SOCKET => {
                on_file!(caller, fd, |context, memory| files::fd_fdstat_get(context, memory, fd, out).await)
            }
            _ => {
                let (mut memory, host) = parts(&mut caller)?;
                let stat = fdstat(host, fd).and_then(|stat| memory.write(out, &stat));
                finish(stat.map_err(Failure::from))
            }
        }),
        Call::FdFdstatSetFlags => later!(linker, entry, |caller, fd: i32, flags: i32| match fd {
            FIRST_FILE..FIRST_SOCKET => {
                on_file!(caller, fd, |context, memory| files::fd_fdstat_set_flags(context, memory, fd, flags))
            }
            _ => {
                let (_, host) = parts(&mut caller)?;
                finish(set_flags(host, fd, flags).map_err(Failure::from))
            }
        }),
        Call::FdFilestatGet => later!(linker, entry, |caller, fd: i32, out: i32| match fd {
            FIRST_FILE..FIRST_SOCKET => {
                on_file!(caller, fd, |context, memory| files::fd_filestat_get(context, memory, fd, out).await)
            }
            _ => {
                let (mut memory, host) = parts(&mut caller)?;
                let stat = filestat(host, fd).and_then(|stat| memory.write(out, &stat));
                finish(stat.map_err(Failure::from))
            }
        }),
        Call::FdRenumber => later!(linker, entry, |caller, from: i32, to: i32| {
            if from >= FIRST_SOCKET && to >= FIRST_SOCKET {
                let (_, host) = parts(&mut caller)?;
                return finish(host.sockets.renumber(from, to).map_err(Failure::from));
            }
            if from >= FIRST_SOCKET || !(FIRST_FILE..FIRST_SOCKET).contains(&to) {
                return Ok(Errno::NotSup.code());
            }
            on_file!(caller, from, |context, memory| files::fd_renumber(context, memory, from, to).await)
        }),
        Call::FdPrestatGet => later!(linker, entry, |caller, fd: i32, out: i32| {
            on_file!(caller, fd, |context, memory| files::fd_prestat_get(context, memory, fd, out))
        }),
        Call::FdPrestatDirName => later!(linker, entry, |caller, fd: i32, path: i32, length: i32| {
            on_file!(caller, fd, |context, memory| files::fd_prestat_dir_name(context, memory, fd, path, length))
        }),
        Call::FdAllocate => later!(linker, entry, |caller, fd: i32, offset: i64, length: i64| {
            on_file!(caller, fd, |context, memory| files::fd_allocate(context, memory, fd, offset, length))
        }),
        Call::FdFdstatSetRights => later!(linker, entry, |caller, fd: i32, base: i64, inheriting: i64| {
            on_file!(caller, fd, |context, memory| files::fd_fdstat_set_rights(context, memory, fd, base, inheriting))
        }),
        Call::FdTell => later!(linker, entry, |caller, fd: i32, out: i32| {
            on_file!(caller, fd, |context, memory| files::fd_tell(context, memory, fd, out))
        }),
        Call::FdAdvise => file!(linker, entry, fd_advise(fd, offset: i64, length: i64, advice: i32)),
        Call::FdDatasync => file!(linker, entry, fd_datasync(fd)),
        Call::FdFilestatSetSize => file!(linker, entry, fd_filestat_set_size(fd, size: i64)),
        Call::FdFilestatSetTimes => file!(linker, entry, fd_filestat_set_times(fd, atime: i64, mtime: i64, flags: i32)),
        Call::FdPread => file!(linker, entry, fd_pread(fd, iovecs: i32, count: i32, offset: i64, out: i32)),
        Call::FdPwrite => file!(linker, entry, fd_pwrite(fd, iovecs: i32, count: i32, offset: i64, out: i32)),
        Call::FdReaddir => file!(linker, entry, fd_readdir(fd, buffer: i32, length: i32, cookie: i64, out: i32)),
        Call::FdSeek => file!(linker, entry, fd_seek(fd, offset: i64, whence: i32, out: i32)),
        Call::FdSync => file!(linker, entry, fd_sync(fd)),
        Call::PathCreateDirectory => file!(linker, entry, path_create_directory(fd, path: i32, length: i32)),
        Call::PathFilestatGet => {
            file!(linker, entry, path_filestat_get(fd, flags: i32, path: i32, length: i32, out: i32))
        }
        Call::PathFilestatSetTimes => {
            file!(linker, entry, path_filestat_set_times(fd, flags: i32, path: i32, length: i32, atime: i64, mtime: i64, fst_flags: i32))
        }
        Call::PathLink => {
            file!(linker, entry, path_link(fd, flags: i32, path: i32, length: i32, new_fd: i32, new_path: i32, new_length: i32))
        }
        Call::PathOpen => later!(linker, entry, |caller,
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
        Call::PathReadlink => {
            file!(linker, entry, path_readlink(fd, path: i32, length: i32, buffer: i32, buffer_length: i32, out: i32))
        }
        Call::PathRemoveDirectory => file!(linker, entry, path_remove_directory(fd, path: i32, length: i32)),
        Call::PathRename => {
            file!(linker, entry, path_rename(fd, path: i32, length: i32, new_fd: i32, new_path: i32, new_length: i32))
        }
        // The descriptor is the third argument here.
        Call::PathSymlink => {
            later!(linker, entry, |caller, path: i32, length: i32, fd: i32, new_path: i32, new_length: i32| {
                on_file!(caller, fd, |context, memory| {
                    files::path_symlink(context, memory, path, length, fd, new_path, new_length).await
                })
            })
        }
        Call::PathUnlinkFile => file!(linker, entry, path_unlink_file(fd, path: i32, length: i32)),
        Call::PollOneoff => later!(linker, entry, |caller, input: i32, output: i32, count: i32, out: i32| {
            poll_oneoff(&mut caller, input, output, count, out).await
        }),
        Call::SockOpen => now!(linker, entry, |memory, host, family: i32, kind: i32, out: i32| {
            // Both are 8 bits wide in the interface.
            let family = match family.to_le_bytes()[0] {
                FAMILY_INET4 => SocketFamily::Inet4,
                FAMILY_INET6 => SocketFamily::Inet6,
                _ => return Err(Errno::Inval),
            };
            match kind.to_le_bytes()[0] {
                TYPE_STREAM => {}
                TYPE_DGRAM => return Err(Errno::ProtoNoSupport),
                _ => return Err(Errno::Inval),
            }
            memory.range(out, 4)?;
            memory.write_u32(out, host.sockets.open(family)?.cast_unsigned())
        }),
        Call::SockBind => now!(linker, entry, |memory, host, fd: i32, address: i32, port: i32| {
            let address = address::read(&memory, address, port)?;
            host.sockets.bind(fd, address)
        }),
        Call::SockListen => now!(linker, entry, |memory, host, fd: i32, backlog: i32| host.sockets.listen(fd, backlog)),
        Call::SockAcceptV1 => later!(linker, entry, |caller, fd: i32, out: i32| accept(&mut caller, fd, 0, out).await),
        Call::SockAcceptV2 => {
            later!(linker, entry, |caller, fd: i32, flags: i32, out: i32| accept(&mut caller, fd, flags, out).await)
        }
        Call::SockConnect => later!(linker, entry, |caller, fd: i32, address: i32, port: i32| {
            let (memory, host) = parts(&mut caller)?;
            let result = match address::read(&memory, address, port) {
                Ok(address) => host.sockets.connect(fd, address).await,
                Err(errno) => Err(errno),
            };
            finish(result.map_err(Failure::from))
        }),
        Call::SockRecv => {
            later!(linker, entry, |caller, fd: i32, iovecs: i32, count: i32, flags: i32, out: i32, flags_out: i32| {
                if flags & !(RIFLAG_PEEK | RIFLAG_WAITALL) != 0 {
                    return Ok(Errno::Inval.code());
                }
                receive(&mut caller, fd, (iovecs, count), flags, (out, Some(flags_out))).await
            })
        }
        Call::SockSend => later!(linker, entry, |caller, fd: i32, iovecs: i32, count: i32, flags: i32, out: i32| {
            if flags != 0 {
                return Ok(Errno::Inval.code());
            }
            send(&mut caller, fd, iovecs, count, out).await
        }),
        Call::SockShutdown => now!(linker, entry, |memory, host, fd: i32, how: i32| {
            if how & !(SDFLAG_RD | SDFLAG_WR) != 0 {
                return Err(Errno::Inval);
            }
            host.sockets.shutdown(fd, how & SDFLAG_RD != 0 || how == 0, how & SDFLAG_WR != 0)
        }),
        Call::SockGetlocaladdrV1 => now!(linker, entry, |memory, host, fd: i32, address: i32, kind: i32, port: i32| {
            write_address(&mut memory, Dialect::V1, (address, kind, port), host.sockets.local_address(fd)?)
        }),
        Call::SockGetlocaladdrV2 => now!(linker, entry, |memory, host, fd: i32, address: i32, port: i32| {
            write_address(&mut memory, Dialect::V2, (address, 0, port), host.sockets.local_address(fd)?)
        }),
        Call::SockGetpeeraddrV1 => now!(linker, entry, |memory, host, fd: i32, address: i32, kind: i32, port: i32| {
            write_address(&mut memory, Dialect::V1, (address, kind, port), host.sockets.peer_address(fd)?)
        }),
        Call::SockGetpeeraddrV2 => now!(linker, entry, |memory, host, fd: i32, address: i32, port: i32| {
            write_address(&mut memory, Dialect::V2, (address, 0, port), host.sockets.peer_address(fd)?)
        }),
        Call::SockGetsockopt => {
            now!(linker, entry, |memory, host, fd: i32, level: i32, name: i32, value: i32, length: i32| {
                if level != SOL_SOCKET {
                    return Err(Errno::Inval);
                }
                write_option(&mut memory, host.sockets.option(fd, name)?, value, length)
            })
        }
        Call::SockSetsockopt => {
            now!(linker, entry, |memory, host, fd: i32, level: i32, name: i32, value: i32, length: i32| {
                if level != SOL_SOCKET || !(option::REUSE_ADDRESS..=option::LAST).contains(&name) {
                    return Err(Errno::Inval);
                }
                host.sockets.set_option(fd, name, memory.read(value, length.cast_unsigned())?)
            })
        }
        Call::SockGetaddrinfo => {
            later!(linker, entry, |caller,
                                   node: i32,
                                   node_length: i32,
                                   service: i32,
                                   service_length: i32,
                                   hints: i32,
                                   result: i32,
                                   max_len: i32,
                                   result_len: i32| {
                let arguments = addrinfo::Arguments {
                    node: (node, node_length),
                    service: (service, service_length),
                    hints,
                    result,
                    max_len,
                    result_len,
                };
                finish(getaddrinfo(&mut caller, arguments).await?.map_err(Failure::from))
            })
        }
        Call::PluginSendData => linker.func_wrap_async(
            entry.module,
            entry.name,
            |mut caller: Caller<'_, T>, (host, host_length, port, body, body_length): (i32, i32, i32, i32, i32)| {
                Box::new(async move { send_data(&mut caller, (host, host_length), port, (body, body_length)).await })
            },
        ),
        Call::PluginGetRcvLen => {
            linker.func_wrap(entry.module, entry.name, |mut caller: Caller<'_, T>| -> Result<i32> {
                let length = caller.data_mut().host().plugin.answer().len();
                Ok(i32::try_from(length)?)
            })
        }
        Call::PluginGetRcv => {
            linker.func_wrap(entry.module, entry.name, |mut caller: Caller<'_, T>, out: i32| -> Result<()> {
                let (mut memory, host) = parts(&mut caller)?;
                match memory.write(out, host.plugin.answer()) {
                    Ok(()) => Ok(()),
                    Err(_) => bail!("the guest's buffer for the HTTPS answer is out of bounds"),
                }
            })
        }
    }?;
    Ok(())
}

/// Fills in pieces, and lets others run in between: a guest may ask for gigabytes.
async fn random_get<T: HostView>(caller: &mut Caller<'_, T>, pointer: i32, length: i32) -> Result<i32> {
    const PIECE: usize = 64 * 1024;
    let (mut memory, host) = parts(caller)?;
    let result = async {
        let range = memory.range(pointer, length.cast_unsigned())?;
        for (index, piece) in memory.bytes_mut(range).chunks_mut(PIECE).enumerate() {
            if index > 0 {
                tokio::task::yield_now().await;
            }
            host.wasi.random.fill(piece)?;
        }
        Ok(())
    };
    finish(result.await)
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

/// `sock_recv` and `fd_read`; only the former has flags, and a place to store result flags.
async fn receive<T: HostView>(
    caller: &mut Caller<'_, T>,
    fd: i32,
    (iovecs, count): (i32, i32),
    flags: i32,
    (out, flags_out): (i32, Option<i32>),
) -> Result<i32> {
    let (mut memory, host) = parts(caller)?;
    let result = async {
        let ranges = memory.iovecs(iovecs, count)?;
        memory.range(out, 4)?;
        if let Some(flags_out) = flags_out {
            memory.write(flags_out, &[0, 0])?;
        }
        let received = receive_into(host, fd, &mut memory, &ranges, flags).await?;
        Ok::<(), Failure>(memory.write_u32(out, u32::try_from(received).map_err(|_| Errno::Fault)?)?)
    };
    finish(result.await)
}

async fn receive_into(
    host: &mut Host,
    fd: i32,
    memory: &mut GuestMemory<'_>,
    ranges: &[GuestRange],
    flags: i32,
) -> Result<usize, Failure> {
    let wait = !host.sockets.is_nonblocking(fd)?;
    let (peek, wait_all) = (flags & RIFLAG_PEEK != 0, flags & RIFLAG_WAITALL != 0);
    let total: usize = ranges.iter().map(|range| range.len()).sum();
    let mut received = 0;
    loop {
        match scatter(host, fd, memory, ranges, received, peek) {
            Ok(0) => return Ok(received),
            Ok(length) => {
                received += length;
                if peek || !wait_all || received == total {
                    return Ok(received);
                }
            }
            Err(Errno::Again) if wait => host.sockets.receivable(fd).await?,
            // What has been taken must reach the guest; the error comes again.
            Err(_) if received > 0 => return Ok(received),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Takes what is there into `ranges`, from byte `skip` of them on, up to the first short read.
fn scatter(
    host: &mut Host,
    fd: i32,
    memory: &mut GuestMemory<'_>,
    ranges: &[GuestRange],
    mut skip: usize,
    peek: bool,
) -> Result<usize, Errno> {
    let mut received = 0;
    for range in ranges {
        let bytes = memory.bytes_mut(*range);
        let used = skip.min(bytes.len());
        skip -= used;
        let bytes = &mut bytes[used..];
        if bytes.is_empty() {
            continue;
        }
        match host.sockets.try_receive(fd, bytes, peek) {
            Ok(length) => {
                received += length;
                // Peeking again would see the same bytes.
                if length < bytes.len() || peek {
                    break;
                }
            }
            Err(_) if received > 0 => break,
            Err(errno) => return Err(errno),
        }
    }
    Ok(received)
}

/// `sock_send` and `fd_write`. A blocking socket takes everything, as Linux does: public guests write once, without a
/// loop.
async fn send<T: HostView>(caller: &mut Caller<'_, T>, fd: i32, iovecs: i32, count: i32, out: i32) -> Result<i32> {
    let (mut memory, host) = parts(caller)?;
    let result = async {
        let ranges = memory.iovecs(iovecs, count)?;
        memory.range(out, 4)?;
        let wait = !host.sockets.is_nonblocking(fd)?;
        let mut sent = 0u32;
        'all: for range in ranges {
            let mut bytes = memory.bytes(range);
            while !bytes.is_empty() {
                match host.sockets.try_send(fd, bytes) {
                    Ok(length) => {
                        bytes = &bytes[length..];
                        sent = sent.saturating_add(u32::try_from(length).map_err(|_| Errno::Fault)?);
                    }
                    Err(Errno::Again) if wait => host.sockets.sendable(fd).await?,
                    Err(_) if sent > 0 => break 'all,
                    Err(errno) => return Err(errno.into()),
                }
            }
        }
        Ok::<(), Failure>(memory.write_u32(out, sent)?)
    };
    finish(result.await)
}

async fn accept<T: HostView>(caller: &mut Caller<'_, T>, fd: i32, flags: i32, out: i32) -> Result<i32> {
    let (mut memory, host) = parts(caller)?;
    let result = async {
        memory.range(out, 4)?;
        let accepted = host.sockets.accept(fd, flags & i32::from(FDFLAG_NONBLOCK) != 0).await?;
        Ok::<(), Failure>(memory.write_u32(out, accepted.cast_unsigned())?)
    };
    finish(result.await)
}

async fn poll_oneoff<T: HostView>(
    caller: &mut Caller<'_, T>,
    input: i32,
    output: i32,
    count: i32,
    out: i32,
) -> Result<i32> {
    let (mut memory, host) = parts(caller)?;
    let result = async {
        let subscriptions = poll::read_subscriptions(&memory, input, count)?;
        poll::check_events(&memory, output, count)?;
        memory.range(out, 4)?;
        let events = crate::poll::poll(host, &subscriptions).await?;
        poll::write_events(&mut memory, output, &events)?;
        Ok::<(), Failure>(memory.write_u32(out, u32::try_from(events.len()).map_err(|_| Errno::Fault)?)?)
    };
    finish(result.await)
}

async fn getaddrinfo<T: HostView>(
    caller: &mut Caller<'_, T>,
    arguments: addrinfo::Arguments,
) -> Result<Result<(), Errno>> {
    let (mut memory, host) = parts(caller)?;
    let result = async {
        let question = addrinfo::read(&memory, arguments)?;
        let port = question.port()?;
        let addresses = match &question.node {
            Some(node) => host.sockets.lookup(node).await?,
            None => vec![std::net::Ipv4Addr::LOCALHOST],
        };
        addrinfo::write(&mut memory, arguments, &question, &addresses, port)
    };
    Ok(result.await)
}

async fn send_data<T: HostView>(
    caller: &mut Caller<'_, T>,
    (name, name_length): (i32, i32),
    port: i32,
    (body, body_length): (i32, i32),
) -> Result<()> {
    let (memory, host) = parts(caller)?;
    let bytes = |pointer, length: i32| match memory.read(pointer, length.cast_unsigned()) {
        Ok(bytes) => Ok(bytes.to_vec()),
        Err(_) => bail!("the guest's HTTPS request is out of bounds"),
    };
    let name = String::from_utf8_lossy(&bytes(name, name_length)?).trim_end_matches('\0').to_owned();
    let request = bytes(body, body_length)?;
    let answer = plugin::send(&host.outbound(), &name, u16::try_from(port)?, &request).await?;
    host.plugin.store(answer);
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
    on_file!(caller, fd, |context, memory| {
        let errno =
            files::path_open(context, memory, fd, dirflags, path, length, oflags, base, inheriting, fdflags, out)
                .await?;
        if errno == 0 {
            let opened = memory.read(wiggle::GuestPtr::<u32>::new(out.cast_unsigned()))?.cast_signed();
            if opened >= FIRST_SOCKET {
                files::fd_close(context, memory, opened).await?;
                return Ok(Errno::MFile.code());
            }
        }
        Ok(errno)
    })
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

fn write_address(
    memory: &mut GuestMemory<'_>,
    dialect: Dialect,
    (address, kind, port): (i32, i32, i32),
    found: std::net::SocketAddr,
) -> Result<(), Errno> {
    match dialect {
        Dialect::V1 => address::write_v1(memory, address, kind, port, found),
        Dialect::V2 => address::write_v2(memory, address, port, found),
    }
}

/// Stores as much of the value as the guest has room for, and how much that was.
fn write_option(
    memory: &mut GuestMemory<'_>,
    value: OptionValue,
    pointer: i32,
    length_pointer: i32,
) -> Result<(), Errno> {
    let bytes = match value {
        OptionValue::Int(value) => value.to_le_bytes().to_vec(),
        OptionValue::Timeout(timeout) => {
            let timeout = timeout.unwrap_or_default();
            let mut bytes = timeout.as_secs().to_le_bytes().to_vec();
            bytes.extend(u64::from(timeout.subsec_micros()).to_le_bytes());
            bytes
        }
        OptionValue::Bytes(bytes) => bytes,
    };
    let room = memory.u32(length_pointer)? as usize;
    let stored = &bytes[..bytes.len().min(room)];
    memory.write(pointer, stored)?;
    memory.write_u32(length_pointer, u32::try_from(stored.len()).map_err(|_| Errno::Fault)?)
}
