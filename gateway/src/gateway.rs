//! The life of a request, in reading order.

use std::{net::SocketAddr, sync::Arc};

use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header, request::Parts};
use http_body::Body as _;
use hyper::body::Incoming;
use prewasm_artifact::{Artifact, HttpVersion, Kind};
use prewasm_ext_http::{DirectoryError, ExtraEnv, Frozen, FrozenError, HostState, Outbound};

use crate::{
    admission::{Admission, Permit},
    app::{App, Mode},
    body::{RequestBody, ResponseBody},
    cache::{Code, CodeCache, LoadError},
    cgi,
    engine::{Metering, Pool, Ticker, on_demand, pooling},
    guest::{
        command::{self, Outcome},
        component::ComponentGuest,
        resident::ResidentGuest,
        socket::{self, remove_hop_by_hop},
        state::{CoreGuest, Rehearsal},
    },
    respond::Failure,
};

/// A command which redirects locally more often than this is taken for a loop.
const MAX_LOCAL_REDIRECTS: usize = 10;
/// Bytes of a page of linear memory.
const PAGE: u64 = 64 * 1024;

/// Why an app cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// It cannot be turned into code.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A directory cannot be opened.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// It is frozen, and its host state cannot be used.
    #[error("cannot resume `{origin}`, which is frozen")]
    Frozen {
        /// The artifact.
        origin: String,
        /// What is wrong.
        #[source]
        source: FrozenError,
    },
    /// It was frozen with a socket of its own, and is none of the kind that gets connections.
    #[error("`{origin}` is a {kind} and was frozen listening on {address}: only socket servers get connections")]
    FrozenListener {
        /// The artifact.
        origin: String,
        /// What it is.
        kind: Kind,
        /// Where it listens.
        address: SocketAddr,
    },
    /// It was frozen with the variables in it which a request is told by.
    #[error(
        "`{origin}` is a CGI command and was frozen after it had read its environment: it would not see the request's\n  hint: freeze it earlier, with `--until import:wasi_snapshot_preview1.environ_sizes_get`"
    )]
    FrozenEnvironment {
        /// The artifact.
        origin: String,
    },
    /// It is not of a kind that can be served.
    #[error("`{origin}` is a {kind}, which cannot be served\n  hint: {hint}")]
    Kind {
        /// The artifact.
        origin: String,
        /// What it is.
        kind: Kind,
        /// What can be served instead.
        hint: &'static str,
    },
    /// Only socket servers have an instance which outlives a request.
    #[error("`{origin}` is a {kind}: only socket servers can be resident\n  hint: leave out `--mode resident`")]
    NotResident {
        /// The artifact.
        origin: String,
        /// What it is.
        kind: Kind,
    },
    /// Its memory is larger than the limit from the start.
    #[error("`{origin}` starts with {needed} bytes of memory, and the limit is {limit}\n  hint: raise `--max-memory`")]
    Memory {
        /// The artifact.
        origin: String,
        /// Bytes of its memories.
        needed: u64,
        /// The limit.
        limit: u64,
    },
    /// It cannot be instantiated, or the system cannot hold the pool.
    #[error(
        "cannot prepare `{origin}`\n  hint: with fewer `--instances` or a smaller `--max-memory` the pool takes less address space"
    )]
    Engine {
        /// The artifact.
        origin: String,
        /// Why.
        #[source]
        source: wasmtime::Error,
    },
    /// The system gives us no thread.
    #[error("cannot start a thread")]
    Thread(#[from] std::io::Error),
}

/// An app, ready to answer requests.
pub struct Gateway {
    guest: Guest,
    app: Arc<App>,
    admission: Admission,
    _ticker: Ticker,
}

/// How the app's requests are served: decided once.
enum Guest {
    Isolated(CoreGuest),
    Resident(ResidentGuest),
    Command(CoreGuest),
    Component(ComponentGuest),
}

