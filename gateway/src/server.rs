//! The HTTP edge: one acceptor, a worker per core, and a drain that ends.

use std::{
    io,
    net::{SocketAddr, TcpListener as StdListener, TcpStream as StdStream},
    num::NonZeroUsize,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use http::{HeaderValue, header, uri::Scheme};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::LocalSet,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    admin::Admin,
    cache::CodeCache,
    chain,
    memory::{Choice, ResetError},
    peer::Peer,
    pipeline::{self, Desk},
    prepared::Process,
    reload::Reloader,
    site::{Live, Site, SiteErrors},
    spec::{Loaded, SiteSource},
    turns::Turns,
};

/// Connections which the kernel keeps while all workers are busy.
const BACKLOG: i32 = 1024;
/// Time for a client to send the head of a request, the idle time before it included.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// A pause after the system refused a connection (no descriptors left): it will not have more at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How to serve.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// The address to listen on; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// The address for `/livez` and `/readyz`, if there is to be one.
    pub admin: Option<SocketAddr>,
    /// Threads which serve.
    pub workers: NonZeroUsize,
    /// How long to go on serving, as no longer ready, when told to stop: load balancers need time to notice.
    pub drain_delay: Duration,
    /// How long to wait for running requests after that.
    pub drain: Duration,
    /// Whether another process may listen on the same address.
    pub reuse_port: bool,
    /// Connections open at the same time; any more wait in the kernel.
    pub connections: usize,
    /// Instances alive at the same time, of all apps.
    pub instances: u32,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            admin: None,
            workers: thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            drain_delay: Duration::ZERO,
            drain: Duration::from_secs(30),
            reuse_port: false,
            connections: 10_000,
            instances: 1_000,
        }
    }
}

