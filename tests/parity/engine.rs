//! WasmEdge and ours, started in the same way.

use std::{
    env,
    fs::File,
    io::{self, BufRead as _, BufReader, Read, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use crate::program::{Folder, sample};

/// WasmEdge interprets, and machines are busy: longer than anything here takes.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub enum Engine {
    WasmEdge(PathBuf),
    Prewasm(Folder),
}

impl Engine {
    /// WasmEdge, if it is there. Says so if not, or panics if it has to be.
    pub fn wasmedge() -> Option<Self> {
        let program = env::var_os("WASMEDGE").map_or_else(|| PathBuf::from("wasmedge"), PathBuf::from);
        if Command::new(&program).arg("--version").output().is_ok_and(|output| output.status.success()) {
            return Some(Self::WasmEdge(program));
        }
        let required = env::var_os("PREWASM_REQUIRE_WASMEDGE").is_some_and(|value| value == "1");
        let message = format!("`{}` does not run; hint: tools/wasmedge-install DIR", program.display());
        assert!(!required, "{message}");
        // Not by `print!`, which is only shown when a test fails.
        let _ = writeln!(io::stdout(), "skipped: {message}");
        None
    }

    pub fn prewasm() -> Self {
        Self::Prewasm(Folder::new())
    }

    /// The first line of what it says of itself.
    pub fn version(&self) -> String {
        let output = match self {
            Self::WasmEdge(program) => Command::new(program).arg("--version").output(),
            Self::Prewasm(folder) => folder.command(["--version"]).output(),
        };
        let text = String::from_utf8_lossy(&output.expect("it runs").stdout).into_owned();
        // The program's own path stands in front.
        let line = text.lines().next().unwrap_or_default();
        line.rsplit('/').next().unwrap_or_default().to_owned()
    }

    /// Starts a guest. `flags` are what ours needs to allow what WasmEdge always does.
    pub fn start(&self, guest: &str, flags: &[String], env: &[(&str, &str)], args: &[String]) -> Running {
        let file = sample(guest);
        let mut command = match self {
            Self::WasmEdge(program) => Command::new(program),
            Self::Prewasm(folder) => {
                let mut command = folder.command(["run"]);
                command.args(flags);
                command
            }
        };
        for (name, value) in env {
            command.arg("--env").arg(format!("{name}={value}"));
        }
        command.arg(Path::new(&file)).args(args);
        let spawned = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = spawned.expect("the engine starts");
        let stdout = lines(child.stdout.take().expect("piped"));
        let stderr = lines(child.stderr.take().expect("piped"));
        Running { child, stdout: Stream::new(stdout), stderr: Stream::new(stderr) }
    }

    /// Waits until nobody has this port, if the guest will have it itself.
    pub fn await_port(&self, port: u16) {
        if matches!(self, Self::Prewasm(_)) {
            return;
        }
        let started = Instant::now();
        let any = (Ipv4Addr::UNSPECIFIED, port);
        while TcpListener::bind(any).is_err() || UdpSocket::bind(any).is_err() {
            assert!(
                started.elapsed() < PATIENCE,
                "port {port} is in use, and a guest listens on it; hint: end the program which has it"
            );
            thread::yield_now();
        }
    }

    /// Where a guest listens that asked for this port: WasmEdge binds that, ours says what it bound.
    pub fn address(&self, running: &mut Running, port: u16) -> SocketAddr {
        match self {
            Self::WasmEdge(_) => SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            Self::Prewasm(_) => {
                const PREFIX: &str = "prewasm: listening on ";
                let line = running.stderr.wait_for(|line| line.starts_with(PREFIX));
                line.trim_start_matches(PREFIX).parse().expect("an address")
            }
        }
    }
}

/// A guest that runs; ended when dropped.
pub struct Running {
    child: Child,
    pub stdout: Stream,
    pub stderr: Stream,
}

/// All that a guest printed, and how it ended; without a status it was stopped.
pub struct Ended {
    pub stdout: Vec<String>,
    pub stderr: Vec<String>,
    pub status: Option<i32>,
}

impl Running {
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_some()
    }

    /// Waits for the end of a guest that ends by itself.
    pub fn finish(mut self) -> Ended {
        let (stdout, stderr) = (self.stdout.rest(), self.stderr.rest());
        let status = Some(code(self.child.wait().expect("a child")));
        Ended { stdout, stderr, status }
    }

    /// Ends a guest that would go on for ever.
    pub fn stop(mut self) -> Ended {
        let _ = self.child.kill();
        let _ = self.child.wait();
        Ended { stdout: self.stdout.rest(), stderr: self.stderr.rest(), status: None }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The exit code; for a signal, what a shell makes of it.
fn code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt as _;
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).expect("it ended")
}

/// Lines as they come, and those which came.
pub struct Stream {
    coming: Receiver<String>,
    seen: Vec<String>,
}

impl Stream {
    fn new(coming: Receiver<String>) -> Self {
        Self { coming, seen: Vec::new() }
    }

    pub fn wait_for(&mut self, wanted: impl Fn(&str) -> bool) -> String {
        loop {
            let Ok(line) = self.coming.recv_timeout(PATIENCE) else {
                panic!("the guest does not say what it should:\n{}", self.seen.join("\n"));
            };
            self.seen.push(line.clone());
            if wanted(&line) {
                return line;
            }
        }
    }

    /// Everything, to the end.
    fn rest(&mut self) -> Vec<String> {
        loop {
            match self.coming.recv_timeout(PATIENCE) {
                Ok(line) => self.seen.push(line),
                Err(mpsc::RecvTimeoutError::Disconnected) => return std::mem::take(&mut self.seen),
                Err(mpsc::RecvTimeoutError::Timeout) => panic!("the guest does not end:\n{}", self.seen.join("\n")),
            }
        }
    }
}

fn lines(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Guests listen on ports of their own choice: one suite at a time on a machine.
pub struct PortLock(#[expect(dead_code, reason = "held, not used")] Option<File>);

impl PortLock {
    pub fn take() -> Self {
        // Another user's file cannot be opened; then the check for free ports has to do.
        let file = File::create(env::temp_dir().join("prewasm-parity.lock")).ok();
        Self(file.filter(|file| file.lock().is_ok()))
    }
}
