//! A running gateway, for tests: the real binary on a free port, ended when dropped.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use reqwest::{Client, Method, RequestBuilder};

/// What is started: `prewasm serve` with further arguments.
pub struct Case {
    command: Command,
}

/// `prewasm serve FILE` on a free port of the loopback interface.
pub fn serve(file: impl AsRef<Path>) -> Case {
    let mut command = Command::new(env!("CARGO_BIN_EXE_prewasm"));
    command.arg("serve").arg(file.as_ref()).env("PREWASM_LISTEN", "127.0.0.1:0");
    Case { command }
}

/// `prewasm serve -c CONFIG`, started in a folder, on a free port of the loopback interface.
#[allow(dead_code, reason = "most test programs serve single files")]
pub fn configured(folder: &Path, config: &str) -> Case {
    let mut command = Command::new(env!("CARGO_BIN_EXE_prewasm"));
    command.current_dir(folder).args(["serve", "-c", config, "--listen", "127.0.0.1:0"]);
    Case { command }
}

/// A guest from `samples/prebuilt/`.
pub fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/prebuilt").join(name).with_extension("wasm")
}

impl Case {
    pub fn args<const N: usize>(mut self, args: [&str; N]) -> Self {
        self.command.args(args);
        self
    }

    /// Chooses the address instead of any that is free.
    #[allow(dead_code, reason = "most test programs take any")]
    pub fn listen(self, address: &str) -> Self {
        self.args(["--listen", address])
    }

    #[allow(dead_code, reason = "most test programs need no variables")]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Starts it and waits until it listens.
    pub fn start(mut self) -> Gateway {
        let spawned = self.command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = spawned.expect("the binary starts");
        let stdout = child.stdout.take().expect("piped");
        let log = follow(child.stderr.take().expect("piped"));
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).expect("readable");
        let Some(address) = line.trim().strip_prefix("listening on http://") else {
            let _ = child.wait();
            panic!("no address in {line:?}; the log says:\n{}", log.lock().expect("no panic"));
        };
        let address = address.parse().expect("an address");
        Gateway { child, address, log, client: client() }
    }
}

/// A client which follows no redirects and keeps connections alive.
fn client() -> Client {
    // A second installation is refused, and changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy();
    builder.timeout(Duration::from_secs(60)).build().expect("a client")
}

/// Collects a program's log while it runs.
fn follow(mut stderr: ChildStderr) -> Arc<Mutex<String>> {
    let log = Arc::new(Mutex::new(String::new()));
    let kept = Arc::clone(&log);
    thread::spawn(move || {
        let mut chunk = [0; 4096];
        while let Ok(length @ 1..) = stderr.read(&mut chunk) {
            kept.lock().expect("no panic").push_str(&String::from_utf8_lossy(&chunk[..length]));
        }
    });
    log
}

/// A running `prewasm serve`.
pub struct Gateway {
    child: Child,
    address: SocketAddr,
    log: Arc<Mutex<String>>,
    client: Client,
}

impl Gateway {
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("http://{}{path}", self.address))
    }

    /// Status and body of `GET path`.
    pub async fn get(&self, path: &str) -> (u16, String) {
        answer(self.request(Method::GET, path)).await
    }

    /// Status and body of `POST path`.
    pub async fn post(&self, path: &str, body: impl Into<reqwest::Body>) -> (u16, String) {
        answer(self.request(Method::POST, path).body(body)).await
    }

    pub fn log(&self) -> String {
        self.log.lock().expect("no panic").clone()
    }

    /// Waits until the log has `text`.
    pub fn wait_for_log(&self, text: &str) {
        let started = Instant::now();
        while !self.log().contains(text) {
            assert!(started.elapsed() < Duration::from_secs(20), "no {text:?} in the log:\n{}", self.log());
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the end of the program.
    pub fn exit_code(mut self) -> Option<i32> {
        self.child.wait().expect("a child").code()
    }
}

/// Status and body of a request which gets a whole answer.
pub async fn answer(request: RequestBuilder) -> (u16, String) {
    let response = request.send().await.expect("an answer");
    let status = response.status().as_u16();
    (status, response.text().await.expect("a whole body"))
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
