//! Plugs a shim into a program: what the program imports from `prewasm:port`, the shim exports.

use wac_graph::{CompositionGraph, EncodeOptions, plug, types::Package};

use super::encode::EncodeError;

/// Makes one component of both.
pub(super) fn compose(program: Vec<u8>, shim: Vec<u8>) -> Result<Vec<u8>, EncodeError> {
    let mut graph = CompositionGraph::new();
    let shim = Package::from_bytes("prewasm:shim", None, shim, graph.types_mut())?;
    let shim = graph.register_package(shim)?;
    let program = Package::from_bytes("prewasm:ported", None, program, graph.types_mut())?;
    let program = graph.register_package(program)?;
    plug(&mut graph, vec![shim], program)?;
    Ok(graph.encode(EncodeOptions { define_components: true, validate: true, processor: None })?)
}
