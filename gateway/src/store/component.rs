//! Store data of a component.

use prewasm_ext_http::{DirectoryError, Environment};
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use super::{Limited, MemoryLimiter};
use crate::door::{Door, allow_sockets};

/// The host's side of one instance of a component.
pub(crate) struct ComponentState {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    table: ResourceTable,
    door: Door,
    pub(crate) limiter: MemoryLimiter,
}

impl ComponentState {
    /// The state of an instance that may see `environment` and call out through `door`; `streams` sets its standard
    /// streams.
    ///
    /// # Errors
    /// If a directory cannot be opened.
    pub(crate) fn new(
        environment: &Environment,
        door: Door,
        limiter: MemoryLimiter,
        streams: impl FnOnce(&mut WasiCtxBuilder),
    ) -> Result<Self, DirectoryError> {
        let mut wasi = WasiCtxBuilder::new();
        allow_sockets(&mut wasi, door.outbound());
        wasi.args(&environment.args).envs(&environment.env);
        streams(&mut wasi);
        for directory in &environment.dirs {
            directory.preopen(&mut wasi)?;
        }
        Ok(Self { wasi: wasi.build(), http: WasiHttpCtx::new(), table: ResourceTable::new(), door, limiter })
    }
}

impl WasiView for ComponentState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for ComponentState {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.door }
    }
}

impl Limited for ComponentState {
    fn limiter(&mut self) -> &mut MemoryLimiter {
        &mut self.limiter
    }
}
