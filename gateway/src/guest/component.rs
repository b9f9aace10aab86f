//! Components that handle requests.

pub(crate) mod p2;
mod variables;
