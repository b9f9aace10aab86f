//! What there is on systems without a record of written pages: nothing.

use std::{io, sync::Arc};

use wasmtime::Config;

use super::lift::Lifted;

/// This is not Linux.
#[derive(Debug, thiserror::Error)]
#[error("it is not Linux")]
pub(crate) struct Unsupported;

/// Finds out whether a pool can be made.
///
/// # Errors
/// [`Unsupported`].
pub(crate) fn trial() -> Result<(), Unsupported> {
    Err(Unsupported)
}

/// A pool that cannot be made.
pub(crate) enum Pool {}

/// Memories from such a pool.
pub(crate) enum Memories {}

impl Pool {
    /// # Errors
    /// [`Unsupported`].
    pub(crate) fn new(_: usize, _: usize) -> Result<Arc<Self>, Unsupported> {
        Err(Unsupported)
    }

    pub(crate) fn configure(self: &Arc<Self>, _: &mut Config) {
        match **self {}
    }

    pub(crate) fn imaged(self: &Arc<Self>, _: &Lifted<'_>) -> io::Result<Arc<Memories>> {
        match **self {}
    }

    pub(crate) fn blank(self: &Arc<Self>) -> Arc<Memories> {
        match **self {}
    }
}

/// Makes an instance.
pub(crate) async fn within<F: Future>(_: Option<&Arc<Memories>>, future: F) -> F::Output {
    future.await
}
