//! A wasm file, read and validated.

use std::{
    borrow::Cow,
    fs, io,
    io::Read as _,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};
use wasmparser::{
    ComponentExternalKind, ExternalKind, FuncValidatorAllocations, Parser, Payload, TypeRef, ValidPayload, Validator,
    WasmFeatures,
};

use crate::{
    hash::{Sha256, sha256},
    imports::{Family, Import, ValueType},
    kind::Kind,
    sections::{FROZEN_SECTION, SNAPSHOT_SECTION},
};

/// The first bytes of every wasm binary, module or component.
const WASM_MAGIC: &[u8] = b"\0asm";
/// The first bytes of an ELF object, which is what Wasmtime's precompiled code is wrapped in.
const ELF_MAGIC: &[u8] = b"\x7fELF";

/// A wasm module, component or precompiled file, with what its imports and exports say about it.
#[derive(Clone, Debug)]
pub struct Artifact {
    origin: String,
    bytes: Vec<u8>,
    kind: Kind,
    imports: Vec<Import>,
    exports: Vec<String>,
    memories: Vec<Memory>,
    sections: Vec<(String, Vec<u8>)>,
    /// Filled when it is first asked for: a binary may have many megabytes.
    sha256: OnceLock<Sha256>,
}

/// The limits a module declares for one of its own memories, in pages of 64 KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Pages at instantiation.
    pub minimum: u64,
    /// Pages it may grow to, if declared.
    pub maximum: Option<u64>,
}

/// Why a file is not an artifact.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// The file could not be read.
    #[error("cannot read `{path}`", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Neither a wasm binary nor its text format.
    #[error("`{origin}` is not wasm: it starts with {start}\n  hint: a `.wasm`, `.wat` or `.cwasm` file is expected")]
    NotWasm {
        /// Where the bytes came from.
        origin: String,
        /// The first bytes, printable.
        start: String,
    },
    /// The text format could not be parsed.
    #[error("`{origin}` is neither a wasm binary nor valid text format")]
    Text {
        /// Where the bytes came from.
        origin: String,
        /// The parser's message, with line and column.
        #[source]
        source: wat::Error,
    },
    /// The binary ends in the middle.
    #[error(
        "`{origin}` is truncated: it ends at offset {offset:#x} in the middle of a section\n  hint: copy or download the file again"
    )]
    Truncated {
        /// Where the bytes came from.
        origin: String,
        /// Where more bytes were expected.
        offset: u64,
    },
    /// The binary is malformed or does not validate.
    #[error("`{origin}` is not valid wasm")]
    Invalid {
        /// Where the bytes came from.
        origin: String,
        /// The validator's message, with the offset.
        #[source]
        source: wasmparser::BinaryReaderError,
    },
}

impl Artifact {
    /// Reads and validates the file at `path`; `-` is standard input.
    ///
    /// # Errors
    /// [`ArtifactError`], naming the file.
    pub fn read(path: &Path) -> Result<Self, ArtifactError> {
        let read = if path == Path::new("-") { read_stdin() } else { fs::read(path) };
        let bytes = read.map_err(|source| ArtifactError::Read { path: path.to_owned(), source })?;
        Self::from_bytes(&path.display().to_string(), bytes)
    }

    /// Validates `bytes`; `origin` names them in errors.
    ///
    /// # Errors
    /// [`ArtifactError`] for anything but a valid module, component or precompiled file.
    pub fn from_bytes(origin: &str, bytes: Vec<u8>) -> Result<Self, ArtifactError> {
        let mut artifact = Self {
            origin: origin.to_owned(),
            bytes: Vec::new(),
            kind: Kind::Precompiled,
            imports: Vec::new(),
            exports: Vec::new(),
            memories: Vec::new(),
            sections: Vec::new(),
            sha256: OnceLock::new(),
        };
        if bytes.starts_with(ELF_MAGIC) {
            artifact.bytes = bytes;
            return Ok(artifact);
        }
        artifact.bytes = to_binary(origin, bytes)?;
        validate(&artifact.bytes).map_err(|source| artifact.rejected(source))?;
        artifact.scan().map_err(|source| artifact.rejected(source))?;
        Ok(artifact)
    }

    /// Where the bytes came from, for messages.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The binary.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Gives up everything but the binary.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// The hash of the binary.
    pub fn sha256(&self) -> Sha256 {
        *self.sha256.get_or_init(|| sha256([self.bytes.as_slice()]))
    }

    /// What it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether it was frozen while running, and resumes there.
    pub fn is_frozen(&self) -> bool {
        self.frozen().is_some()
    }

    /// The host state of a program that was frozen while running.
    pub fn frozen(&self) -> Option<&[u8]> {
        self.section(FROZEN_SECTION)
    }

    /// Provenance, if this is a snapshot made by prewasm.
    pub fn provenance(&self) -> Option<&[u8]> {
        self.section(SNAPSHOT_SECTION)
    }

