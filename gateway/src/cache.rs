//! Compiled code: made ahead of time, kept on disk.
//!
//! Loading machine code is only as safe as its source, so this file is one of two places with `unsafe`, beside
//! [`crate::memory`]: entries come from a folder which is ours alone, carry a digest of their content, and fit one engine
//! version and setting.

use std::{
    borrow::Cow,
    env, fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use prewasm_artifact::{Artifact, Kind, create_private_folder, sha256, write_whole};
use prewasm_ext_http::link::{self, LinkError};
use wasmtime::{Engine, Module, Precompiled, component::Component};

use crate::{
    engines::{Concurrency, Metering, on_demand},
    memory::{Memories, Pool, lift},
};

/// Length of the digest in front of the code in a cache entry.
const DIGEST: usize = 32;

/// A folder of compiled code, or none: then everything is compiled in memory.
#[derive(Clone, Debug)]
pub struct CodeCache {
    folder: Option<PathBuf>,
}

/// Machine code, ready to instantiate.
#[derive(Clone)]
pub enum Code {
    /// A core module, with imports named for [`link::linker`].
    Module(Module),
    /// A component.
    Component(Component),
}

/// Code, and what its instances take memory from if that is a pool of ours: then its data segments are not in it, and
/// it must not be instantiated without.
#[derive(Clone)]
pub(crate) struct Loaded {
    pub(crate) code: Code,
    pub(crate) memories: Option<Arc<Memories>>,
}

/// Whether machine code which a user brings is loaded: it can do anything that this process can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrecompiledPolicy {
    /// No.
    Refuse,
    /// Yes: the user vouches for it.
    Trust,
}

/// Why an artifact cannot be turned into code.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// An import is not provided.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The compiler refuses it.
    #[error("cannot compile `{origin}`")]
    Compile {
        /// The artifact.
        origin: String,
        /// What the compiler said.
        #[source]
        source: wasmtime::Error,
    },
    /// Precompiled code which does not fit, or is damaged.
    #[error(
        "cannot load precompiled code `{origin}`\n  hint: make it again with `prewasm compile` of this version, on this kind of machine, without `--fuel`"
    )]
    Precompiled {
        /// The artifact.
        origin: String,
        /// What does not fit.
        #[source]
        source: wasmtime::Error,
    },
    /// Precompiled code, and the user has not vouched for it.
    #[error(
        "`{origin}` is precompiled machine code, which runs without any check\n  hint: if you made it yourself, pass `--allow-precompiled`"
    )]
    Untrusted {
        /// The artifact.
        origin: String,
    },
    /// The host state of a frozen program does not come along with its code.
    #[error(
        "`{origin}` is frozen, and precompiled code cannot carry the snapshot's saved host state (listeners, clock)\n  hint: serve the wasm file itself; its code is kept in the cache anyway"
    )]
    Frozen {
        /// The artifact.
        origin: String,
    },
    /// The system does not hold the image of its memory.
    #[error("cannot map the memory of `{origin}`")]
    Image {
        /// The artifact.
        origin: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Precompiled code cannot be compiled again.
    #[error("`{origin}` is precompiled already")]
    AlreadyCompiled {
        /// The artifact.
        origin: String,
    },
}

/// Compiles for this machine, with the settings that `run` and `serve` use without a fuel limit.
///
/// # Errors
/// [`LoadError`] if imports are missing, the compiler refuses, or the program is frozen.
pub fn compile(artifact: &Artifact) -> Result<Vec<u8>, LoadError> {
    if let Some(objection) = compile_objection(artifact) {
        return Err(objection);
    }
    let compile_error = |source| LoadError::Compile { origin: artifact.origin().to_owned(), source };
    let engine = on_demand(Metering::Off, Concurrency::of(artifact.kind())).map_err(compile_error)?;
    precompile(&engine, artifact)
}

/// What keeps an artifact of this kind from being compiled ahead of time.
pub fn compile_objection(artifact: &Artifact) -> Option<LoadError> {
    let origin = || artifact.origin().to_owned();
    match artifact.kind() {
        Kind::Precompiled => Some(LoadError::AlreadyCompiled { origin: origin() }),
        _ if artifact.is_frozen() => Some(LoadError::Frozen { origin: origin() }),
        _ => None,
    }
}

fn precompile(engine: &Engine, artifact: &Artifact) -> Result<Vec<u8>, LoadError> {
    precompile_program(engine, artifact, &program(artifact)?)
}

