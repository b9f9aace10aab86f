//! Hosts of components: ours, and the stock ones which are there.

use std::{
    env,
    ffi::OsStr,
    io::{self, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Command,
};

use reqwest::{Client, redirect::Policy};
use tempfile::TempDir;

use crate::process::{Ended, PATIENCE, Process};

/// A port that was free a moment ago may be taken by somebody else.
const ATTEMPTS: usize = 3;

pub struct Host {
    kind: Kind,
    program: PathBuf,
    /// Where its caches go.
    folder: TempDir,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Prewasm,
    Wasmtime,
    Jco,
}

/// What becomes of an instance after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instances {
    Fresh,
    /// It gets the next one.
    Reused,
}

/// A host which serves, ended when dropped.
pub struct Server {
    pub process: Process,
    pub address: SocketAddr,
}

impl Host {
    pub fn prewasm() -> Self {
        Self::new(Kind::Prewasm, PathBuf::from(env!("CARGO_BIN_EXE_prewasm")))
    }

    /// Ours and the stock ones. Says which are not there, or panics if `PREWASM_REQUIRE_HOSTS` names them.
    pub fn all() -> Vec<Self> {
        let mut all = vec![Self::prewasm()];
        all.extend(Self::found(Kind::Wasmtime, "WASMTIME", "wasmtime"));
        all.extend(Self::found(Kind::Jco, "JCO", "jco"));
        all
    }

    fn found(kind: Kind, variable: &str, name: &str) -> Option<Self> {
        let program = env::var_os(variable).map_or_else(|| PathBuf::from(name), PathBuf::from);
        if Command::new(&program).arg("--version").output().is_ok_and(|output| output.status.success()) {
            return Some(Self::new(kind, program));
        }
        let required = env::var("PREWASM_REQUIRE_HOSTS").unwrap_or_default();
        let message = format!("`{}` does not run; hint: tools/hosts-install DIR {name}", program.display());
        assert!(!required.split(',').any(|required| required == name), "{message}");
        // Not by `print!`, which is only shown when a test fails.
        let _ = writeln!(io::stdout(), "skipped: {message}");
        None
    }

    fn new(kind: Kind, program: PathBuf) -> Self {
        Self { kind, program, folder: TempDir::new().expect("a temporary folder") }
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What it can do with instances. Ours reuses none.
    pub fn instances(&self) -> &'static [Instances] {
        match self.kind {
            Kind::Prewasm => &[Instances::Fresh],
            Kind::Wasmtime | Kind::Jco => &[Instances::Fresh, Instances::Reused],
        }
    }

    /// Serves a file, which may call out to loopback.
    pub fn serve(&self, file: &Path, instances: Instances) -> Server {
        let mut said = String::new();
        for _ in 0..ATTEMPTS {
            let mut process = Process::start(&mut self.serving(file, instances));
            if let Some(address) = process.wait_for(announced) {
                return Server { process, address };
            }
            said = process.said();
        }
        panic!("{:?} does not serve {}:\n{said}", self.kind, file.display());
    }

    fn serving(&self, file: &Path, instances: Instances) -> Command {
        let mut command = self.command();
        command.arg("serve");
        match (self.kind, instances) {
            (Kind::Prewasm, _) => {
                command.args(["--listen", "127.0.0.1:0", "--allow-outbound=*://127.0.0.1:*"]);
            }
            (Kind::Wasmtime, instances) => {
                command.args(["--addr", "127.0.0.1:0"]);
                if instances == Instances::Reused {
                    command.args(["--max-instance-reuse-count", "1000000"]);
                }
            }
            (Kind::Jco, instances) => {
                // It does not tell which port it got, if it is to choose one.
                command.args(["--host", "127.0.0.1", "--port", &free_port().to_string()]);
                if instances == Instances::Fresh {
                    command.args(["--isolate-requests", "instance"]);
                }
            }
        }
        command.arg(file);
        command
    }

    /// Runs a command to its end. `flags` are for ours alone.
    pub fn run(&self, file: &Path, flags: &[String], args: &[impl AsRef<OsStr>]) -> Ended {
        let mut command = self.command();
        command.arg("run");
        match self.kind {
            Kind::Prewasm => command.args(["--quiet", "--timeout=60s"]).args(flags),
            Kind::Wasmtime => command.args(["-S", "http,tcp,inherit-network", "-W", "timeout=60s"]),
            Kind::Jco => &mut command,
        };
        command.arg(file).args(args);
        Process::start(&mut command).finish()
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.env("XDG_CACHE_HOME", self.folder.path()).env("TMPDIR", self.folder.path());
        command
    }
}

/// The address in what a host says when it listens: `listening on http://ADDRESS`, `Serving HTTP on http://ADDRESS/`,
/// `Server listening @ ADDRESS...`.
fn announced(line: &str) -> Option<SocketAddr> {
    let (_, address) = line.split_once("http://").or_else(|| line.split_once("listening @ "))?;
    address.trim_end_matches(['/', '.']).parse().ok()
}

pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback");
    listener.local_addr().expect("bound").port()
}

/// A client which follows no redirects, and makes a connection for each request: a host may close one whose request it
/// has not read to its end.
pub fn client() -> Client {
    // A second installation is refused, and changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = Client::builder().redirect(Policy::none()).no_proxy().pool_max_idle_per_host(0);
    builder.timeout(PATIENCE).build().expect("a client")
}
