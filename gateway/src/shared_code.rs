//! Code that the apps of a site share: the same program on the same engine is loaded once.

use std::sync::{Arc, Mutex, PoisonError};

use prewasm_artifact::{Artifact, Kind, Sha256};
use wasmtime::Engine;

use crate::{
    cache::{Code, CodeCache, LoadError, Loaded, PrecompiledPolicy},
    engines::Home,
};

/// What has been loaded while one site is prepared.
pub(crate) struct SharedCode<'a> {
    cache: &'a CodeCache,
    loaded: Mutex<Vec<Entry>>,
}

struct Entry {
    engine: Engine,
    program: Sha256,
    /// Locked while the code is being loaded: others that want it wait instead of compiling it as well.
    code: Arc<Mutex<Option<Loaded>>>,
}

impl<'a> SharedCode<'a> {
    pub(crate) fn new(cache: &'a CodeCache) -> Self {
        Self { cache, loaded: Mutex::default() }
    }

    /// The artifact's code, and what its instances take memory from.
    ///
    /// # Errors
    /// [`LoadError`].
    pub(crate) fn load(
        &self,
        home: &Home,
        artifact: &Artifact,
        policy: PrecompiledPolicy,
    ) -> Result<Loaded, LoadError> {
        if artifact.kind() == Kind::Precompiled {
            // Whether it may be loaded is another question for each app.
            return Ok(Loaded { code: self.precompiled(&home.engine, artifact, policy)?, memories: None });
        }
        let entry = self.entry(&home.engine, artifact.sha256());
        let mut loaded = entry.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(loaded) = &*loaded {
            return Ok(loaded.clone());
        }
        let new = match &home.pool {
            Some(pool) => self.cache.load_pooled(&home.engine, pool, artifact)?,
            None => Loaded { code: self.cache.load(&home.engine, artifact, policy)?, memories: None },
        };
        Ok(loaded.insert(new).clone())
    }

    /// Code which the user has compiled.
    ///
    /// # Errors
    /// [`LoadError`].
    pub(crate) fn precompiled(
        &self,
        engine: &Engine,
        artifact: &Artifact,
        policy: PrecompiledPolicy,
    ) -> Result<Code, LoadError> {
        self.cache.load(engine, artifact, policy)
    }

    fn entry(&self, engine: &Engine, program: Sha256) -> Arc<Mutex<Option<Loaded>>> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let known = loaded.iter().find(|entry| entry.program == program && Engine::same(&entry.engine, engine));
        if let Some(entry) = known {
            return Arc::clone(&entry.code);
        }
        let code = Arc::default();
        loaded.push(Entry { engine: engine.clone(), program, code: Arc::clone(&code) });
        code
    }
}
