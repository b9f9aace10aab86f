//! Runs a frozen program to its first host call, where it must be what was stopped.

use prewasm_artifact::Artifact;
use prewasm_ext_http::link;
use wasmtime::Instance;

use super::{ENTRY, FreezeError, Subject, capture::Capture, watched::Watched};
use crate::sandbox::{RunError, Sandbox};

/// Compares the host call, memories, globals, tables and the locals of all frames.
pub(super) async fn check(
    sandbox: &Sandbox<'_>,
    artifact: &Artifact,
    frozen: &Subject<'_>,
    stopped: &Capture,
) -> Result<(), FreezeError> {
    let resumed = first_call(sandbox, artifact, frozen).await?;
    let locals = |capture: &Capture| capture.frames.iter().map(|frame| frame.locals.clone()).collect::<Vec<_>>();
    let differs = |what| Err(FreezeError::Differs { what });
    if resumed.call != stopped.call {
        return differs("host call");
    }
    if resumed.state.memories != stopped.state.memories {
        return differs("memories");
    }
    if resumed.state.globals != stopped.state.globals {
        return differs("globals");
    }
    if resumed.state.tables != stopped.state.tables {
        return differs("tables");
    }
    if locals(&resumed) != locals(stopped) {
        return differs("frames");
    }
    Ok(())
}

async fn first_call(sandbox: &Sandbox<'_>, artifact: &Artifact, frozen: &Subject<'_>) -> Result<Capture, FreezeError> {
    let Subject { program, module, linker, .. } = frozen;
    let mut store = sandbox.store(Watched::until_first_call(artifact, program.shape(), sandbox))?;
    let externs = link::externs(linker, &mut store, module).map_err(RunError::Engine)?;
    let run = async {
        let instance = Instance::new_async(&mut store, module, &externs).await?;
        store.data_mut().enter();
        instance.get_typed_func::<(), ()>(&mut store, ENTRY)?.call_async(&mut store, ()).await
    };
    // How it ends is no news: it is stopped.
    let _ = sandbox.within_limits(run).await;
    let stopped = store.data_mut().take_stopped().ok_or(FreezeError::Differs { what: "first host call" })?;
    Ok(stopped?.capture)
}