/// What is compiled: a component as it is, a module with imports named for [`link::linker`].
fn program(artifact: &Artifact) -> Result<Cow<'_, [u8]>, LoadError> {
    match artifact.kind() {
        Kind::Precompiled => Err(LoadError::AlreadyCompiled { origin: artifact.origin().to_owned() }),
        kind if kind.is_component() => Ok(Cow::Borrowed(artifact.bytes())),
        _ => Ok(link::prepare(artifact)?),
    }
}

fn precompile_program(engine: &Engine, artifact: &Artifact, program: &[u8]) -> Result<Vec<u8>, LoadError> {
    let compiled = match artifact.kind().is_component() {
        true => engine.precompile_component(program),
        false => engine.precompile_module(program),
    };
    compiled.map_err(|source| LoadError::Compile { origin: artifact.origin().to_owned(), source })
}

impl CodeCache {
    /// The user's cache, `$XDG_CACHE_HOME/prewasm` or `~/.cache/prewasm`.
    ///
    /// Without a usable folder, warns and compiles in memory.
    pub fn user() -> Self {
        let variable = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let base = variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache")));
        let Some(folder) = base.map(|base| base.join("prewasm")) else {
            tracing::warn!("neither XDG_CACHE_HOME nor HOME is set: compiled code is not cached");
            return Self::disabled();
        };
        Self::at(&folder).unwrap_or_else(|error| {
            tracing::warn!("compiled code is not cached: `{folder}`: {error}", folder = folder.display());
            Self::disabled()
        })
    }

    /// No cache.
    pub fn disabled() -> Self {
        Self { folder: None }
    }

    /// A cache in `folder`, which is created if it is missing.
    ///
    /// # Errors
    /// If it cannot be created, or others may write to it.
    pub fn at(folder: &Path) -> io::Result<Self> {
        create_private_folder(folder)?;
        Ok(Self { folder: Some(folder.to_owned()) })
    }

    /// Turns an artifact into code: from the cache, or by compiling.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn load(&self, engine: &Engine, artifact: &Artifact, policy: PrecompiledPolicy) -> Result<Code, LoadError> {
        if artifact.kind() == Kind::Precompiled {
            return match policy {
                PrecompiledPolicy::Refuse => Err(LoadError::Untrusted { origin: artifact.origin().to_owned() }),
                PrecompiledPolicy::Trust => deserialize(engine, artifact.bytes())
                    .map_err(|source| LoadError::Precompiled { origin: artifact.origin().to_owned(), source }),
            };
        }
        self.keep(engine, artifact, artifact.bytes(), || precompile(engine, artifact))
    }

    /// Turns an artifact into code without data segments, where they can be taken out, and an image of what they write.
    ///
    /// # Errors
    /// [`LoadError`].
    pub(crate) fn load_pooled(
        &self,
        engine: &Engine,
        pool: &Arc<Pool>,
        artifact: &Artifact,
    ) -> Result<Loaded, LoadError> {
        let program = program(artifact)?;
        let load =
            |program: &[u8]| self.keep(engine, artifact, program, || precompile_program(engine, artifact, program));
        let origin = artifact.origin();
        match lift(&program) {
            Ok(lifted) => {
                let image_error = |source| LoadError::Image { origin: origin.to_owned(), source };
                let memories = pool.imaged(&lifted).map_err(image_error)?;
                Ok(Loaded { code: load(&lifted.wasm)?, memories: Some(memories) })
            }
            Err(reason) => {
                tracing::debug!("`{origin}` writes its data at each start: {reason}");
                Ok(Loaded { code: load(&program)?, memories: Some(pool.blank()) })
            }
        }
    }

    /// Reads the code that was kept for `content`, or makes and keeps it.
    fn keep(
        &self,
        engine: &Engine,
        artifact: &Artifact,
        content: &[u8],
        compile: impl FnOnce() -> Result<Vec<u8>, LoadError>,
    ) -> Result<Code, LoadError> {
        let entry = self.entry(engine, content);
        if let Some(code) = entry.as_deref().and_then(|entry| read_entry(engine, entry)) {
            return Ok(code);
        }
        let compiled = compile()?;
        if let Some(entry) = entry {
            write_entry(&entry, &compiled);
        }
        deserialize(engine, &compiled)
            .map_err(|source| LoadError::Compile { origin: artifact.origin().to_owned(), source })
    }

    /// The file for this content under this engine's version, target and settings.
    fn entry(&self, engine: &Engine, content: &[u8]) -> Option<PathBuf> {
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        let engine_hash = hasher.finish().to_le_bytes();
        let key = sha256([env!("CARGO_PKG_VERSION").as_bytes(), &engine_hash, content]);
        Some(self.folder.as_ref()?.join(format!("{key}.code")))
    }
}

