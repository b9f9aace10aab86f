//! The interface, as Rust.
#![allow(missing_docs, clippy::all, reason = "generated")]

#[cfg(not(feature = "sockets"))]
wit_bindgen::generate!({ world: "shim", path: "wit", generate_all });

#[cfg(feature = "sockets")]
wit_bindgen::generate!({ world: "shim-with-sockets", path: "wit", generate_all });
