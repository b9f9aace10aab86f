//! WasmEdge's HTTP plugin.

use wasmtime::{Caller, Linker, Result, bail};

use super::parts;
use crate::{
    host::HostView,
    imports::{Entry, PluginCall},
    plugin,
};

pub(super) fn define<T: HostView>(linker: &mut Linker<T>, entry: &'static Entry, call: PluginCall) -> Result<()> {
    match call {
        PluginCall::SendData => {
            later!(linker, entry, |caller, host: i32, host_length: i32, port: i32, body: i32, body_length: i32| {
                send_data(&mut caller, (host, host_length), port, (body, body_length), Cut::No).await
            })
        }
        PluginCall::SendDataUntilNul => {
            later!(linker, entry, |caller, host: i32, host_length: i32, port: i32, body: i32, body_length: i32| {
                send_data(&mut caller, (host, host_length), port, (body, body_length), Cut::AtNul).await
            })
        }
        PluginCall::GetRcvLen => {
            linker.func_wrap(entry.module, entry.name, move |mut caller: Caller<'_, T>| -> Result<i32> {
                announce!(caller, entry);
                let length = caller.data_mut().host().plugin.answer().len();
                Ok(i32::try_from(length)?)
            })
        }
        PluginCall::GetRcv => {
            linker.func_wrap(entry.module, entry.name, move |mut caller: Caller<'_, T>, out: i32| -> Result<()> {
                announce!(caller, entry, out);
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

/// Where a request ends.
#[derive(Clone, Copy)]
enum Cut {
    No,
    /// At its first NUL, as in WasmEdge 0.11.0.
    AtNul,
}

/// No host name is longer (RFC 1035, 2.3.4), with a NUL behind it.
const MAX_HOST: u32 = 256;

async fn send_data<T: HostView>(
    caller: &mut Caller<'_, T>,
    (name, name_length): (i32, i32),
    port: i32,
    (body, body_length): (i32, i32),
    cut: Cut,
) -> Result<()> {
    let (memory, host) = parts(caller)?;
    let bytes = |pointer, length| match memory.read(pointer, length) {
        Ok(bytes) => Ok(bytes),
        Err(_) => bail!("the guest's HTTPS request is out of bounds"),
    };
    if name_length.cast_unsigned() > MAX_HOST {
        bail!("the host of the guest's HTTPS request is longer than {MAX_HOST} bytes");
    }
    let name = String::from_utf8_lossy(bytes(name, name_length.cast_unsigned())?).trim_end_matches('\0').to_owned();
    let body = bytes(body, body_length.cast_unsigned())?;
    let request = match cut {
        Cut::No => body,
        Cut::AtNul => body.split(|&byte| byte == 0).next().unwrap_or_default(),
    };
    let answer = plugin::send((&host.outbound(), host.usage()), &name, u16::try_from(port)?, request).await?;
    host.plugin.store(answer);
    Ok(())
}
