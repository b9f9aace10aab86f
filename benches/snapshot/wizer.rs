//! Wizer, used as the CLI of Wasmtime uses it: `wasmtime wizer INPUT -o OUTPUT`.

use tokio::runtime;
use wasmtime::{Cache, Config, Engine, Linker, Module, Store};
use wasmtime_wasi::{
    WasiCtxBuilder,
    p1::{self, WasiP1Ctx},
};
use wasmtime_wizer::Wizer;

/// What the program can call while it is initialized.
#[derive(Clone, Copy)]
pub(crate) enum Imports {
    /// Nothing: `-W unknown-imports-trap`.
    Trap,
    /// WASI preview 1, with nothing of the host: `-S cli`.
    Preview1,
}

/// Makes a snapshot with the CLI's defaults. With a `cache`, as the CLI has one unless `-C cache=n` is given, code which
/// was compiled before is not compiled again.
pub(crate) fn build(wasm: &[u8], imports: Imports, cache: Option<Cache>) -> anyhow::Result<Vec<u8>> {
    let engine = engine(cache)?;
    let mut linker = Linker::new(&engine);
    if let Imports::Preview1 = imports {
        p1::add_to_linker_async(&mut linker, |wasi| wasi)?;
    }
    let wasi = WasiCtxBuilder::new().arg("input.wasm").inherit_stdio().allow_blocking_current_thread(true).build_p1();
    let mut store = Store::new(&engine, wasi);
    let instantiate = async |store: &mut Store<WasiP1Ctx>, module: &Module| {
        if let Imports::Trap = imports {
            linker.define_unknown_imports_as_traps(module)?;
        }
        linker.instantiate_async(store, module).await
    };
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(Wizer::new().run(&mut store, wasm, instantiate))?)
}

fn engine(cache: Option<Cache>) -> anyhow::Result<Engine> {
    let mut config = Config::new();
    config.relaxed_simd_deterministic(true).cache(cache);
    Ok(Engine::new(&config)?)
}
