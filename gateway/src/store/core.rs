//! Store data of a core module.

use prewasm_ext_http::{Host, HostView};

use super::{Limited, MemoryLimiter};

/// The host's side of one instance of a core module.
pub(crate) struct CoreState {
    pub(crate) host: Host,
    pub(crate) limiter: MemoryLimiter,
}

impl HostView for CoreState {
    fn host(&mut self) -> &mut Host {
        &mut self.host
    }
}

impl Limited for CoreState {
    fn limiter(&mut self) -> &mut MemoryLimiter {
        &mut self.limiter
    }
}
