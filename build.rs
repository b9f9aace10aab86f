//! Tells the linker what the feature `wasmedge` needs.

use std::env;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if env::var_os("CARGO_FEATURE_WASMEDGE").is_some() {
        // WasmEdge's library may want a newer C library than this system's, which is found when the program is started.
        // Here and not in RUSTFLAGS, a change of which compiles everything once more.
        println!("cargo:rustc-link-arg=-Wl,--allow-shlib-undefined");
    }
}
