//! What became of one request: gathered while it is served, and written once, when the last part of it is dropped.
//!
//! Everything an operator is told about a request comes from here: the line in the log, and what warnings about a guest
//! say of the request they belong to.

use std::{
    fmt,
    net::IpAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use http::{Method, StatusCode, Uri};

use crate::failure::{Failure, Fault};

/// The tracing target of the line that each request leaves.
pub const ACCESS: &str = "prewasm::access";

/// A request's number: unique within the process, and most likely among processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RequestId(u64);

impl RequestId {
    /// The process's part is random, so that lines of two processes in one log can be told apart.
    fn next() -> Self {
        static PROCESS: OnceLock<u32> = OnceLock::new();
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let process = *PROCESS.get_or_init(|| {
            use std::hash::{BuildHasher as _, RandomState};
            let [a, b, c, d, ..] = RandomState::new().hash_one(std::process::id()).to_le_bytes();
            u32::from_le_bytes([a, b, c, d])
        });
        Self(u64::from(process) << 32 | u64::from(COUNT.fetch_add(1, Ordering::Relaxed)))
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Whom a request was routed to.
#[derive(Clone, Debug)]
struct Routed {
    app: Arc<str>,
    route: Arc<str>,
}

/// The record of one request. It is shared by all that work on the request, and written when the last lets go of it.
pub(crate) struct Record {
    id: RequestId,
    method: Method,
    target: Uri,
    client: IpAddr,
    started: Instant,
    routed: OnceLock<Routed>,
    status: AtomicU16,
    /// The answer has been handed over whole.
    complete: AtomicBool,
    failure: OnceLock<Failed>,
    times: [AtomicU64; 4],
    sent: AtomicU64,
    fuel: AtomicU64,
}

/// A failure, in words.
struct Failed {
    what: String,
    cause: Option<String>,
    fault: Fault,
    name: &'static str,
}

/// The stages of a request whose time is taken.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stage {
    /// Waiting for a place among the instances.
    Queue,
    /// Making the instance.
    Instantiate,
    /// From the instance's first instruction to its end, waiting included.
    Guest,
    /// Returning the instance's memory to where the next can have it.
    Reset,
}

impl Record {
    pub(crate) fn new(method: &Method, target: &Uri, client: IpAddr) -> Arc<Self> {
        Arc::new(Self {
            id: RequestId::next(),
            method: method.clone(),
            target: target.clone(),
            client,
            started: Instant::now(),
            routed: OnceLock::new(),
            status: AtomicU16::new(0),
            complete: AtomicBool::new(false),
            failure: OnceLock::new(),
            times: Default::default(),
            sent: AtomicU64::new(0),
            fuel: AtomicU64::new(0),
        })
    }

    /// Notes whose request it is. The first route counts, if a command redirects.
    pub(crate) fn route(&self, app: &Arc<str>, route: &Arc<str>) {
        let _ = self.routed.set(Routed { app: Arc::clone(app), route: Arc::clone(route) });
    }

    /// Notes the answer's status.
    pub(crate) fn status(&self, status: StatusCode) {
        self.status.store(status.as_u16(), Ordering::Relaxed);
    }

    /// Notes that bytes of the answer's body were handed over.
    pub(crate) fn sent(&self, bytes: u64) {
        self.sent.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Notes that the answer was handed over whole.
    pub(crate) fn complete(&self) {
        self.complete.store(true, Ordering::Relaxed);
    }

    /// Whether the answer was handed over whole.
    pub(crate) fn is_complete(&self) -> bool {
        self.complete.load(Ordering::Relaxed)
    }

    /// Notes how long a stage took.
    pub(crate) fn time(&self, stage: Stage, time: Duration) {
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.times[stage as usize].fetch_add(nanoseconds, Ordering::Relaxed);
    }

    /// Notes what an instance took that is gone now: when it was begun to be made, ran its first instruction, and ended,
    /// and the fuel it used.
    pub(crate) fn instance(&self, [begun, started, ended]: [Instant; 3], fuel: u64) {
        self.time(Stage::Instantiate, started - begun);
        self.time(Stage::Guest, ended - started);
        self.time(Stage::Reset, ended.elapsed());
        self.fuel.fetch_add(fuel, Ordering::Relaxed);
    }

    /// Notes a failure. The first counts: others follow from it.
    pub(crate) fn fail(&self, failure: &Failure) {
        self.failure.get_or_init(|| Failed {
            what: failure.to_string(),
            cause: failure.cause(),
            fault: failure.fault(),
            name: failure.name(),
        });
    }

    /// Whether a failure was noted.
    pub(crate) fn has_failed(&self) -> bool {
        self.failure.get().is_some()
    }

    /// Warns about the guest of this request.
    pub(crate) fn warn(&self, what: &str) {
        tracing::warn!(request = %self.id, app = self.app(), method = %self.method, path = self.target.path(), "{what}");
    }

    /// The request's number.
    pub(crate) fn id(&self) -> RequestId {
        self.id
    }

    /// The app's name; empty while it is not known.
    pub(crate) fn app(&self) -> &str {
        self.routed.get().map_or("", |routed| &routed.app)
    }

    fn taken(&self, stage: Stage) -> Duration {
        Duration::from_nanos(self.times[stage as usize].load(Ordering::Relaxed))
    }

    /// How the request ended, in one word.
    fn end(&self) -> &'static str {
        match self.failure.get() {
            Some(failed) => failed.name,
            None if self.is_complete() => "complete",
            None => "client-left",
        }
    }
}

/// Writes a line at a level that macros need to know when compiled.
macro_rules! line {
    ($level:ident, $record:expr, $what:expr) => {
        tracing::$level!(
            target: ACCESS,
            request = %$record.id,
            app = $record.app(),
            route = $record.routed.get().map_or("", |routed| &*routed.route),
            method = %$record.method,
            path = $record.target.path(),
            client = %$record.client,
            status = $record.status.load(Ordering::Relaxed),
            end = $record.end(),
            bytes = $record.sent.load(Ordering::Relaxed),
            total = ?$record.started.elapsed(),
            queue = ?$record.taken(Stage::Queue),
            instantiate = ?$record.taken(Stage::Instantiate),
            guest = ?$record.taken(Stage::Guest),
            reset = ?$record.taken(Stage::Reset),
            fuel = $record.fuel.load(Ordering::Relaxed),
            "{}", $what
        )
    };
}

impl Drop for Record {
    fn drop(&mut self) {
        let Some(failed) = self.failure.get() else {
            line!(debug, self, "answered");
            return;
        };
        let what = match &failed.cause {
            Some(cause) => format!("{}: {cause}", failed.what),
            None => failed.what.clone(),
        };
        match failed.fault {
            Fault::Client => line!(info, self, what),
            Fault::Guest | Fault::Ours => line!(warn, self, what),
        }
    }
}
