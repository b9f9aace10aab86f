//! The binary interface: errno values, guest memory, address and poll layouts.
//!
//! Facts are from WasmEdge's `thirdparty/wasi/api.hpp` and the WASI preview 1 witx files. Everything here decodes
//! or encodes; what a call *means* is in [`crate::sockets`] and [`crate::poll`].

pub(crate) mod address;
pub(crate) mod addrinfo;
pub(crate) mod codec;
pub(crate) mod errno;
pub(crate) mod memory;
pub(crate) mod plugin;
pub(crate) mod poll;
pub(crate) mod sockopt;
