//! The modules that we provide to guests on WasmEdge.

use std::{array, cell::RefCell, collections::BTreeSet, rc::Rc, sync::Arc};

use prewasm_artifact::ValueType;
use tokio::runtime::{Builder, Runtime};
use wasmedge_sdk::{
    CallingFrame, FuncType, ImportObject, ImportObjectBuilder, Instance, ValType, WasmEdgeResult, WasmValue,
    error::CoreError,
};

use super::{StartError, codec, plugin};
use crate::{
    PluginError,
    codec::Codecs,
    imports::{Call, Entry, TABLE},
    outbound::{Outbound, OutboundPolicy, Usage},
    plugin::Plugin,
};

/// What our modules share.
pub(super) struct Calls {
    pub(super) plugin: Plugin,
    pub(super) codecs: Codecs,
    pub(super) outbound: Arc<Outbound>,
    pub(super) usage: Usage,
    /// Host functions are synchronous here: this is where they wait.
    pub(super) runtime: Runtime,
    /// Why the last call trapped: WasmEdge takes no more than a number.
    pub(super) failure: Option<CallError>,
}

pub(super) type Shared = Rc<RefCell<Calls>>;

/// Why a call traps.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    #[error(transparent)]
    Plugin(#[from] PluginError),
    #[error("the guest has no memory, which every call needs")]
    NoMemory,
}

/// A host function. It is no closure: WasmEdge hands it what the modules share.
pub(super) type HostFunction = for<'a, 'b, 'c> fn(
    &'a mut Shared,
    &'b mut Instance,
    &'c mut CallingFrame,
    Vec<WasmValue>,
) -> Result<Vec<WasmValue>, CoreError>;

/// The host's side of one program.
pub(super) fn calls(policy: &OutboundPolicy) -> Result<Shared, StartError> {
    let outbound = Arc::new(Outbound::new(Arc::new(policy.clone())));
    Ok(Rc::new(RefCell::new(Calls {
        plugin: Plugin::default(),
        codecs: Codecs::new(Arc::clone(&outbound)),
        usage: Usage::of(&outbound),
        outbound,
        runtime: Builder::new_current_thread().enable_all().build().map_err(StartError::System)?,
        failure: None,
    })))
}

/// The modules, by name.
pub(super) fn build(calls: &Shared) -> WasmEdgeResult<Vec<(&'static str, ImportObject<Shared>)>> {
    let functions = || TABLE.iter().filter_map(|entry| Some((entry, function(entry.call)?)));
    let names: BTreeSet<_> = functions().map(|(entry, _)| entry.module).collect();
    let build = |name| {
        let mut builder = ImportObjectBuilder::new(name, Rc::clone(calls))?;
        for (entry, function) in functions().filter(|(entry, _)| entry.module == name) {
            builder.with_func_by_type(entry.name, ty(entry), function)?;
        }
        Ok((name, builder.build()))
    };
    names.into_iter().map(build).collect()
}

fn function(call: Call) -> Option<HostFunction> {
    match call {
        Call::Plugin(call) => Some(plugin::function(call)),
        Call::Codec(call) => Some(codec::function(call)),
        Call::Marker => Some(|_, _, _, _| Ok(Vec::new())),
        // WasmEdge's own.
        Call::Wasi(_) | Call::Descriptor(_) | Call::File(_) | Call::Socket(_) => None,
    }
}

fn ty(entry: &Entry) -> FuncType {
    let (params, results) = entry.import().signature.unwrap_or_default();
    let types = |types: Vec<ValueType>| {
        types.into_iter().map(|ty| if ty == ValueType::I64 { ValType::I64 } else { ValType::I32 }).collect()
    };
    FuncType::new(types(params), types(results))
}

/// Arguments which are all `i32`, as their types say; those beyond the last are 0.
pub(super) fn numbers<const N: usize>(arguments: &[WasmValue]) -> [i32; N] {
    array::from_fn(|index| arguments.get(index).map_or(0, WasmValue::to_i32))
}
