//! Makes every call of WasmEdge's socket extension by hand, in each of its forms, and prints what each gave: the errno,
//! and what was written.
//!
//! It exists because libraries use a few calls in a few ways. Two hosts on which this program prints the same do the
//! same; and each call of the extension is imported here, with each of its types.
//!
//! `socket-calls SCRIPT` runs one of `tcp`, `udp`, `modes`, `polls`, `errors`, `options`, `odd-lengths`, `lookup`,
//! `any-kind` and `descriptors`. All peers are sockets of its own on the loopback interface; ports are not printed, and
//! descriptors by the last script alone, as the host chooses them.

mod calls;
mod errors;
mod lookup;
mod options;
mod polls;
mod transfers;

use std::env;
use std::process::ExitCode;

fn main() -> ExitCode {
    match env::args().nth(1).as_deref() {
        Some("tcp") => transfers::tcp(),
        Some("udp") => transfers::udp(),
        Some("modes") => transfers::modes(),
        Some("errors") => errors::run(),
        Some("options") => options::run(),
        Some("lookup") => lookup::run(),
        Some("descriptors") => transfers::descriptors(),
        Some("odd-lengths") => options::odd_lengths(),
        Some("any-kind") => lookup::any_kind(),
        Some("polls") => polls::run(),
        _ => {
            eprintln!("usage: socket-calls tcp|udp|modes|polls|errors|options|odd-lengths|lookup|any-kind|descriptors");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
