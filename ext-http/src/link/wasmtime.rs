//! Host functions on Wasmtime: decode, call the meaning, encode.
//!
//! Each group of calls has a file of its own; here is what they share.

use prewasm_artifact::{Family, Import, ValueType};
use wasmtime::{Caller, Engine, Extern, Linker, Module, Result, Store, Val, ValType, WasmBacktrace, bail};

use crate::{
    abi::{errno::Errno, memory::GuestMemory},
    host::{Host, HostView},
    imports::{Call, Entry, TABLE, resolve},
    sockets::{FIRST_SOCKET, Failure},
    upcoming::Upcoming,
    wasi::files::FIRST_FILE,
};

/// Tells who watches the guest of a call, before it has any effect. Nothing is done for a guest that nobody watches.
macro_rules! announce {
    ($caller:expr, $entry:ident $(, $arg:expr)*) => {
        if T::WATCHES {
            $crate::link::wasmtime::announce(&mut $caller, $entry, &[$(wasmtime::Val::from($arg)),*])?;
        }
    };
}

/// Defines a call that never waits: `|memory, host, arguments| -> Result<(), Errno>`.
macro_rules! now {
    ($linker:ident, $entry:ident, |$memory:ident, $host:ident $(, $arg:ident: $ty:ty)*| $body:expr) => {
        $linker.func_wrap($entry.module, &$entry.link_name(), move |mut caller: wasmtime::Caller<'_, T> $(, $arg: $ty)*| -> wasmtime::Result<i32> {
            announce!(caller, $entry $(, $arg)*);
            #[allow(unused_mut, reason = "not every call writes to memory")]
            let (mut $memory, $host) = $crate::link::wasmtime::parts(&mut caller)?;
            let _ = &$memory;
            let result = $crate::link::wasmtime::attempt(|| $body);
            $crate::link::wasmtime::finish(result.map_err($crate::sockets::Failure::from))
        })
    };
}

/// Defines a call that may wait: `|caller, arguments| -> wasmtime::Result<i32>`, as an async block.
macro_rules! later {
    ($linker:ident, $entry:ident, |$caller:ident $(, $arg:ident: $ty:ty)*| $body:expr) => {
        $linker.func_wrap_async($entry.module, &$entry.link_name(), move |mut $caller: wasmtime::Caller<'_, T>, ($($arg,)*): ($($ty,)*)| {
            Box::new(async move {
                announce!($caller, $entry $(, $arg)*);
                $body
            })
        })
    };
}

/// Evaluates a call of wasmtime-wasi with its context, or yields the errno for a descriptor that is no file. Calls
/// which tell about the host's file system ask for the guest's bytes and for what replaces the host's part.
macro_rules! on_file {
    ($caller:ident, $fd:expr, |$context:ident, $memory:ident| $call:expr) => {
        on_file!($caller, $fd, |$context, bytes, _reproducible| {
            let $memory = &mut wiggle::GuestMemory::Unshared(bytes);
            $call
        })
    };
    ($caller:ident, $fd:expr, |$context:ident, $bytes:ident, $reproducible:ident| $call:expr) => {{
        let Some(wasmtime::Extern::Memory(memory)) = $caller.get_export("memory") else {
            wasmtime::bail!("the guest exports no memory named `memory`, which every WASI call needs");
        };
        // What a call may copy out of the guest; wasmtime's own default per store.
        let fuel = wasmtime::AsContextMut::as_context_mut(&mut $caller).hostcall_fuel();
        let ($bytes, data) = memory.data_and_store_mut(&mut $caller);
        let host = data.host();
        if let Err(errno) = $crate::link::wasmtime::may_be_file(host, $fd) {
            return Ok(errno.code());
        }
        let Some(($context, $reproducible)) = host.wasi.files.parts()? else {
            return Ok($crate::abi::errno::Errno::BadF.code());
        };
        $context.set_hostcall_fuel(fuel);
        $call
    }};
}

/// Defines a call on a file: wasmtime-wasi's, if the descriptor (the first argument) can be one.
macro_rules! file {
    ($linker:ident, $entry:ident, $function:ident($fd:ident $(, $arg:ident: $ty:ty)*)) => {
        $linker.func_wrap_async($entry.module, &$entry.link_name(), move |mut caller: wasmtime::Caller<'_, T>, ($fd, $($arg,)*): (i32, $($ty,)*)| {
            Box::new(async move {
                announce!(caller, $entry, $fd $(, $arg)*);
                on_file!(caller, $fd, |context, memory| wasmtime_wasi::p1::wasi_snapshot_preview1::$function(context, memory, $fd $(, $arg)*).await)
            })
        })
    };
}

// After the macros, which only later text can see.
mod codec;
mod descriptors;
mod files;
mod marker;
mod plugin;
mod sockets;
mod start;
mod transfer;
mod wasi;

pub use start::start_function;

/// The guest waits for a connection and none will come: it has served everything. Not a failure.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the guest waits for a connection, and none will come")]
pub struct ServedOut;

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

/// Prepares for an instance whose end is nothing out of the ordinary: Wasmtime will not walk its stack then.
///
/// Every socket server and many commands end by an error of ours ([`ServedOut`], `proc_exit`). Wasmtime captures a
/// backtrace for an error which has none; it is given one of now, when there is no wasm on the stack.
pub fn end_without_backtrace<T: HostView>(store: &mut Store<T>) {
    let empty = WasmBacktrace::capture(&*store);
    store.data_mut().host().set_backtrace(empty);
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

/// Tells who watches the guest of a call.
fn announce<T: HostView>(caller: &mut Caller<'_, T>, entry: &'static Entry, arguments: &[Val]) -> Result<()> {
    T::before(caller, &Upcoming::new(entry, arguments))
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

/// [`finish`] for the calls in which a guest is stopped when it has served out; without a result, it waits once more.
fn finish_waiting<T: HostView>(caller: &mut Caller<'_, T>, result: Result<(), Failure>) -> Result<Option<i32>> {
    match result {
        Err(Failure::ServedOut) => T::served_out(caller).map(|()| None),
        result => finish(result).map(Some),
    }
}

/// Gives `?` in the body of a [`now`] call something to return from.
fn attempt(body: impl FnOnce() -> Result<(), Errno>) -> Result<(), Errno> {
    body()
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

fn define<T: HostView>(linker: &mut Linker<T>, entry: &'static Entry) -> Result<()> {
    match entry.call {
        Call::Wasi(call) => wasi::define(linker, entry, call),
        Call::Descriptor(call) => descriptors::define(linker, entry, call),
        Call::File(call) => files::define(linker, entry, call),
        Call::Socket(call) => sockets::define(linker, entry, call),
        Call::Plugin(call) => plugin::define(linker, entry, call),
        Call::Codec(call) => codec::define(linker, entry, call),
        Call::Marker => marker::define(linker, entry),
    }
}
