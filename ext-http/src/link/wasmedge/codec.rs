//! WasmEdge's TLS codec.

use wasmedge_sdk::{CallingFrame, WasmValue, error::CoreError};

use super::{
    memory::with_memory,
    modules::{CallError, HostFunction, Shared, numbers},
    plugin::trap,
};
use crate::{abi, imports::CodecCall};

/// The function of a call.
pub(super) fn function(call: CodecCall) -> HostFunction {
    macro_rules! of {
        ($($call:ident)*) => {
            match call {
                $(CodecCall::$call => |calls, _, frame, arguments| answer(CodecCall::$call, calls, frame, &arguments),)*
            }
        };
    }
    of!(DefaultConfig NewCodec IsHandshaking Wants DeleteCodec SendCloseNotify ProcessNewPackets WriteRaw WriteTls ReadRaw ReadTls)
}

fn answer(
    call: CodecCall,
    calls: &Shared,
    frame: &CallingFrame,
    arguments: &[WasmValue],
) -> Result<Vec<WasmValue>, CoreError> {
    let calls = &mut *calls.borrow_mut();
    let codecs = &mut calls.codecs;
    match with_memory(frame, |memory| abi::codec::call(call, memory, codecs, numbers(arguments))) {
        Some(number) => Ok(vec![WasmValue::from_i32(number)]),
        None => Err(trap(calls, CallError::NoMemory)),
    }
}
