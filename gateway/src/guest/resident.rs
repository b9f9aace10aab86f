//! Resident socket servers: one long-lived instance behind connections in memory.

use std::{
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use http::{Request, Response};
use prewasm_ext_http::{Connector, HostOptions, Inbound, Input, Network, Outbound, VirtualInbound, virtual_inbound};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{AfterAnswer, Call, core::CoreGuest, socket::exchange, task::GuestTask};
use crate::{
    body::{RequestBody, ResponseBody},
    failure::Failure,
    guest_log::{GuestLog, Origin, Stream},
};

/// An instance which ends sooner than this after its start is started again with a pause.
const SHORT_LIFE: Duration = Duration::from_secs(1);
/// The pause, doubled each time up to the second value.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// A socket server whose instance outlives requests. It has a thread of its own, so that requests which keep it busy
/// do not keep others waiting on the same worker.
pub(crate) struct ResidentGuest {
    running: Arc<Running>,
    timeout: Duration,
}

/// The instance runs until this is dropped: by the app, and by the last request which it is still answering.
struct Running {
    shared: Arc<Shared>,
    stop: CancellationToken,
}

struct Shared {
    /// The door to the present instance.
    connector: Mutex<Connector>,
    /// Asks for a new instance: the present one hangs.
    restart: Notify,
}

impl ResidentGuest {
    /// Starts the instance.
    pub(crate) fn start(guest: CoreGuest) -> std::io::Result<Self> {
        let (inbound, connector) = virtual_inbound();
        let shared = Arc::new(Shared { connector: Mutex::new(connector), restart: Notify::new() });
        let timeout = guest.app().limits.timeout;
        let stop = CancellationToken::new();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (held, stopped) = (Arc::clone(&shared), stop.clone());
        thread::Builder::new().name("resident".to_owned()).spawn(move || {
            runtime.block_on(stopped.run_until_cancelled(keep_running(&guest, &held, inbound)));
        })?;
        Ok(Self { running: Arc::new(Running { shared, stop }), timeout })
    }

    /// Serves one request on a connection of its own.
    pub(crate) async fn serve(
        &self,
        request: Request<RequestBody>,
        call: Call,
    ) -> Result<Response<ResponseBody>, Failure> {
        let Call { permit, peer, record, .. } = call;
        let connector = self.running.shared.connector.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let stream = connector.connect(peer.client);
        // The guest runs elsewhere; what is watched here is the time.
        let running = Arc::clone(&self.running);
        let never = async move {
            let _running = running;
            std::future::pending().await
        };
        let watch = GuestTask::new(never, self.timeout, permit, Arc::clone(&record));
        let result = exchange(stream, request, watch, AfterAnswer::Leave, record).await;
        if matches!(result, Err(Failure::Deadline { .. })) && connector.since_last_wait() > self.timeout / 2 {
            // It is not just busy with others: it has not come back for a connection in a long time.
            self.running.shared.restart.notify_one();
        }
        result
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn keep_running(guest: &CoreGuest, shared: &Shared, mut inbound: VirtualInbound) {
    let app = &*guest.app().name;
    let mut pause = FIRST_PAUSE;
    loop {
        let started = Instant::now();
        let ended = tokio::select! {
            result = guest.clone().run(options(guest, inbound), None) => Some(result),
            () = shared.restart.notified() => None,
        };
        // Requests from here on wait for the next instance.
        let (next, connector) = virtual_inbound();
        *shared.connector.lock().unwrap_or_else(PoisonError::into_inner) = connector;
        inbound = next;
        match ended {
            Some(Ok(end)) => tracing::warn!(app, ?end, "the resident guest ended; it is started again"),
            Some(Err(failure)) => {
                let cause = failure.cause().unwrap_or_default();
                tracing::warn!(app, cause, "{failure}; the resident guest is started again");
            }
            None => tracing::warn!(app, "the resident guest hangs; it is started again"),
        }
        if started.elapsed() < SHORT_LIFE {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        } else {
            pause = FIRST_PAUSE;
        }
    }
}

fn options(guest: &CoreGuest, inbound: VirtualInbound) -> HostOptions {
    let outbound = Arc::new(Outbound::new(Arc::clone(&guest.app().outbound)));
    let origin = Origin::App(Arc::clone(&guest.app().name));
    HostOptions {
        extra_env: Box::new(Vec::new),
        stdin: Input::Empty,
        // A resident guest is not bounded by requests, and neither is its log.
        stdout: GuestLog::output(Stream::Stdout, usize::MAX, origin.clone()),
        stderr: GuestLog::output(Stream::Stderr, usize::MAX, origin),
        network: Network { inbound: Inbound::Virtual(inbound), outbound },
    }
}