    /// Its imports, in the order of the file.
    pub fn imports(&self) -> &[Import] {
        &self.imports
    }

    /// The names of its exports; for a module, of functions only.
    pub fn exports(&self) -> &[String] {
        &self.exports
    }

    /// The memories a module defines.
    pub fn memories(&self) -> &[Memory] {
        &self.memories
    }

    fn section(&self, name: &str) -> Option<&[u8]> {
        let (_, data) = self.sections.iter().find(|(found, _)| found == name)?;
        Some(data)
    }

    fn rejected(&self, source: wasmparser::BinaryReaderError) -> ArtifactError {
        let origin = self.origin.clone();
        // The reader runs out of bytes at the end of the whole file only if something is missing there.
        let at_end = source.offset() as u64 >= self.bytes.len() as u64;
        if at_end || source.message().starts_with("unexpected end") {
            ArtifactError::Truncated { origin, offset: source.offset() as u64 }
        } else {
            ArtifactError::Invalid { origin, source }
        }
    }

    /// Collects what the outermost module or component declares; nested ones are skipped.
    fn scan(&mut self) -> Result<(), wasmparser::BinaryReaderError> {
        let mut depth = 0usize;
        let mut types = Vec::new();
        let mut is_component = false;
        for payload in Parser::new(0).parse_all(&self.bytes) {
            match payload? {
                Payload::Version { encoding, .. } if depth == 0 => {
                    is_component = encoding == wasmparser::Encoding::Component;
                }
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                _ if depth > 0 => {}
                Payload::TypeSection(section) => {
                    for group in section {
                        types.extend(group?.into_types().map(|ty| signature(&ty)));
                    }
                }
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        let import = import?;
                        let signature = match import.ty {
                            TypeRef::Func(ty) | TypeRef::FuncExact(ty) => types.get(ty as usize).cloned().flatten(),
                            _ => None,
                        };
                        self.imports.push(Import {
                            module: import.module.to_owned(),
                            name: import.name.to_owned(),
                            signature,
                            family: Family::of(import.module, import.name),
                        });
                    }
                }
                Payload::MemorySection(section) => {
                    for memory in section {
                        let memory = memory?;
                        self.memories.push(Memory { minimum: memory.initial, maximum: memory.maximum });
                    }
                }
                Payload::ExportSection(section) => {
                    for export in section {
                        let export = export?;
                        if export.kind == ExternalKind::Func {
                            self.exports.push(export.name.to_owned());
                        }
                    }
                }
                Payload::ComponentImportSection(section) => {
                    for import in section {
                        let name = import?.name.name.to_owned();
                        self.imports.push(Import {
                            family: Family::of(&name, ""),
                            module: name,
                            name: String::new(),
                            signature: None,
                        });
                    }
                }
                Payload::ComponentExportSection(section) => {
                    for export in section {
                        let export = export?;
                        if matches!(export.kind, ComponentExternalKind::Instance | ComponentExternalKind::Func) {
                            self.exports.push(export.name.name.to_owned());
                        }
                    }
                }
                Payload::CustomSection(section) if section.name().starts_with("prewasm.") => {
                    self.sections.push((section.name().to_owned(), section.data().to_vec()));
                }
                _ => {}
            }
        }
        let exports = self.exports.iter().map(String::as_str);
        self.kind = if is_component {
            Kind::of_component(exports)
        } else {
            let imports = self.imports.iter().map(|import| (import.module.as_str(), import.name.as_str()));
            Kind::of_module(imports, exports)
        };
        Ok(())
    }
}

/// Validates all of a binary, functions on all cores. The error is that of the first fault.
fn validate(wasm: &[u8]) -> Result<(), wasmparser::BinaryReaderError> {
    let features = WasmFeatures::default();
    let mut validator = Validator::new_with_features(features);
    // Some of what is not accepted only the parser knows, such as groups of imports.
    let mut parser = Parser::new(0);
    parser.set_features(features);
    let mut functions = Vec::new();
    for payload in parser.parse_all(wasm) {
        if let ValidPayload::Func(function, body) = validator.payload(&payload?)? {
            functions.push((function, body));
        }
    }
    let faults =
        functions.into_par_iter().map_init(FuncValidatorAllocations::default, |allocations, (function, body)| {
            let mut validator = function.into_validator(std::mem::take(allocations));
            let result = validator.validate(&body);
            *allocations = validator.into_allocations();
            result.err()
        });
    faults.find_map_first(|fault| fault).map_or(Ok(()), Err)
}

