//! Many apps in one gateway: memory, start-up, and what the others see of one that is flooded:
//! `cargo bench --bench apps`.
//!
//! Every app is its own copy of `cgi-hello`, so that nothing is shared but the gateway. The quiet apps are asked at a
//! fixed rate (open loop: a late answer does not delay the next request), with and without a flood of the first app.
//! Each answer is checked.
//!
//! | Variable | Default | Meaning |
//! |---|---|---|
//! | `PREWASM_BENCH_APPS` | 200 | apps |
//! | `PREWASM_BENCH_SECONDS` | 5 | measured time, of each part |
//! | `PREWASM_BENCH_CONNECTIONS` | 64 | connections that flood the first app |
#![expect(clippy::print_stdout, reason = "the table is the result")]

#[path = "../shared/machine.rs"]
mod machine;
#[path = "../shared/percentile.rs"]
#[expect(dead_code, reason = "medians are for other benchmarks")]
mod percentile;
#[path = "../shared/samples.rs"]
mod samples;
#[path = "../shared/variable.rs"]
mod variable;

use std::{
    env,
    fmt::Write as _,
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use percentile::percentile;

/// Requests per second to the quiet apps, all together.
const RATE: u32 = 200;

fn main() -> anyhow::Result<()> {
    // `cargo test --all-targets` starts benchmarks as if they were tests.
    if !env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let apps: usize = variable::variable("PREWASM_BENCH_APPS", 200)?;
    let seconds: u64 = variable::variable("PREWASM_BENCH_SECONDS", 5)?;
    let connections: usize = variable::variable("PREWASM_BENCH_CONNECTIONS", 64)?;
    ensure!(apps >= 2, "there must be an app to flood, and others");
    println!("{}; {apps} apps, {connections} connections that flood the first", machine::describe());

    let folder = tempfile::tempdir().context("no temporary folder")?;
    write_apps(folder.path(), apps)?;
    // Compiles each; the second start finds the code in the cache.
    let cold = Gateway::start(folder.path())?.start_up;
    let gateway = Gateway::start(folder.path())?;
    println!("start-up: {cold:.1?} with an empty cache, {:.1?} with a warm one", gateway.start_up);
    println!("resident memory, idle: {} MiB", gateway.resident()? / 1024);

    let duration = Duration::from_secs(seconds);
    let quiet = Figures::of(ask_at_rate(gateway.address, apps, duration)?);
    let flood = Flood::start(gateway.address, connections)?;
    let flooded = Figures::of(ask_at_rate(gateway.address, apps, duration)?);
    let floods = flood.stop(duration)?;
    println!("\n| the other apps | p50 | p99 |\n|---|---:|---:|");
    println!("| quiet | {:.1?} | {:.1?} |", quiet.p50, quiet.p99);
    println!("| while one is flooded ({floods:.0} answers per second) | {:.1?} | {:.1?} |", flooded.p50, flooded.p99);
    let ratio = |a: Duration, b: Duration| a.as_secs_f64() / b.as_secs_f64();
    println!("| ratio | {:.2} | {:.2} |", ratio(flooded.p50, quiet.p50), ratio(flooded.p99, quiet.p99));
    println!("resident memory, after: {} MiB", gateway.resident()? / 1024);
    Ok(())
}

fn write_apps(folder: &Path, apps: usize) -> anyhow::Result<()> {
    let program = fs::read(samples::sample("cgi-hello.wasm"))?;
    let mut config = String::new();
    for app in 0..apps {
        // A custom section makes it a program of its own: an empty name, and the app's number.
        let number = u16::try_from(app)?.to_le_bytes();
        let copy = [program.as_slice(), &[0, 4, 1, b'n', number[0], number[1]]].concat();
        fs::write(folder.join(format!("app-{app}.wasm")), copy)?;
        writeln!(config, "[[app]]\nname = \"app-{app}\"\nsource = \"app-{app}.wasm\"\nroutes = [\"/{app}/...\"]")?;
    }
    fs::write(folder.join("prewasm.toml"), config)?;
    Ok(())
}

/// A running gateway, ended when dropped.
struct Gateway {
    child: Child,
    address: SocketAddr,
    start_up: Duration,
}

impl Gateway {
    fn start(folder: &Path) -> anyhow::Result<Self> {
        let begin = Instant::now();
        let mut child = Command::new(env!("CARGO_BIN_EXE_prewasm"))
            .args(["-q", "serve", "-c", "prewasm.toml", "--listen", "127.0.0.1:0"])
            .current_dir(folder)
            .env("XDG_CACHE_HOME", folder.join("cache"))
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the gateway")?;
        let mut line = String::new();
        let stdout = child.stdout.take().context("no standard output")?;
        BufReader::new(stdout).read_line(&mut line)?;
        let start_up = begin.elapsed();
        let Some(address) = line.trim().strip_prefix("listening on http://") else {
            bail!("it does not listen: {line}")
        };
        Ok(Self { address: address.parse()?, child, start_up })
    }

    /// KiB of resident memory.
    fn resident(&self) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Figures {
    p50: Duration,
    p99: Duration,
}

impl Figures {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self { p50: percentile(&times, 50), p99: percentile(&times, 99) }
    }
}

/// Asks the apps but the first in turn. A time begins when the request was due.
fn ask_at_rate(address: SocketAddr, apps: usize, duration: Duration) -> anyhow::Result<Vec<Duration>> {
    let mut connection = Connection::open(address)?;
    let begin = Instant::now();
    let mut times = Vec::new();
    for request in 0.. {
        let due = begin + Duration::from_secs(1) * request / RATE;
        if due > begin + duration {
            break;
        }
        thread::sleep(due.saturating_duration_since(Instant::now()));
        connection.ask(1 + request as usize % (apps - 1))?;
        times.push(due.elapsed());
    }
    Ok(times)
}

/// Connections that ask the first app as fast as they can. They share one thread, so that it is the gateway which is
/// busy, and not the load.
struct Flood {
    stop: Arc<AtomicBool>,
    answers: Arc<AtomicU64>,
    thread: thread::JoinHandle<anyhow::Result<()>>,
}

impl Flood {
    fn start(address: SocketAddr, connections: usize) -> anyhow::Result<Self> {
        let (stop, answers) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&answers));
        let thread = thread::spawn(move || {
            runtime.block_on(async {
                let tasks: Vec<_> = (0..connections)
                    .map(|_| tokio::spawn(keep_asking(address, Arc::clone(&stopped), Arc::clone(&counted))))
                    .collect();
                for task in tasks {
                    task.await??;
                }
                Ok(())
            })
        });
        Ok(Self { stop, answers, thread })
    }

    /// Answers per second.
    fn stop(self, duration: Duration) -> anyhow::Result<f64> {
        let answers = self.answers.load(Ordering::Relaxed);
        self.stop.store(true, Ordering::Relaxed);
        let Ok(result) = self.thread.join() else { bail!("the flood panicked") };
        result?;
        Ok(answers as f64 / duration.as_secs_f64())
    }
}

