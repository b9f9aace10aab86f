//! Components that handle requests.

mod answer;
mod log;
pub(crate) mod p2;
pub(crate) mod p3;
mod variables;

/// The packages of WASI that are linked, 0.2 and 0.3.
const WASI: [&str; 7] =
    ["wasi:cli/", "wasi:clocks/", "wasi:filesystem/", "wasi:http/", "wasi:io/", "wasi:random/", "wasi:sockets/"];

/// Whether an interface is provided to components that handle requests; `inspect` and the check of a configuration ask.
pub fn provides(interface: &str) -> bool {
    let is_linked = || interface.contains("@0.2.") || interface.contains("@0.3.");
    let is_wasi = || WASI.iter().any(|package| interface.starts_with(package)) && is_linked();
    variables::INTERFACES.contains(&interface) || is_wasi()
}
