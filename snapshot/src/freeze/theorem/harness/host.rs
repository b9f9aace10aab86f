//! The host: it notes each call, and answers by the call's number.

use wasmtime::{Caller, ExternRef, Func, FuncType, Store, V128, Val, ValType};

use super::{MAX_CALLS, Start};
use crate::{
    freeze::{
        Unfreezable,
        capture::{Capture, HostCall, Phase, capture},
    },
    program::Shape,
    state::Value,
};

/// What happened in a run.
pub(super) struct Log {
    shape: Shape,
    start: Start,
    pub(super) phase: Phase,
    pub(super) calls: Vec<HostCall>,
    pub(super) captured: Option<Result<Capture, Unfreezable>>,
    pub(super) is_endless: bool,
}

impl Log {
    pub(super) fn new(shape: Shape, start: Start) -> Self {
        Self { shape, start, phase: Phase::Starting, calls: Vec::new(), captured: None, is_endless: false }
    }
}

/// The import `index`; one called `object` gives objects of the host.
pub(super) fn host_function(store: &mut Store<Log>, index: u32, name: &str, ty: FuncType) -> Func {
    let gives_objects = name == "object";
    let results: Vec<_> = ty.results().collect();
    Func::new(store, ty, move |mut caller: Caller<'_, Log>, arguments, out| {
        let number = caller.data().start.number + caller.data().calls.len();
        if caller.data().start.stop_at == Some(number) {
            let Log { shape, phase, .. } = *caller.data();
            let captured = capture(&mut caller, shape, phase, index, arguments);
            caller.data_mut().captured = Some(captured);
            wasmtime::bail!("stopped");
        }
        let call = HostCall { import: index, arguments: arguments.iter().map(value).collect() };
        let log = caller.data_mut();
        log.calls.push(call);
        if log.calls.len() > MAX_CALLS {
            log.is_endless = true;
            wasmtime::bail!("too many calls");
        }
        for (place, (out, ty)) in (0u64..).zip(out.iter_mut().zip(&results)) {
            *out = answer(number as u64 * 8 + place, ty);
        }
        if gives_objects {
            out[0] = Val::ExternRef(Some(ExternRef::new(&mut caller, number)?));
        }
        Ok(())
    })
}

/// A value which looks random, and depends on `seed` alone.
fn answer(seed: u64, ty: &ValType) -> Val {
    let mixed = (seed + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mixed = mixed ^ (mixed >> 29);
    match ty {
        ValType::I32 => Val::I32((mixed >> 40) as i32),
        ValType::I64 => Val::I64(mixed.cast_signed()),
        // Now and then a NaN which is not canonical.
        ValType::F32 if mixed.is_multiple_of(8) => Val::F32(0xFFA0_0000 | (mixed >> 44) as u32),
        ValType::F64 if mixed.is_multiple_of(8) => Val::F64(0x7FF0_0000_0000_0001 | (mixed >> 44)),
        ValType::F32 => Val::F32(((mixed >> 40) as f32).to_bits()),
        ValType::F64 => Val::F64((mixed as f64).to_bits()),
        ValType::V128 => Val::V128(V128::from(u128::from(mixed) << 64 | u128::from(seed))),
        ValType::Ref(reference) => Val::null_ref(reference.heap_type()),
    }
}

/// For comparison only: of references, whether there is one. Which one shows elsewhere.
pub(super) fn value(value: &Val) -> Value {
    match value {
        Val::I32(value) => Value::I32(*value),
        Val::I64(value) => Value::I64(*value),
        Val::F32(bits) => Value::F32(*bits),
        Val::F64(bits) => Value::F64(*bits),
        Val::V128(value) => Value::V128(value.as_u128()),
        Val::FuncRef(Some(_)) | Val::ExternRef(Some(_)) | Val::AnyRef(Some(_)) | Val::ExnRef(Some(_)) => {
            Value::Function(0)
        }
        _ => Value::Null,
    }
}
