//! Code that the apps of a site share: the same program on the same engine is loaded once.

use std::sync::{Arc, Mutex, PoisonError};

use prewasm_artifact::{Artifact, Kind, Sha256};
use wasmtime::Engine;

use crate::cache::{Code, CodeCache, LoadError, PrecompiledPolicy};

/// What has been loaded while one site is prepared.
pub(crate) struct SharedCode<'a> {
    cache: &'a CodeCache,
    loaded: Mutex<Vec<Entry>>,
}

struct Entry {
    engine: Engine,
    program: Sha256,
    /// Locked while the code is being loaded: others that want it wait instead of compiling it as well.
    code: Arc<Mutex<Option<Code>>>,
}

impl<'a> SharedCode<'a> {
    pub(crate) fn new(cache: &'a CodeCache) -> Self {
        Self { cache, loaded: Mutex::default() }
    }

    /// The artifact's code for this engine.
    ///
    /// # Errors
    /// [`LoadError`].
    pub(crate) fn load(
        &self,
        engine: &Engine,
        artifact: &Artifact,
        policy: PrecompiledPolicy,
    ) -> Result<Code, LoadError> {
        if artifact.kind() == Kind::Precompiled {
            // Whether it may be loaded is another question for each app.
            return self.cache.load(engine, artifact, policy);
        }
        let entry = self.entry(engine, artifact.sha256());
        let mut code = entry.lock().unwrap_or_else(PoisonError::into_inner);
        match &*code {
            Some(code) => Ok(code.clone()),
            None => Ok(code.insert(self.cache.load(engine, artifact, policy)?).clone()),
        }
    }

    fn entry(&self, engine: &Engine, program: Sha256) -> Arc<Mutex<Option<Code>>> {
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
