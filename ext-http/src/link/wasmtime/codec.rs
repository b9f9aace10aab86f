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

pub(super) fn define<T: HostView>(linker: &mut Linker<T>, entry: &'static Entry, call: CodecCall) -> Result<()> {
    let (module, name) = (entry.module, entry.name);
    match call {
        CodecCall::DefaultConfig => linker.func_wrap(module, name, || DEFAULT_CONFIG),
        CodecCall::NewCodec => {
            linker.func_wrap(module, name, |caller: Caller<'_, T>, config: i32, server: i32, size: i32| {
                answer(caller, |memory, codecs| codecs.open(config, memory.read(server, size.cast_unsigned())?))
            })
        }
        CodecCall::IsHandshaking => linker.func_wrap(module, name, |caller: Caller<'_, T>, id: i32| {
            answer(caller, |_, codecs| codecs.is_handshaking(id).map(i32::from))
        }),
        CodecCall::Wants => linker.func_wrap(module, name, |caller: Caller<'_, T>, id: i32| {
            answer(caller, |_, codecs| {
                let (read, write) = codecs.wants(id)?;
                Ok(i32::from(read) * WANTS_READ + i32::from(write) * WANTS_WRITE)
            })
        }),
        CodecCall::DeleteCodec => linker.func_wrap(module, name, |caller: Caller<'_, T>, id: i32| {
            answer(caller, |_, codecs| {
                codecs.close(id);
                Ok(0)
            })
        }),
        CodecCall::SendCloseNotify => linker.func_wrap(module, name, |caller: Caller<'_, T>, id: i32| {
            answer(caller, |_, codecs| codecs.send_close_notify(id).map(|()| 0))
        }),
        CodecCall::ProcessNewPackets => linker.func_wrap(module, name, |caller: Caller<'_, T>, id: i32, out: i32| {
            answer(caller, |memory, codecs| {
                let state = codecs.process(id)?;
                memory.write(out, &abi::codec::state(state))?;
                Ok(0)
            })
        }),
        CodecCall::WriteRaw => {
            linker.func_wrap(module, name, |caller: Caller<'_, T>, id: i32, from: i32, size: i32| {
                answer(caller, |memory, codecs| {
                    length(codecs.write_plaintext(id, memory.read(from, size.cast_unsigned())?)?)
                })
            })
        }
        CodecCall::WriteTls => {
            linker.func_wrap(module, name, |caller: Caller<'_, T>, id: i32, into: i32, size: i32| {
                answer(caller, |memory, codecs| {
                    let range = memory.range(into, size.cast_unsigned())?;
                    length(codecs.write_tls(id, memory.bytes_mut(range))?)
                })
            })
        }
        CodecCall::ReadRaw => linker.func_wrap(module, name, |caller: Caller<'_, T>, id: i32, into: i32, size: i32| {
            answer(caller, |memory, codecs| {
                let range = memory.range(into, size.cast_unsigned())?;
                length(codecs.read_plaintext(id, memory.bytes_mut(range))?)
            })
        }),
        CodecCall::ReadTls => linker.func_wrap(module, name, |caller: Caller<'_, T>, id: i32, from: i32, size: i32| {
            answer(caller, |memory, codecs| length(codecs.read_tls(id, memory.read(from, size.cast_unsigned())?)?))
        }),
    }?;
    Ok(())
}
