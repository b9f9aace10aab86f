//! Links with a stack on which the engine can parse.

/// What the linker reserves by default. The workspace's 64 KiB are too few for a parser which descends through a dozen
/// functions for each pair of brackets.
const STACK: u32 = 1024 * 1024;

fn main() {
    println!("cargo::rustc-link-arg=-zstack-size={STACK}");
    println!("cargo::rerun-if-changed=build.rs");
}
