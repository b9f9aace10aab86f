//! WasmEdge's TLS codec: the result is a number, and below zero an error.

use wasmtime::{Caller, Linker, Result};

use super::parts;
use crate::{
    abi::{self, errno::Errno, memory::GuestMemory},
    codec::{CodecError, Codecs, DEFAULT_CONFIG},
    host::HostView,
    imports::{CodecCall, Entry},
};

const WANTS_READ: i32 = 1;
const WANTS_WRITE: i32 = 2;

/// Every pointer of the guest that is out of bounds is an invalid parameter here.
impl From<Errno> for CodecError {
    fn from(_: Errno) -> Self {
        Self::Parameter
    }
}

/// Calls the meaning, and encodes its failure.
fn answer<T: HostView>(
    mut caller: Caller<'_, T>,
    call: impl FnOnce(&mut GuestMemory<'_>, &mut Codecs) -> Result<i32, CodecError>,
) -> Result<i32> {
    let (mut memory, host) = parts(&mut caller)?;
    Ok(call(&mut memory, &mut host.codecs).unwrap_or_else(|error| abi::codec::code(&error)))
}

/// Buffers hold a few times 64 KiB at most, so that every length fits.
fn length(length: usize) -> Result<i32, CodecError> {
    i32::try_from(length).map_err(|_| CodecError::Parameter)
}

/// Defines a call of the codec: `|memory, codecs, arguments| -> Result<i32, CodecError>`.
macro_rules! codec {
    ($linker:ident, $entry:ident, |$memory:pat_param, $codecs:pat_param $(, $arg:ident: $ty:ty)*| $body:expr) => {
        $linker.func_wrap($entry.module, $entry.name, move |mut caller: Caller<'_, T> $(, $arg: $ty)*| -> Result<i32> {
            announce!(caller, $entry $(, $arg)*);
            answer(caller, |$memory, $codecs| $body)
        })
    };
}

pub(super) fn define<T: HostView>(linker: &mut Linker<T>, entry: &'static Entry, call: CodecCall) -> Result<()> {
    match call {
        CodecCall::DefaultConfig => {
            linker.func_wrap(entry.module, entry.name, move |mut caller: Caller<'_, T>| -> Result<i32> {
                announce!(caller, entry);
                Ok(DEFAULT_CONFIG)
            })
        }
        CodecCall::NewCodec => codec!(linker, entry, |memory, codecs, config: i32, server: i32, size: i32| {
            codecs.open(config, memory.read(server, size.cast_unsigned())?)
        }),
        CodecCall::IsHandshaking => {
            codec!(linker, entry, |_, codecs, id: i32| codecs.is_handshaking(id).map(i32::from))
        }
        CodecCall::Wants => codec!(linker, entry, |_, codecs, id: i32| {
            let (read, write) = codecs.wants(id)?;
            Ok(i32::from(read) * WANTS_READ + i32::from(write) * WANTS_WRITE)
        }),
        CodecCall::DeleteCodec => codec!(linker, entry, |_, codecs, id: i32| {
            codecs.close(id);
            Ok(0)
        }),
        CodecCall::SendCloseNotify => {
            codec!(linker, entry, |_, codecs, id: i32| codecs.send_close_notify(id).map(|()| 0))
        }
        CodecCall::ProcessNewPackets => codec!(linker, entry, |memory, codecs, id: i32, out: i32| {
            let state = codecs.process(id)?;
            memory.write(out, &abi::codec::state(state))?;
            Ok(0)
        }),
        CodecCall::WriteRaw => codec!(linker, entry, |memory, codecs, id: i32, from: i32, size: i32| {
            length(codecs.write_plaintext(id, memory.read(from, size.cast_unsigned())?)?)
        }),
        CodecCall::WriteTls => codec!(linker, entry, |memory, codecs, id: i32, into: i32, size: i32| {
            let range = memory.range(into, size.cast_unsigned())?;
            length(codecs.write_tls(id, memory.bytes_mut(range))?)
        }),
        CodecCall::ReadRaw => codec!(linker, entry, |memory, codecs, id: i32, into: i32, size: i32| {
            let range = memory.range(into, size.cast_unsigned())?;
            length(codecs.read_plaintext(id, memory.bytes_mut(range))?)
        }),
        CodecCall::ReadTls => codec!(linker, entry, |memory, codecs, id: i32, from: i32, size: i32| {
            length(codecs.read_tls(id, memory.read(from, size.cast_unsigned())?)?)
        }),
    }?;
    Ok(())
}
