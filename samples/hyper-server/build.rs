//! Links with the memory that a request needs.
//!
//! Started with less, the program would grow its memory while it answers: two more system calls per request on a host
//! which gives each request a fresh instance. With `DEFAULT_FLAGS` it is linked as programs usually are.

/// What one small request needs: the linker's own default is 3 pages of 64 KiB, of which the program wants 5.
const INITIAL_MEMORY: u32 = 5 * 64 * 1024;

fn main() {
    if std::env::var_os("DEFAULT_FLAGS").is_none() {
        println!("cargo::rustc-link-arg=--initial-memory={INITIAL_MEMORY}");
    }
    println!("cargo::rerun-if-env-changed=DEFAULT_FLAGS");
    println!("cargo::rerun-if-changed=build.rs");
}