/// Why nothing is served, or no longer.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The site cannot be served.
    #[error(transparent)]
    Site(#[from] SiteErrors),
    /// The environment asks for a way to make instances as new which there is not.
    #[error(transparent)]
    Reset(#[from] ResetError),
    /// The address cannot be bound.
    #[error("cannot listen on {address}{}", if source.kind() == io::ErrorKind::AddrInUse { "\n  hint: another program listens there; choose another address with `--listen` or `--admin`" } else { "" })]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A thread or a runtime could not be started.
    #[error("cannot start a worker")]
    Worker(#[source] io::Error),
}

/// Serves a site until SIGTERM or SIGINT, then lets running requests finish. On SIGHUP, and when a watched file has
/// changed, the site is loaded from `source` again; requests in flight end on the site they began on.
///
/// `on_listening` is given the address really bound, when everything is ready.
///
/// # Errors
/// [`ServeError`], before the first request.
pub fn serve(
    first: Loaded,
    source: impl SiteSource,
    options: &ServerOptions,
    cache: &CodeCache,
    on_listening: impl FnOnce(SocketAddr),
) -> Result<(), ServeError> {
    // Bound first: a busy port is told before a minute of compiling.
    let listener = bind(options).map_err(|source| ServeError::Listen { address: options.listen, source })?;
    let address = listener.local_addr().map_err(ServeError::Worker)?;
    // Held here as well: guests are interrupted by what it owns, whatever becomes of the thread that reloads.
    let process = Arc::new(Process::new(options.instances, options.workers.get(), vec![address])?);
    match &process.reset {
        Choice { reset, lacks: None } => tracing::info!(%reset, "memory is reset between requests"),
        Choice { reset, lacks: Some(lacks) } => tracing::warn!(%reset, lacks, "memory is reset between requests the slow way"),
    }
    let live = Arc::new(Live::from_pointee(Site::prepare(first.site, &process, cache, None)?));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ServeError::Worker)?;
    let reloader = Reloader::new(source, Arc::clone(&live), Arc::clone(&process), cache.clone(), first.watched);
    runtime.block_on(async {
        let shutdown = terminated().map_err(ServeError::Worker)?;
        let _reloading = reloader.start().map_err(ServeError::Worker)?;
        let listener = TcpListener::from_std(listener).map_err(ServeError::Worker)?;
        let ending = Ending::default();
        if let Some(address) = options.admin {
            let admin = Admin::bind(address).await.map_err(|source| ServeError::Listen { address, source })?;
            tokio::spawn(admin.serve(ending.leaving.clone()));
        }
        run(listener, &live, options, (shutdown, ending), || on_listening(address)).await.map_err(ServeError::Worker)
    })
}

/// How far the end of serving has come.
#[derive(Clone, Debug, Default)]
struct Ending {
    /// The gateway is no longer ready. Connections are closed with their next answer, so that clients go elsewhere.
    leaving: CancellationToken,
    /// No more requests are taken.
    draining: CancellationToken,
}

/// Serves until `shutdown` is done. The caller owns the socket and the signal.
async fn run(
    listener: TcpListener,
    live: &Arc<Live>,
    options: &ServerOptions,
    (shutdown, ending): (impl Future<Output = ()>, Ending),
    on_ready: impl FnOnce(),
) -> io::Result<()> {
    let workers = (0..options.workers.get())
        .map(|index| Worker::start(index, Arc::clone(live), ending.clone(), options.drain))
        .collect::<io::Result<Vec<_>>>()?;
    on_ready();
    let leave = async {
        shutdown.await;
        ending.leaving.cancel();
        if !options.drain_delay.is_zero() {
            tracing::info!(delay = ?options.drain_delay, "leaving: connections are closed with their next answer");
            tokio::time::sleep(options.drain_delay).await;
        }
    };
    tokio::select! {
        () = accept(&listener, &workers, options.connections) => {}
        () = leave => {}
    }
    tracing::info!("draining");
    // No connection is accepted any more; clients that come now go to whoever listens next.
    drop(listener);
    ending.draining.cancel();
    for worker in workers {
        worker.join().await;
    }
    tracing::info!("stopped");
    Ok(())
}

fn bind(options: &ServerOptions) -> io::Result<StdListener> {
    let socket = Socket::new(Domain::for_address(options.listen), Type::STREAM, Some(Protocol::TCP))?;
    // Rebinding after a restart must not wait for old connections; it does not let two programs share the port.
    socket.set_reuse_address(true)?;
    #[cfg(unix)]
    if options.reuse_port {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&options.listen.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

#[cfg(unix)]
fn terminated() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

#[cfg(not(unix))]
fn terminated() -> io::Result<impl Future<Output = ()>> {
    Ok(async {
        let _ = tokio::signal::ctrl_c().await;
    })
}

/// Accepts for ever, and gives each connection to the worker which has the fewest.
async fn accept(listener: &TcpListener, workers: &[Worker], limit: usize) {
    loop {
        let open: usize = workers.iter().map(Worker::load).sum();
        if open >= limit {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        }
        match listener.accept().await {
            Ok((stream, peer)) => {
                let Some(worker) = workers.iter().min_by_key(|worker| worker.load()) else { return };
                worker.send(stream, peer);
            }
            Err(error) if is_clients_fault(&error) => {}
            Err(error) => {
                tracing::error!("cannot accept connections: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn is_clients_fault(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
}

/// A thread with a runtime of its own: a connection, its guests and their memory stay on one core.
struct Worker {
    connections: mpsc::UnboundedSender<(StdStream, SocketAddr)>,
    load: Arc<AtomicUsize>,
    thread: thread::JoinHandle<()>,
}

impl Worker {
    fn start(index: usize, live: Arc<Live>, ending: Ending, limit: Duration) -> io::Result<Self> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let load = Arc::new(AtomicUsize::new(0));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let counted = Arc::clone(&load);
        let thread = thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
            let local = LocalSet::new();
            local.block_on(&runtime, work(index, live, receiver, counted, ending, limit));
        })?;
        Ok(Self { connections: sender, load, thread })
    }

    fn load(&self) -> usize {
        self.load.load(Ordering::Relaxed)
    }

    fn send(&self, stream: TcpStream, peer: SocketAddr) {
        self.load.fetch_add(1, Ordering::Relaxed);
        let sent = stream.into_std().is_ok_and(|stream| self.connections.send((stream, peer)).is_ok());
        if !sent {
            self.load.fetch_sub(1, Ordering::Relaxed);
        }
    }

    async fn join(self) {
        drop(self.connections);
        let joined = tokio::task::spawn_blocking(move || self.thread.join()).await;
        if !matches!(joined, Ok(Ok(()))) {
            tracing::error!("a worker panicked");
        }
    }
}

async fn work(
    index: usize,
    live: Arc<Live>,
    mut connections: mpsc::UnboundedReceiver<(StdStream, SocketAddr)>,
    load: Arc<AtomicUsize>,
    ending: Ending,
    limit: Duration,
) {
    let tasks = TaskTracker::new();
    let (chain, calls) = mpsc::unbounded_channel();
    let turns = Rc::new(Turns::default());
    let filled = Rc::clone(&turns);
    tokio::task::spawn_local(async move { filled.run().await });
    tokio::task::spawn_local(chain::serve(calls, index, Rc::clone(&turns)));
    let desk = Rc::new(Desk { worker: index, chain, turns });
    while let Some((stream, peer)) = connections.recv().await {
        let guard = Counted(Arc::clone(&load));
        let (live, desk, ending) = (Arc::clone(&live), Rc::clone(&desk), ending.clone());
        tasks.spawn_local(async move {
            let _guard = guard;
            match connection(stream, peer) {
                Ok((stream, peer)) => serve_connection(stream, peer, desk, live, ending).await,
                Err(error) => tracing::debug!("connection from {peer}: {error}"),
            }
        });
    }
    tasks.close();
    if tokio::time::timeout(limit, tasks.wait()).await.is_err() {
        tracing::warn!(connections = tasks.len(), "the drain time is over; running requests are aborted");
    }
}

/// Counts a connection until it ends.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn connection(stream: StdStream, client: SocketAddr) -> io::Result<(TcpStream, Peer)> {
    stream.set_nodelay(true)?;
    let local = stream.local_addr()?;
    Ok((TcpStream::from_std(stream)?, Peer { client, local, scheme: Scheme::HTTP }))
}

async fn serve_connection(stream: TcpStream, peer: Peer, desk: Rc<Desk>, live: Arc<Live>, ending: Ending) {
    let client = peer.client;
    let peer = Rc::new(peer);
    let leaving = ending.leaving;
    let service = service_fn(move |request| {
        let (site, peer, desk, leaving) = (live.load_full(), Rc::clone(&peer), Rc::clone(&desk), leaving.clone());
        async move {
            let mut response = pipeline::call(&site, request, &peer, &desk).await;
            if leaving.is_cancelled() {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, std::convert::Infallible>(response)
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    let mut served = std::pin::pin!(served);
    let result = tokio::select! {
        result = served.as_mut() => result,
        () = ending.draining.cancelled() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = result {
        tracing::debug!("connection from {client}: {error}");
    }
}
