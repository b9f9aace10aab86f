//! The servers: how each is started, and what it answers.

use std::{
    convert::Infallible,
    env,
    ffi::OsString,
    fs::{self, File},
    net::{SocketAddr, TcpListener, TcpStream as StdStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use http_body_util::Full;
use hyper::{Response, body::Bytes, header, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, sync::mpsc, task::LocalSet};

use crate::{load::Target, locked::locked_version, machine::cores, samples::sample, snapshots};

/// The argument with which this program is the native server.
pub(crate) const NATIVE_HELLO: &str = "native-hello";

/// How long a server may take until it listens: a first start compiles.
const START_TIMEOUT: Duration = Duration::from_secs(120);
/// How often its output is looked at meanwhile.
const LOOK: Duration = Duration::from_micros(200);

/// A server which can be started.
pub(crate) struct Peer {
    server: String,
    guest: String,
    path: &'static str,
    body: &'static str,
    program: PathBuf,
    args: Vec<OsString>,
    folder: PathBuf,
}

/// A server which listens, ended when dropped.
pub(crate) struct Running {
    child: Child,
    pub(crate) address: SocketAddr,
}

/// All servers of the table. Output and caches go to `folder`.
pub(crate) fn all(folder: &Path, wasmtime: Option<&Wasmtime>) -> anyhow::Result<Vec<Peer>> {
    let mut peers = vec![
        Peer {
            server: format!("native hyper {}", locked_version("hyper")?),
            guest: "none".to_owned(),
            path: "/",
            body: "hello\n",
            program: env::current_exe()?,
            args: vec![NATIVE_HELLO.into()],
            folder: folder.to_owned(),
        },
        Peer::prewasm("cgi-hello.wasm", "hello\n", folder),
        Peer::prewasm("hyper-server.wasm", "POST something to /echo\n", folder),
        Peer::frozen("hyper-server", "POST something to /echo\n", folder)?,
        Peer::prewasm("component-hello.wasm", "hello\n", folder),
    ];
    peers.extend(wasmtime.map(Wasmtime::hello));
    Ok(peers)
}

impl Peer {
    fn prewasm(guest: &'static str, body: &'static str, folder: &Path) -> Self {
        Self::serving(&sample(guest), guest.to_owned(), body, folder)
    }

    /// A server frozen where it accepts, after one request.
    fn frozen(name: &str, body: &'static str, folder: &Path) -> anyhow::Result<Self> {
        let file = snapshots::make(folder, name, "frozen", &["--warm-up", "GET /"])?;
        Ok(Self::serving(&file, format!("{name}.wasm, frozen"), body, folder))
    }

    pub(crate) fn serving(file: &Path, guest: String, body: &'static str, folder: &Path) -> Self {
        let server = concat!("prewasm serve ", env!("CARGO_PKG_VERSION")).to_owned();
        Self {
            server,
            guest,
            path: "/",
            body,
            program: PathBuf::from(PREWASM),
            args: serve(file),
            folder: folder.to_owned(),
        }
    }

    /// The same, asked for something else than `/`.
    pub(crate) fn asked_for(self, path: &'static str) -> Self {
        Self { path, ..self }
    }

    pub(crate) fn name(&self) -> String {
        format!("{}, {}", self.server, self.guest)
    }

    pub(crate) fn server(&self) -> &str {
        &self.server
    }

    pub(crate) fn guest(&self) -> &str {
        &self.guest
    }

    /// Starts it and waits until it listens.
    pub(crate) fn start(&self) -> anyhow::Result<Running> {
        start(&self.program, &self.args, &self.folder)
    }

    pub(crate) fn target(&self, server: &Running) -> Target {
        Target { address: server.address, path: self.path, body: self.body }
    }
}

/// The program under test, of the same profile as this one.
pub(crate) const PREWASM: &str = env!("CARGO_BIN_EXE_prewasm");

/// Arguments of `prewasm` to serve `file` on a free port.
pub(crate) fn serve(file: &Path) -> Vec<OsString> {
    vec!["serve".into(), file.into(), "--listen".into(), "127.0.0.1:0".into()]
}

/// Starts a server and waits until it tells its address. Its output goes to a file, its code cache is in `folder`.
pub(crate) fn start(program: &Path, args: &[OsString], folder: &Path) -> anyhow::Result<Running> {
    let log = folder.join("log");
    let output = File::create(&log)?;
    let child = Command::new(program)
        .args(args)
        .env("XDG_CACHE_HOME", folder)
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .spawn()
        .with_context(|| format!("cannot start `{}`", program.display()))?;
    // Ended when dropped, from here on.
    let mut running = Running { child, address: SocketAddr::from(([0; 4], 0)) };
    let start = Instant::now();
    loop {
        let ended = running.child.try_wait()?;
        let output = fs::read_to_string(&log)?;
        if let Some(address) = announced(&output) {
            running.address = address;
            return Ok(running);
        }
        if let Some(status) = ended {
            bail!("`{}` ended with {status} instead of listening:\n{output}", program.display());
        }
        if start.elapsed() > START_TIMEOUT {
            bail!("`{}` does not listen after {START_TIMEOUT:?}:\n{output}", program.display());
        }
        thread::sleep(LOOK);
    }
}

/// The address in a complete line such as `listening on http://127.0.0.1:8080`.
fn announced(output: &str) -> Option<SocketAddr> {
    let (complete, _) = output.rsplit_once('\n')?;
    complete.lines().find_map(|line| line.split_once("http://")?.1.trim_end_matches('/').parse().ok())
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The Wasmtime CLI, if there is one which serves a component.
pub(crate) struct Wasmtime {
    program: PathBuf,
    version: String,
    options: &'static [&'static str],
    folder: PathBuf,
}

impl Wasmtime {
    pub(crate) fn find(folder: &Path) -> Option<Self> {
        let program = PathBuf::from(env::var_os("WASMTIME").unwrap_or_else(|| "wasmtime".into()));
        let Ok(output) = Command::new(&program).arg("--version").output() else {
            eprintln!("`{}` cannot be started: no comparison with it", program.display());
            return None;
        };
        let version = String::from_utf8_lossy(&output.stdout);
        let version = version.split_whitespace().nth(1).unwrap_or("unknown").to_owned();
        // Some builds have no pool of instances, and some machines no room for it.
        let candidates = [&[] as &[_], &["-O", "pooling-allocator=n"]];
        let found = candidates.map(|options| Self {
            program: program.clone(),
            version: version.clone(),
            options,
            folder: folder.to_owned(),
        });
        found.into_iter().find(|candidate| {
            let peer = candidate.hello();
            let started = peer.start();
            if let Err(error) = &started {
                eprintln!("{}: {error:#}", peer.name());
            }
            started.is_ok()
        })
    }

    fn hello(&self) -> Peer {
        self.serving(&sample("component-hello.wasm"), "component-hello.wasm".to_owned(), "hello\n")
    }

    pub(crate) fn serving(&self, file: &Path, guest: String, body: &'static str) -> Peer {
        // `-S cli`: what the standard library of a Rust component imports.
        let mut args: Vec<OsString> = ["serve", "-S", "cli", "--addr", "127.0.0.1:0"].map(Into::into).into();
        args.extend(self.options.iter().map(Into::into));
        args.push(file.into());
        let server = ["wasmtime serve", &self.version].into_iter().chain(self.options.iter().copied());
        Peer {
            server: server.collect::<Vec<_>>().join(" "),
            guest,
            path: "/",
            body,
            program: self.program.clone(),
            args,
            folder: self.folder.clone(),
        }
    }
}

/// hyper without Wasm: a thread with a runtime for each core, as in the gateway.
pub(crate) fn native_hello() -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("listening on http://{}", listener.local_addr()?);
    let workers: Vec<_> = (0..cores())
        .map(|_| {
            let (sender, receiver) = mpsc::unbounded_channel();
            thread::spawn(move || work(receiver));
            sender
        })
        .collect();
    for (stream, worker) in listener.incoming().zip(workers.iter().cycle()) {
        worker.send(stream?).ok().context("a worker has ended")?;
    }
    Ok(())
}

fn work(mut connections: mpsc::UnboundedReceiver<StdStream>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        while let Some(stream) = connections.recv().await {
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            let stream = TokioIo::new(TcpStream::from_std(stream)?);
            // A client which leaves in the middle is none of the server's business.
            tokio::task::spawn_local(http1::Builder::new().serve_connection(stream, service_fn(|_| hello())));
        }
        Ok(())
    })
}

async fn hello() -> Result<Response<Full<Bytes>>, Infallible> {
    let mut response = Response::new(Full::new(Bytes::from_static(b"hello\n")));
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/plain"));
    Ok(response)
}
