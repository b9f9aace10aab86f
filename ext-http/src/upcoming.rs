//! What a host call will be, told before it has any effect.

use prewasm_artifact::Import;
use wasmtime::Val;

use crate::imports::Entry;

/// A host call which the guest is about to make.
#[derive(Clone, Copy, Debug)]
pub struct Upcoming<'a> {
    entry: &'static Entry,
    arguments: &'a [Val],
}

impl<'a> Upcoming<'a> {
    pub(crate) fn new(entry: &'static Entry, arguments: &'a [Val]) -> Self {
        Self { entry, arguments }
    }

    /// The module of the import.
    pub fn module(&self) -> &'static str {
        self.entry.module
    }

    /// The name of the import, which several types may share.
    pub fn name(&self) -> &'static str {
        self.entry.name
    }

    /// Whether this is a call of `import`: module, name and type are the same.
    pub fn is(&self, import: &Import) -> bool {
        self.entry.is(import)
    }

    /// What the guest passed.
    pub fn arguments(&self) -> &'a [Val] {
        self.arguments
    }

    /// Whether the call may change or wait for anything besides the guest's linear memory.
    pub fn has_effect(&self) -> bool {
        self.entry.call.has_effect()
    }
}
