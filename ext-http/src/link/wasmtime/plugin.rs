//! WasmEdge's HTTP plugin.

use wasmtime::{Caller, Linker, Result};

use super::parts;
use crate::{
    abi::plugin::{Cut, Order, answer_length, write_answer},
    host::HostView,
    imports::{Entry, PluginCall},
    plugin,
};

pub(super) fn define<T: HostView>(linker: &mut Linker<T>, entry: &'static Entry, call: PluginCall) -> Result<()> {
    match call {
        PluginCall::SendData => define_send(linker, entry, Cut::No),
        PluginCall::SendDataUntilNul => define_send(linker, entry, Cut::AtNul),
        PluginCall::GetRcvLen => {
            linker.func_wrap(entry.module, entry.name, move |mut caller: Caller<'_, T>| -> Result<i32> {
                announce!(caller, entry);
                Ok(answer_length(&caller.data_mut().host().plugin))
            })?;
            Ok(())
        }
        PluginCall::GetRcv => {
            linker.func_wrap(entry.module, entry.name, move |mut caller: Caller<'_, T>, out: i32| -> Result<()> {
                announce!(caller, entry, out);
                let (mut memory, host) = parts(&mut caller)?;
                Ok(write_answer(&mut memory, out, &mut host.plugin)?)
            })?;
            Ok(())
        }
    }
}

fn define_send<T: HostView>(linker: &mut Linker<T>, entry: &'static Entry, cut: Cut) -> Result<()> {
    linker.func_wrap_async(
        entry.module,
        entry.name,
        move |mut caller: Caller<'_, T>, (host, host_length, port, request, length): (i32, i32, i32, i32, i32)| {
            Box::new(async move {
                announce!(caller, entry, host, host_length, port, request, length);
                send(&mut caller, [host, host_length, port, request, length], cut).await
            })
        },
    )?;
    Ok(())
}

async fn send<T: HostView>(caller: &mut Caller<'_, T>, arguments: [i32; 5], cut: Cut) -> Result<()> {
    let (memory, host) = parts(caller)?;
    let order = Order::read(&memory, arguments, cut)?;
    let answer = plugin::send((&host.outbound(), host.usage()), &order.host, order.port, order.request).await?;
    host.plugin.store(answer);
    Ok(())
}
