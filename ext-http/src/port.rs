//! Porting: from a program for WasmEdge's sockets to a component for any host of `wasi:http`.
//!
//! ```text
//! program.wasm ── link: trampolines, leaving, recycling ── encode: adapter for preview 1 ──┐
//!                                                                                           ├─ compose
//! shim.wasm (prebuilt, from ext-http/shim) ─────────────── encode ─────────────────────────┘
//! ```
//!
//! The program's socket calls lead to trampolines in the same memory (`trampolines.wat`), which ask the shim, a component
//! of its own; the shim speaks `wasi:http` with the host. For a server, each request runs the program from its start to
//! where it waits for the next connection; there it is left.

mod compose;
mod encode;
mod link;
mod module;
mod plan;
mod setup;

use prewasm_artifact::{Artifact, ArtifactError};

pub use self::{
    link::LinkError,
    plan::{Objection, Plan, Shim, World, plan},
};

/// How a program is ported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortOptions {
    /// `None` is what fits the program.
    pub world: Option<World>,
    /// Whom a request is for.
    pub authority: Authority,
    /// Connections which are not HTTP go through `wasi:sockets`.
    pub with_sockets: bool,
}

/// Whom an outgoing request is for, if a program connects to one host and names another in the request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Authority {
    /// Whom it has connected to; a request which names somebody else is refused.
    #[default]
    Connect,
    /// Whom the request's `host` field names.
    HostHeader,
}

/// A ported program.
#[derive(Clone, Debug)]
pub struct Ported {
    /// The component.
    pub artifact: Artifact,
    /// What was done.
    pub plan: Plan,
}

/// Why a program was not ported.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// It cannot be.
    #[error("`{origin}` cannot be ported:{}", list(objections))]
    Rejected {
        /// The program.
        origin: String,
        /// Everything that stands in the way.
        objections: Vec<Objection>,
    },
    /// It could not be linked with its trampolines.
    #[error("cannot link `{origin}`")]
    Link {
        /// The program.
        origin: String,
        /// What went wrong.
        #[source]
        source: LinkError,
    },
    /// It could not be made a component.
    #[error("cannot make a component of {what}")]
    Encode {
        /// The program, or the shim.
        what: String,
        /// What went wrong.
        #[source]
        source: encode::EncodeError,
    },
    /// What came out is not a component.
    #[error("what came of `{origin}` is not valid; this is a bug")]
    Output {
        /// The program.
        origin: String,
        /// What is wrong.
        #[source]
        source: ArtifactError,
    },
}

fn list(objections: &[Objection]) -> String {
    objections.iter().map(|objection| format!("\n  {objection}")).collect()
}

/// Ports a program. The same program and options give the same bytes.
///
/// # Errors
/// [`PortError`]; nothing has run then, and nothing was written.
pub fn port(artifact: &Artifact, options: &PortOptions) -> Result<Ported, PortError> {
    let origin = artifact.origin();
    let plan =
        plan(artifact, options).map_err(|objections| PortError::Rejected { origin: origin.to_owned(), objections })?;
    let linked =
        link::link(artifact.bytes(), &plan).map_err(|source| PortError::Link { origin: origin.to_owned(), source })?;
    let encode = |what: &str, component: Result<Vec<u8>, encode::EncodeError>| {
        component.map_err(|source| PortError::Encode { what: what.to_owned(), source })
    };
    let program = encode(&format!("`{origin}`"), encode::program(linked, plan.world))?;
    let component = match plan.shim {
        Some(shim) => {
            let shim = encode("the shim", encode::shim(shim))?;
            encode(&format!("`{origin}` and the shim"), compose::compose(program, shim))?
        }
        None => program,
    };
    let artifact = Artifact::from_bytes(origin, component)
        .map_err(|source| PortError::Output { origin: origin.to_owned(), source })?;
    Ok(Ported { artifact, plan })
}

#[cfg(test)]
mod tests;
