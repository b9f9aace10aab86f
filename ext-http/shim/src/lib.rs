//! What a ported program is plugged into: WasmEdge's sockets, its HTTP plugin and its TLS codec, on top of `wasi:http`.
//!
//! A program keeps its socket calls, which lead here by way of trampolines (`wit/port.wit` is what lies between). A
//! connection that it accepts reads as the request which the component was called with; what it writes there becomes the
//! answer. A connection that it makes is not made until the first bytes are written: if these are a request, it goes out
//! through the host's HTTP client, and otherwise, in the variant with feature `sockets`, through `wasi:sockets`.
//!
//! Nothing waits inside: every connection has a step which does what is possible now ([`server`], [`client`]), and there
//! is one place that waits for the host, for all connections together ([`wait`]). So two streams through one program
//! cannot block each other.
//!
//! One run of the program answers one request. What it leaves behind is gone when the next one begins.

#![cfg_attr(not(target_arch = "wasm32"), allow(dead_code, reason = "only the tests of the pure parts run elsewhere"))]

mod address;
mod bindings;
mod body;
mod client;
mod clock;
mod codec;
mod complain;
mod errno;
mod exchange;
mod exports;
mod fields;
mod names;
mod options;
mod plugin;
mod poll;
mod question;
mod queue;
#[cfg(feature = "sockets")]
mod raw;
mod record;
mod server;
mod setup;
mod socket;
mod state;
mod subscription;
mod transfer;
mod tunnel;
mod wait;
