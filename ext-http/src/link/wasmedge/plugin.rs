//! WasmEdge's HTTP plugin.

use wasmedge_sdk::{
    CallingFrame, WasmValue,
    error::{CoreError, CoreExecutionError},
};

use super::{
    memory::with_memory,
    modules::{CallError, Calls, HostFunction, Shared, numbers},
};
use crate::{
    PluginError,
    abi::{
        memory::GuestMemory,
        plugin::{Cut, Order, answer_length, write_answer},
    },
    imports::PluginCall,
    plugin,
};

/// The function of a call.
pub(super) fn function(call: PluginCall) -> HostFunction {
    macro_rules! of {
        ($($call:ident)*) => {
            match call {
                $(PluginCall::$call => |calls, _, frame, arguments| answer(PluginCall::$call, calls, frame, &arguments),)*
            }
        };
    }
    of!(SendData SendDataUntilNul GetRcvLen GetRcv)
}

fn answer(
    call: PluginCall,
    calls: &Shared,
    frame: &CallingFrame,
    arguments: &[WasmValue],
) -> Result<Vec<WasmValue>, CoreError> {
    let calls = &mut *calls.borrow_mut();
    let result = with_memory(frame, |memory| attempt(call, memory, calls, arguments));
    match result {
        Some(Ok(values)) => Ok(values),
        Some(Err(error)) => Err(trap(calls, error.into())),
        None => Err(trap(calls, CallError::NoMemory)),
    }
}

fn attempt(
    call: PluginCall,
    memory: &mut GuestMemory<'_>,
    calls: &mut Calls,
    arguments: &[WasmValue],
) -> Result<Vec<WasmValue>, PluginError> {
    match call {
        PluginCall::SendData => send(calls, Order::read(memory, numbers(arguments), Cut::No)?),
        PluginCall::SendDataUntilNul => send(calls, Order::read(memory, numbers(arguments), Cut::AtNul)?),
        PluginCall::GetRcvLen => Ok(vec![WasmValue::from_i32(answer_length(&calls.plugin))]),
        PluginCall::GetRcv => {
            let [out] = numbers(arguments);
            write_answer(memory, out, &mut calls.plugin)?;
            Ok(Vec::new())
        }
    }
}

fn send(calls: &mut Calls, order: Order<'_>) -> Result<Vec<WasmValue>, PluginError> {
    let request = plugin::send((&calls.outbound, &calls.usage), &order.host, order.port, order.request);
    let answer = calls.runtime.block_on(request)?;
    calls.plugin.store(answer);
    Ok(Vec::new())
}

/// Keeps the reason, and stops the guest.
pub(super) fn trap(calls: &mut Calls, reason: CallError) -> CoreError {
    calls.failure = Some(reason);
    CoreError::Execution(CoreExecutionError::HostFuncFailed)
}
