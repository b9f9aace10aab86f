//! What cargo has built, from its messages (a line of JSON each).

use std::path::PathBuf;

use serde::Deserialize;

/// A wasm file.
#[derive(Debug, PartialEq, Eq)]
pub struct Built {
    /// The package's identifier, as in cargo's metadata.
    pub package: String,
    pub wasm: PathBuf,
}

#[derive(Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    package_id: String,
    target: Option<Target>,
    #[serde(default)]
    filenames: Vec<PathBuf>,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    #[serde(default)]
    crate_types: Vec<String>,
}

/// Programs and cdylibs, in the order in which they were built. Lines of another form are the compiler's or later
/// cargo's.
pub fn parse(messages: &[u8]) -> Vec<Built> {
    let messages = messages.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok());
    messages.filter(|message: &Message| message.reason == "compiler-artifact").filter_map(Message::wasm).collect()
}

impl Message {
    /// Build scripts are executable, too, but no wasm; a library for Rust comes with other files only.
    fn wasm(self) -> Option<Built> {
        let is_cdylib = self.target.is_some_and(|target| target.crate_types.iter().any(|kind| kind == "cdylib"));
        let candidates = self.executable.into_iter().chain(is_cdylib.then_some(self.filenames).into_iter().flatten());
        let wasm = candidates.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "wasm"))?;
        Some(Built { package: self.package_id, wasm })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As cargo 1.95 prints them, without fields that do not matter here.
    const MESSAGES: &str = r#"{"reason":"compiler-artifact","package_id":"registry+https://github.com/rust-lang/crates.io-index#cfg-if@1.0.0","target":{"kind":["lib"],"crate_types":["lib"],"name":"cfg_if"},"filenames":["/t/wasm32-wasip1/release/deps/libcfg_if.rlib"],"executable":null,"fresh":true}
{"reason":"compiler-artifact","package_id":"path+file:///app#app@0.1.0","target":{"kind":["custom-build"],"crate_types":["bin"],"name":"build-script-build"},"filenames":["/t/release/build/app-1/build-script-build"],"executable":"/t/release/build/app-1/build-script-build","fresh":false}
{"reason":"build-script-executed","package_id":"path+file:///app#app@0.1.0","linked_libs":[]}
{"reason":"compiler-artifact","package_id":"path+file:///lib#lib@0.1.0","target":{"kind":["cdylib","rlib"],"crate_types":["cdylib","rlib"],"name":"lib"},"filenames":["/t/wasm32-wasip1/release/liblib.rlib","/t/wasm32-wasip1/release/lib.wasm"],"executable":null}
warning: not JSON
{"reason":"compiler-artifact","package_id":"path+file:///app#app@0.1.0","target":{"kind":["bin"],"crate_types":["bin"],"name":"app"},"filenames":["/t/wasm32-wasip1/release/app.wasm"],"executable":"/t/wasm32-wasip1/release/app.wasm"}
{"reason":"build-finished","success":true}
"#;

    #[test]
    fn programs_and_cdylibs_are_found() {
        let built = |package: &str, wasm: &str| Built { package: package.into(), wasm: wasm.into() };
        let expected = [
            built("path+file:///lib#lib@0.1.0", "/t/wasm32-wasip1/release/lib.wasm"),
            built("path+file:///app#app@0.1.0", "/t/wasm32-wasip1/release/app.wasm"),
        ];
        assert_eq!(parse(MESSAGES.as_bytes()), expected);
        assert_eq!(parse(b"\xff\n{\n[]\n{\"reason\":1}"), []);
    }
}