async fn keep_asking(address: SocketAddr, stop: Arc<AtomicBool>, answers: Arc<AtomicU64>) -> anyhow::Result<()> {
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; 4096];
    while !stop.load(Ordering::Relaxed) {
        stream.write_all(request(0).as_bytes()).await?;
        let mut length = 0;
        while !is_whole(&buffer[..length])? {
            let read = stream.read(&mut buffer[length..]).await?;
            ensure!(read > 0, "the connection was closed");
            length += read;
        }
        answers.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

fn request(app: usize) -> String {
    format!("GET /{app}/ HTTP/1.1\r\nHost: a\r\n\r\n")
}

/// Whether an answer is there whole: `hello` behind a head, or in one chunk, if the guest's epoch was over between its
/// answer and its end.
fn is_whole(answer: &[u8]) -> anyhow::Result<bool> {
    ensure!(answer.len() < 4096, "{}", answer.escape_ascii());
    let ends = [b"\r\n\r\nhello\n".as_slice(), b"\r\n\r\n6\r\nhello\n\r\n0\r\n\r\n"];
    let is_whole = ends.iter().any(|end| answer.ends_with(end));
    ensure!(!is_whole || answer.starts_with(b"HTTP/1.1 200 "), "{}", answer.escape_ascii());
    Ok(is_whole)
}

/// A connection that is kept alive.
struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        Ok(Self { stream, buffer: vec![0; 4096] })
    }

    /// One request, and its whole answer.
    fn ask(&mut self, app: usize) -> anyhow::Result<()> {
        self.stream.write_all(request(app).as_bytes())?;
        let mut length = 0;
        while !is_whole(&self.buffer[..length])? {
            let read = self.stream.read(&mut self.buffer[length..])?;
            ensure!(read > 0, "the connection was closed");
            length += read;
        }
        Ok(())
    }
}