fn read_stdin() -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    io::stdin().lock().read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn to_binary(origin: &str, bytes: Vec<u8>) -> Result<Vec<u8>, ArtifactError> {
    let origin = || origin.to_owned();
    if bytes.starts_with(WASM_MAGIC) {
        return Ok(bytes);
    }
    // A prefix of the magic number is what an interrupted copy leaves.
    if !bytes.is_empty() && WASM_MAGIC.starts_with(&bytes) {
        return Err(ArtifactError::Truncated { origin: origin(), offset: bytes.len() as u64 });
    }
    let is_text = bytes.trim_ascii_start().starts_with(b"(") || bytes.trim_ascii_start().starts_with(b";;");
    if !is_text {
        return Err(ArtifactError::NotWasm { origin: origin(), start: start_of(&bytes) });
    }
    match wat::parse_bytes(&bytes).map(Cow::into_owned) {
        Ok(binary) => Ok(binary),
        Err(source) => Err(ArtifactError::Text { origin: origin(), source }),
    }
}

/// The first bytes, quoted, for a message.
fn start_of(bytes: &[u8]) -> String {
    match &bytes[..bytes.len().min(8)] {
        [] => "nothing (the file is empty)".to_owned(),
        start => format!("\"{}\"", start.escape_ascii()),
    }
}

fn signature(ty: &wasmparser::SubType) -> Option<(Vec<ValueType>, Vec<ValueType>)> {
    let wasmparser::CompositeInnerType::Func(func) = &ty.composite_type.inner else { return None };
    let values = |types: &[wasmparser::ValType]| types.iter().map(value_type).collect();
    Some((values(func.params()), values(func.results())))
}

fn value_type(ty: &wasmparser::ValType) -> ValueType {
    match ty {
        wasmparser::ValType::I32 => ValueType::I32,
        wasmparser::ValType::I64 => ValueType::I64,
        _ => ValueType::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::append_section;

    #[test]
    fn reads_text_and_binary_alike() {
        let text = Artifact::from_bytes("t", b"(module (memory 2 4))".to_vec()).expect("valid");
        let binary = Artifact::from_bytes("b", text.bytes().to_vec()).expect("valid");
        assert_eq!(text.bytes(), binary.bytes());
        assert_eq!(binary.memories(), [Memory { minimum: 2, maximum: Some(4) }]);
    }

    #[test]
    fn every_prefix_of_a_module_is_truncated_invalid_or_valid_but_never_a_panic() {
        let whole = wat::parse_str("(module (import \"a\" \"b\" (func)) (memory 1) (data (i32.const 0) \"hello\"))")
            .expect("valid");
        for length in 0..whole.len() {
            drop(Artifact::from_bytes("prefix", whole[..length].to_vec()));
        }
        let error = Artifact::from_bytes("cut", whole[..whole.len() - 3].to_vec()).expect_err("truncated");
        assert!(matches!(error, ArtifactError::Truncated { .. }), "{error}");
    }

    #[test]
    fn rejects_what_is_not_wasm() {
        let error = Artifact::from_bytes("x.png", b"\x89PNG....".to_vec()).expect_err("not wasm");
        assert!(matches!(error, ArtifactError::NotWasm { .. }), "{error}");
        let error = Artifact::from_bytes("empty", Vec::new()).expect_err("not wasm");
        assert!(error.to_string().contains("empty"), "{error}");
        let error = Artifact::from_bytes("x.wat", b"(module (func".to_vec()).expect_err("bad text");
        assert!(matches!(error, ArtifactError::Text { .. }), "{error}");
    }

    #[test]
    fn accepts_no_more_than_the_validator() {
        let type_section = [1, 4, 1, 0x60, 0, 0];
        // One module's name for any number of imports: a proposal.
        let group = [2, 10, 1, 1, b'm', 0, 0x7F, 1, 1, b'a', 0, 0];
        let wasm = [b"\0asm\x01\0\0\0", &type_section[..], &group].concat();
        assert!(Validator::new().validate_all(&wasm).is_err());
        let error = Artifact::from_bytes("test", wasm).expect_err("not accepted");
        assert!(matches!(error, ArtifactError::Invalid { .. }), "{error}");
    }

    #[test]
    fn finds_our_sections() {
        let mut wasm = wat::parse_str("(module)").expect("valid");
        append_section(&mut wasm, SNAPSHOT_SECTION, b"{}");
        let artifact = Artifact::from_bytes("s", wasm).expect("valid");
        assert_eq!(artifact.provenance(), Some(b"{}".as_slice()));
        assert!(!artifact.is_frozen());
        let mut wasm = artifact.into_bytes();
        append_section(&mut wasm, FROZEN_SECTION, b"{\"until\":\"accept\"}");
        let artifact = Artifact::from_bytes("f", wasm).expect("valid");
        assert_eq!(artifact.frozen(), Some(b"{\"until\":\"accept\"}".as_slice()));
    }

    #[test]
    fn import_signatures_come_from_the_type_section() {
        let artifact = Artifact::from_bytes(
            "i",
            b"(module (import \"wasi_snapshot_preview1\" \"fd_seek\" (func (param i32 i64 i32 i32) (result i32))))"
                .to_vec(),
        )
        .expect("valid");
        assert_eq!(artifact.imports()[0].to_string(), "wasi_snapshot_preview1.fd_seek (i32, i64, i32, i32) -> (i32)");
    }
}