/// One request's surroundings.
#[derive(Clone)]
pub struct Connection {
    /// The client's address.
    pub peer: SocketAddr,
    /// Ours.
    pub local: SocketAddr,
    /// The worker's door to the outside.
    pub(crate) outbound: Arc<Outbound>,
}

impl Gateway {
    /// Compiles and links the app.
    ///
    /// # Errors
    /// [`PrepareError`], before anything is served.
    pub fn prepare(app: App, cache: &CodeCache) -> Result<Self, PrepareError> {
        for directory in &app.environment.dirs {
            directory.check()?;
        }
        let origin = app.artifact.origin().to_owned();
        let kind = kind(&app, cache)?;
        check_servable(&app.artifact, kind, app.mode)?;
        let frozen = frozen(&app.artifact, kind)?;
        let memory = check_memory(&app)?;
        let prepare_error = |source| PrepareError::Engine { origin: origin.clone(), source };
        let metering = if app.limits.fuel.is_some() { Metering::Fuel } else { Metering::Off };
        let engine = match app.mode {
            Mode::Resident => on_demand(metering),
            Mode::Auto | Mode::Isolated => {
                let limits = &app.limits;
                pooling(metering, Pool { instances: limits.instances, memory: limits.memory, initial_memory: memory })
            }
        }
        .map_err(prepare_error)?;
        let ticker = Ticker::start(&engine)?;
        let code = cache.load(&engine, &app.artifact, app.precompiled)?;
        let admission = Admission::new(app.limits.instances, app.limits.queue);
        let app = Arc::new(app);
        let guest = link(&code, kind, (&app, frozen), &ticker, prepare_error)?;
        Ok(Self { guest, app, admission, _ticker: ticker })
    }

    /// The app.
    pub fn app(&self) -> &App {
        &self.app
    }