fn read_entry(engine: &Engine, entry: &Path) -> Option<Code> {
    let bytes = fs::read(entry).ok()?;
    let (digest, code) = bytes.split_at_checked(DIGEST)?;
    if sha256([code]).as_bytes() != digest {
        tracing::warn!("recompiling: cache entry `{entry}` is damaged", entry = entry.display());
        return None;
    }
    deserialize(engine, code)
        .inspect_err(|error| tracing::debug!("recompiling: cache entry `{entry}`: {error}", entry = entry.display()))
        .ok()
}

fn write_entry(entry: &Path, compiled: &[u8]) {
    let bytes = [sha256([compiled]).as_bytes().as_slice(), compiled].concat();
    if let Err(error) = write_whole(entry, &bytes) {
        tracing::warn!("compiled code is not cached: {error}: {source}", source = error.source);
    }
}

#[expect(unsafe_code, reason = "loading machine code: see the safety comments")]
fn deserialize(engine: &Engine, bytes: &[u8]) -> wasmtime::Result<Code> {
    match Engine::detect_precompiled(bytes) {
        Some(Precompiled::Module) => {
            // SAFETY: the bytes are Wasmtime's own output. They were compiled by this process, or read from a folder
            // which only this user can write to and checked against their digest, or the user vouched for them.
            // Wasmtime itself rejects other versions and settings.
            unsafe { Module::deserialize(engine, bytes) }.map(Code::Module)
        }
        Some(Precompiled::Component) => {
            // SAFETY: as above.
            unsafe { Component::deserialize(engine, bytes) }.map(Code::Component)
        }
        None => wasmtime::bail!("this is not code compiled by Wasmtime"),
    }
}

impl Code {
    /// What it is, found in the code itself.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Module(module) => {
                let imports = module.imports().map(|import| (import.module(), import.name()));
                Kind::of_module(imports, module.exports().map(|export| export.name()))
            }
            Self::Component(component) => {
                let engine = component.engine();
                let ty = component.component_type();
                let exports: Vec<_> = ty.exports(engine).map(|(name, _)| name.to_owned()).collect();
                Kind::of_component(exports.iter().map(String::as_str))
            }
        }
    }
}

impl std::fmt::Debug for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Module(_) => "Module",
            Self::Component(_) => "Component",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn artifact() -> Artifact {
        Artifact::from_bytes("hello", b"(module (func (export \"_start\")))".to_vec()).expect("valid")
    }

    fn entries(folder: &Path) -> Vec<PathBuf> {
        fs::read_dir(folder).expect("readable").map(|entry| entry.expect("readable").path()).collect()
    }

    #[test]
    fn a_damaged_entry_is_compiled_again() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let cache = CodeCache::at(&folder.path().join("cache")).expect("usable");
        let engine = on_demand(Metering::Off, Concurrency::Off).expect("supported");
        let load = || cache.load(&engine, &artifact(), PrecompiledPolicy::Refuse).expect("valid");
        load();
        let entry = entries(&folder.path().join("cache")).pop().expect("one entry");
        let good = fs::read(&entry).expect("readable");
        for damage in [b"".to_vec(), good[..good.len() - 1].to_vec(), {
            let mut bad = good.clone();
            bad[100] ^= 1;
            bad
        }] {
            fs::write(&entry, &damage).expect("writable");
            load();
            assert_eq!(fs::read(&entry).expect("readable"), good, "mended");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_which_others_can_write_to_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;

        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).expect("ours");
        assert!(CodeCache::at(folder.path()).is_err());
    }

    #[test]
    fn precompiled_code_needs_the_users_word() {
        let compiled = compile(&artifact()).expect("valid");
        let precompiled = Artifact::from_bytes("hello.cwasm", compiled).expect("an ELF file");
        let engine = on_demand(Metering::Off, Concurrency::Off).expect("supported");
        let load = |policy| CodeCache::disabled().load(&engine, &precompiled, policy);
        assert!(matches!(load(PrecompiledPolicy::Refuse), Err(LoadError::Untrusted { .. })));
        assert!(load(PrecompiledPolicy::Trust).is_ok());
    }

    #[test]
    fn every_import_at_fault_is_named() {
        let wat = "(module (import \"a\" \"b\" (func)) (import \"a\" \"c\" (func)) (func (export \"_start\")))";
        let artifact = Artifact::from_bytes("bad", wat.into()).expect("valid");
        let error = compile(&artifact).expect_err("unknown imports").to_string();
        assert!(error.contains("a.b") && error.contains("a.c"), "{error}");
    }
}
