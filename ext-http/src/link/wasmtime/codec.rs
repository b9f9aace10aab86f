//! WasmEdge's TLS codec.

use wasmtime::{Caller, Linker, Result, Val, bail};

use super::{announce, parts};
use crate::{
    abi,
    host::HostView,
    imports::{CodecCall, Entry},
};

pub(super) fn define<T: HostView>(linker: &mut Linker<T>, entry: &'static Entry, call: CodecCall) -> Result<()> {
    let (module, name) = (entry.module, entry.name);
    match entry.parameter_count() {
        0 => linker.func_wrap(module, name, move |caller: Caller<'_, T>| answer(caller, (entry, call), [0, 0, 0])),
        1 => linker
            .func_wrap(module, name, move |caller: Caller<'_, T>, a: i32| answer(caller, (entry, call), [a, 0, 0])),
        2 => linker.func_wrap(module, name, move |caller: Caller<'_, T>, a: i32, b: i32| {
            answer(caller, (entry, call), [a, b, 0])
        }),
        3 => linker.func_wrap(module, name, move |caller: Caller<'_, T>, a: i32, b: i32, c: i32| {
            answer(caller, (entry, call), [a, b, c])
        }),
        more => bail!("`{module}.{name}` has {more} parameters, where the codec's calls have at most 3"),
    }?;
    Ok(())
}

fn answer<T: HostView>(
    mut caller: Caller<'_, T>,
    (entry, call): (&'static Entry, CodecCall),
    arguments: [i32; 3],
) -> Result<i32> {
    if T::WATCHES {
        let given: Vec<_> = arguments[..entry.parameter_count()].iter().copied().map(Val::from).collect();
        announce(&mut caller, entry, &given)?;
    }
    let (mut memory, host) = parts(&mut caller)?;
    Ok(abi::codec::call(call, &mut memory, &mut host.codecs, arguments))
}
