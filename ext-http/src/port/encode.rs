//! From a core module to a component.

use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER, WASI_SNAPSHOT_PREVIEW1_PROXY_ADAPTER,
    WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use super::plan::{Shim, World};

/// What the libraries say that make components.
pub(super) type EncodeError = Box<dyn std::error::Error + Send + Sync>;

/// The interfaces, each behind those it uses.
const INTERFACES: [(&str, &str); 6] = [
    ("io.wit", include_str!("../../shim/wit/deps/io.wit")),
    ("clocks.wit", include_str!("../../shim/wit/deps/clocks.wit")),
    ("cli.wit", include_str!("../../shim/wit/deps/cli.wit")),
    ("sockets.wit", include_str!("../../shim/wit/deps/sockets.wit")),
    ("http.wit", include_str!("../../shim/wit/deps/http.wit")),
    ("port.wit", include_str!("../../shim/wit/port.wit")),
];
/// What a linked program may import, and what it exports.
const PROGRAM: (&str, &str) = ("program.wit", include_str!("program.wit"));

/// Makes a component of a linked program.
pub(super) fn program(mut module: Vec<u8>, world: World) -> Result<Vec<u8>, EncodeError> {
    let mut resolve = Resolve::default();
    for (path, text) in INTERFACES {
        resolve.push_str(path, text)?;
    }
    let package = resolve.push_str(PROGRAM.0, PROGRAM.1)?;
    let (name, adapter) = match world {
        World::Proxy => ("handler", WASI_SNAPSHOT_PREVIEW1_PROXY_ADAPTER),
        World::ProxyCli => ("handler", WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER),
        World::Command => ("program", WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER),
    };
    let world = resolve.select_world(&[package], Some(name))?;
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)?;
    let encoder = ComponentEncoder::default().validate(true).module(&module)?;
    Ok(encoder.adapter(WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, adapter)?.encode()?)
}

/// Makes a component of a shim.
pub(super) fn shim(shim: Shim) -> Result<Vec<u8>, EncodeError> {
    let module: &[u8] = match shim {
        Shim::Http => include_bytes!("../../shim/prebuilt/http.wasm"),
        Shim::HttpAndSockets => include_bytes!("../../shim/prebuilt/http-and-sockets.wasm"),
    };
    Ok(ComponentEncoder::default().validate(true).module(module)?.encode()?)
}