    /// Makes `rounds` instances of an isolated socket server one after the other, without a request, and tells how long
    /// each took; for any other app, and if an instance fails, none. Blocks, on a runtime of its own.
    ///
    /// # Errors
    /// If the system gives us no runtime.
    pub fn rehearse(&self, rounds: usize) -> std::io::Result<Vec<Rehearsal>> {
        let Guest::Isolated(guest) = &self.guest else { return Ok(Vec::new()) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let outbound = Arc::new(Outbound::new(Arc::clone(&self.app.outbound)));
        Ok(runtime.block_on(async {
            let mut times = Vec::with_capacity(rounds);
            for _ in 0..rounds {
                times.extend(socket::rehearse(guest, Arc::clone(&outbound)).await.ok());
            }
            times
        }))
    }

    /// Answers one request: a guest's failure is an answer too.
    pub(crate) async fn call(&self, request: Request<Incoming>, connection: &Connection) -> Response<ResponseBody> {
        self.serve(request, connection).await.unwrap_or_else(|failure| {
            failure.log();
            failure.response()
        })
    }

    /// Answers one request, or tells why there is no answer.
    pub(crate) async fn serve(
        &self,
        request: Request<Incoming>,
        connection: &Connection,
    ) -> Result<Response<ResponseBody>, Failure> {
        if request.method() == Method::CONNECT {
            return Ok(refuse_connect());
        }
        match &self.guest {
            Guest::Isolated(guest) => {
                let (request, permit) = self.admit_gathered(request).await?;
                let outbound = Arc::clone(&connection.outbound);
                socket::serve_isolated(guest.clone(), outbound, request, connection.peer, permit).await
            }
            Guest::Resident(guest) => {
                let (request, permit) = self.admit_gathered(request).await?;
                guest.serve(request, connection.peer, permit).await
            }
            Guest::Command(guest) => self.serve_command(guest, request, connection).await,
            Guest::Component(guest) => {
                let limits = &self.app.limits;
                let (head, body) = request.into_parts();
                let body = RequestBody::stream(body, limits.body)?;
                let permit = self.admit().await?;
                let request = for_guest(Request::from_parts(head, body));
                guest.clone().serve(Arc::clone(&connection.outbound), request, permit).await
            }
        }
    }

    async fn admit(&self) -> Result<Permit, Failure> {
        self.admission.admit().await.map_err(|_| Failure::QueueFull)
    }

    /// A slow client's body is waited for before an instance is taken.
    async fn admit_gathered(&self, request: Request<Incoming>) -> Result<(Request<RequestBody>, Permit), Failure> {
        let limits = &self.app.limits;
        let (head, body) = request.into_parts();
        let body = RequestBody::gather(body, limits.body, limits.timeout).await?;
        let permit = self.admit().await?;
        Ok((for_guest(Request::from_parts(head, body)), permit))
    }

    async fn serve_command(
        &self,
        guest: &CoreGuest,
        request: Request<Incoming>,
        connection: &Connection,
    ) -> Result<Response<ResponseBody>, Failure> {
        let limits = &self.app.limits;
        let (head, body) = request.into_parts();
        let mut head = Arc::new(head);
        let is_known = body.size_hint().exact().is_some();
        let mut body = if is_known {
            RequestBody::stream(body, limits.body)?
        } else {
            // CONTENT_LENGTH must be right (RFC 3875, 4.1.2), so a chunked body is read to its end first.
            RequestBody::gather_all(body, limits.body, limits.timeout).await?
        };
        for _ in 0..=MAX_LOCAL_REDIRECTS {
            let length = body.length().filter(|length| *length > 0);
            let words = cgi::search_words(head.uri.query());
            let env = environment(Arc::clone(&head), length, connection);
            let guest = guest.with_arguments(words);
            let outbound = Arc::clone(&connection.outbound);
            let permit = self.admit().await?;
            match command::serve(guest, outbound, env, body, permit).await? {
                Outcome::Respond(response) => return check_length(response, &head.method),
                Outcome::Again(location) => {
                    let redirected = Arc::make_mut(&mut head);
                    redirected.uri = location.parse().map_err(|_| bad_redirect(&location))?;
                    redirected.method = Method::GET;
                    redirected.headers.remove(header::CONTENT_TYPE);
                    body = RequestBody::empty();
                }
            }
        }
        Err(Failure::BadResponse { what: "it redirects locally without end".to_owned() })
    }
}

/// The meta-variables, made when the command asks for them.
fn environment(head: Arc<Parts>, length: Option<u64>, connection: &Connection) -> ExtraEnv {
    let (peer, local) = (connection.peer, connection.local);
    Box::new(move || cgi::environment(&head, length, peer, local))
}

/// A body which is there whole must be as long as its head says, except that an answer to HEAD has none.
fn check_length(response: Response<ResponseBody>, method: &Method) -> Result<Response<ResponseBody>, Failure> {
    let declared = cgi::declared_length(response.headers()).map_err(|what| Failure::BadResponse { what })?;
    match (declared, response.body().size_hint().exact()) {
        (Some(declared), Some(length)) if declared != length && method != Method::HEAD => {
            Err(Failure::BadResponse { what: format!("its Content-Length is {declared}, its body has {length} bytes") })
        }
        _ => Ok(response),
    }
}

fn bad_redirect(location: &str) -> Failure {
    Failure::BadResponse { what: format!("it redirects to `{}`", location.escape_debug()) }
}

/// The artifact's kind; that of precompiled code is found by looking into it.
fn kind(app: &App, cache: &CodeCache) -> Result<Kind, PrepareError> {
    if app.artifact.kind() != Kind::Precompiled {
        return Ok(app.artifact.kind());
    }
    let origin = || app.artifact.origin().to_owned();
    let engine = on_demand(Metering::Off).map_err(|source| PrepareError::Engine { origin: origin(), source })?;
    Ok(cache.load(&engine, &app.artifact, app.precompiled)?.kind())
}

fn check_servable(artifact: &Artifact, kind: Kind, mode: Mode) -> Result<(), PrepareError> {
    let origin = || artifact.origin().to_owned();
    let hint = match kind {
        Kind::SocketServer => return Ok(()),
        Kind::Command | Kind::HttpComponent(HttpVersion::V02) if mode == Mode::Resident => {
            return Err(PrepareError::NotResident { origin: origin(), kind });
        }
        Kind::Command | Kind::HttpComponent(HttpVersion::V02) => return Ok(()),
        Kind::HttpComponent(HttpVersion::V03) => "components for wasi:http 0.2 can be served",
        Kind::CommandComponent => "run it with `prewasm run`",
        Kind::Reactor | Kind::Component | Kind::Precompiled => {
            "a module must export `_start`, a component a wasi:http handler"
        }
    };
    Err(PrepareError::Kind { origin: origin(), kind, hint })
}

/// The host state of a frozen program, which each of its instances starts with.
fn frozen(artifact: &Artifact, kind: Kind) -> Result<Option<HostState>, PrepareError> {
    let origin = || artifact.origin().to_owned();
    let Some(section) = artifact.frozen() else { return Ok(None) };
    let frozen = Frozen::parse(section).map_err(|source| PrepareError::Frozen { origin: origin(), source })?;
    let address = frozen.host.addresses().next();
    match address {
        Some(address) if kind != Kind::SocketServer => {
            Err(PrepareError::FrozenListener { origin: origin(), kind, address })
        }
        _ if kind == Kind::Command && frozen.environment_read => {
            Err(PrepareError::FrozenEnvironment { origin: origin() })
        }
        _ => Ok(Some(frozen.host)),
    }
}

/// The memory which a module starts with, if it is a module.
fn check_memory(app: &App) -> Result<Option<u64>, PrepareError> {
    let memories = app.artifact.memories();
    let needed = memories.iter().fold(0u64, |sum, memory| sum.saturating_add(memory.minimum.saturating_mul(PAGE)));
    let limit = app.limits.memory;
    if needed > limit {
        return Err(PrepareError::Memory { origin: app.artifact.origin().to_owned(), needed, limit });
    }
    Ok((!memories.is_empty()).then_some(needed))
}

fn link(
    code: &Code,
    kind: Kind,
    (app, frozen): (&Arc<App>, Option<HostState>),
    ticker: &Ticker,
    prepare_error: impl Fn(wasmtime::Error) -> PrepareError,
) -> Result<Guest, PrepareError> {
    Ok(match code {
        Code::Component(component) => {
            Guest::Component(ComponentGuest::new(component, Arc::clone(app), ticker.pulse()).map_err(prepare_error)?)
        }
        Code::Module(module) => {
            let guest = CoreGuest::new(module, Arc::clone(app), frozen, ticker.pulse()).map_err(prepare_error)?;
            match (kind, app.mode) {
                (Kind::SocketServer, Mode::Resident) => Guest::Resident(ResidentGuest::start(guest)?),
                (Kind::SocketServer, _) => Guest::Isolated(guest),
                _ => Guest::Command(guest),
            }
        }
    })
}

/// The request as the guest gets it: HTTP/1.1 in origin form, with a Host, and without what was about the client's
/// connection.
fn for_guest(mut request: Request<RequestBody>) -> Request<RequestBody> {
    if !request.headers().contains_key(header::HOST) {
        let host = request.uri().authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
        let host = host.unwrap_or(HeaderValue::from_static("localhost"));
        request.headers_mut().insert(header::HOST, host);
    }
    // The gateway itself has answered `Expect: 100-continue`.
    request.headers_mut().remove(header::EXPECT);
    remove_hop_by_hop(request.headers_mut());
    if request.uri().authority().is_some() {
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        *request.uri_mut() = path.parse().unwrap_or(Uri::from_static("/"));
    }
    *request.version_mut() = Version::HTTP_11;
    request
}

fn refuse_connect() -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::text("CONNECT is not supported\n".to_owned()));
    *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    response
}
