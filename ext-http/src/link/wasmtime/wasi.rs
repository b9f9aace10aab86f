//! Arguments, environment, clocks, random bytes, waiting and leaving.

use wasmtime::{Caller, Linker, Result};
use wasmtime_wasi::I32Exit;

use super::{finish, finish_waiting, parts};
use crate::{
    abi::{errno::Errno, poll},
    host::HostView,
    imports::{Entry, WasiCall},
    sockets::Failure,
};

pub(super) fn define<T: HostView>(linker: &mut Linker<T>, entry: &'static Entry, call: WasiCall) -> Result<()> {
    match call {
        WasiCall::ArgsGet => now!(linker, entry, |memory, host, pointers: i32, text: i32| {
            host.wasi.args_get(&mut memory, pointers, text)
        }),
        WasiCall::ArgsSizesGet => now!(linker, entry, |memory, host, count: i32, size: i32| {
            host.wasi.args_sizes(&mut memory, count, size)
        }),
        WasiCall::EnvironGet => now!(linker, entry, |memory, host, pointers: i32, text: i32| {
            host.wasi.environ_get(&mut memory, pointers, text)
        }),
        WasiCall::EnvironSizesGet => now!(linker, entry, |memory, host, count: i32, size: i32| {
            host.wasi.environ_sizes(&mut memory, count, size)
        }),
        WasiCall::ClockResGet => now!(linker, entry, |memory, host, id: i32, out: i32| {
            memory.write(out, &host.wasi.clock.resolution(id)?.to_le_bytes())
        }),
        WasiCall::ClockTimeGet => now!(linker, entry, |memory, host, id: i32, precision: i64, out: i32| {
            // What a reading may be off by: ours are exact.
            let _ = precision;
            memory.write(out, &host.wasi.clock.now(id)?.to_le_bytes())
        }),
        WasiCall::RandomGet => later!(linker, entry, |caller, pointer: i32, length: i32| {
            random_get(&mut caller, pointer, length).await
        }),
        WasiCall::ProcExit => {
            linker.func_wrap(entry.module, entry.name, move |mut caller: Caller<'_, T>, code: i32| -> Result<()> {
                announce!(caller, entry, code);
                Err(caller.data_mut().host().end(I32Exit(code)))
            })
        }
        // Signals do not exist; wasmtime-wasi refuses likewise.
        WasiCall::ProcRaise => {
            linker.func_wrap(entry.module, entry.name, move |mut caller: Caller<'_, T>, signal: i32| -> Result<i32> {
                announce!(caller, entry, signal);
                Ok(Errno::NotSup.code())
            })
        }
        WasiCall::SchedYield => later!(linker, entry, |caller| {
            tokio::task::yield_now().await;
            Ok::<i32, wasmtime::Error>(0)
        }),
        WasiCall::PollOneoff => later!(linker, entry, |caller, input: i32, output: i32, count: i32, out: i32| {
            poll_oneoff(&mut caller, input, output, count, out).await
        }),
    }?;
    Ok(())
}

/// Fills in pieces, and lets others run in between: a guest may ask for gigabytes.
async fn random_get<T: HostView>(caller: &mut Caller<'_, T>, pointer: i32, length: i32) -> Result<i32> {
    const PIECE: usize = 64 * 1024;
    let (mut memory, host) = parts(caller)?;
    host.wasi.random.begin(length.cast_unsigned());
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

async fn poll_oneoff<T: HostView>(
    caller: &mut Caller<'_, T>,
    input: i32,
    output: i32,
    count: i32,
    out: i32,
) -> Result<i32> {
    loop {
        let (mut memory, host) = parts(caller)?;
        let result = async {
            let subscriptions = poll::read_subscriptions(&memory, input, count)?;
            poll::check_events(&memory, output, count)?;
            memory.range(out, 4)?;
            let events = crate::poll::poll(host, &subscriptions).await?;
            poll::write_events(&mut memory, output, &events)?;
            Ok::<(), Failure>(memory.write_u32(out, u32::try_from(events.len()).map_err(|_| Errno::Fault)?)?)
        };
        let result = result.await;
        if let Some(errno) = finish_waiting(caller, result)? {
            return Ok(errno);
        }
    }
}
