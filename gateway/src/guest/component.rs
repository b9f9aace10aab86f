//! Components that handle requests.

pub(crate) mod p2;
mod variables;

/// The packages of WASI 0.2 that are linked.
const WASI: [&str; 7] =
    ["wasi:cli/", "wasi:clocks/", "wasi:filesystem/", "wasi:http/", "wasi:io/", "wasi:random/", "wasi:sockets/"];

/// Whether an interface is provided to components that handle requests; `inspect` and the check of a configuration ask.
pub fn provides(interface: &str) -> bool {
    let is_wasi = || WASI.iter().any(|package| interface.starts_with(package)) && interface.contains("@0.2.");
    variables::INTERFACES.contains(&interface) || is_wasi()
}
