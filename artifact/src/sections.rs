//! Our custom sections: how `snapshot` tells `gateway`, `run` and `inspect` what it made.

use wasm_encoder::{CustomSection, Encode as _, Section as _};

/// Provenance of a snapshot: JSON with stable bytes.
pub const SNAPSHOT_SECTION: &str = "prewasm.snapshot";

/// Host state of a frozen program: stop point, fds, listeners, ranges to re-seed.
pub const FROZEN_SECTION: &str = "prewasm.frozen";

/// Appends a custom section to `wasm`, a module or a component.
///
/// Custom sections may stand anywhere in both formats (core specification, 5.5.3), so no other byte changes.
pub fn append_section(wasm: &mut Vec<u8>, name: &str, data: &[u8]) {
    let section = CustomSection { name: name.into(), data: data.into() };
    wasm.push(section.id());
    section.encode(wasm);
}
