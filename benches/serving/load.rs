//! The load generator: keep-alive connections which send one request again and again, and check every answer.

use std::{
    borrow::Cow,
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::settings::Settings;

/// How long an answer may take after the end of the measured time.
const PATIENCE: Duration = Duration::from_secs(10);
/// No server here sends more headers.
const MAX_HEADERS: usize = 32;

/// What is asked, and what the answer must be.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) path: &'static str,
    pub(crate) body: &'static str,
}

/// What one server did in one round.
pub(crate) struct Sample {
    /// From the first request to the last answer.
    pub(crate) elapsed: Duration,
    /// The time of each answer.
    pub(crate) latencies: Vec<Duration>,
    /// Connections which ended with a wrong answer, or none.
    pub(crate) failures: Vec<String>,
}

/// Sends requests for `duration`.
pub(crate) fn run(target: &Target, settings: &Settings, duration: Duration) -> anyhow::Result<Sample> {
    let start = Instant::now();
    let end = start + duration;
    let threads: Vec<_> = (0..settings.threads)
        .map(|index| {
            let target = target.clone();
            let connections = (settings.connections + index) / settings.threads;
            thread::spawn(move || on_one_thread(&target, connections, end))
        })
        .collect();
    let mut sample = Sample { elapsed: Duration::ZERO, latencies: Vec::new(), failures: Vec::new() };
    for thread in threads {
        let Ok(outcomes) = thread.join() else { bail!("the load generator panicked") };
        for outcome in outcomes? {
            sample.latencies.extend(outcome.latencies);
            sample.failures.extend(outcome.failure.map(|error| format!("{error:#}")));
        }
    }
    sample.elapsed = start.elapsed();
    Ok(sample)
}

/// Sends one request on a connection of its own, and gives its answer's body and time.
pub(crate) fn once(address: SocketAddr, path: &str) -> anyhow::Result<(String, Duration)> {
    let runtime = runtime()?;
    let start = Instant::now();
    let body = runtime.block_on(async {
        let exchange = async {
            let mut connection = Connection::open(address, path).await?;
            let answer = connection.exchange().await?;
            ensure!(answer.status == 200, "status {}", answer.status);
            Ok(String::from_utf8_lossy(&answer.body).into_owned())
        };
        tokio::time::timeout(PATIENCE, exchange).await.context("no answer in time")?
    })?;
    Ok((body, start.elapsed()))
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")
}

/// What became of one connection.
struct Outcome {
    latencies: Vec<Duration>,
    failure: Option<anyhow::Error>,
}

fn on_one_thread(target: &Target, connections: usize, end: Instant) -> anyhow::Result<Vec<Outcome>> {
    runtime()?.block_on(async {
        let tasks: Vec<_> = (0..connections).map(|_| tokio::spawn(keep_asking(target.clone(), end))).collect();
        let mut outcomes = Vec::new();
        for task in tasks {
            outcomes.push(task.await?);
        }
        Ok(outcomes)
    })
}

async fn keep_asking(target: Target, end: Instant) -> Outcome {
    let mut latencies = Vec::new();
    let asking = async {
        let mut connection = Connection::open(target.address, target.path).await?;
        while Instant::now() < end {
            let start = Instant::now();
            let answer = connection.exchange().await?;
            ensure!(answer.status == 200, "status {}", answer.status);
            ensure!(*answer.body == *target.body.as_bytes(), "the body is \"{}\"", answer.body.escape_ascii());
            latencies.push(start.elapsed());
        }
        Ok(())
    };
    let result = tokio::time::timeout_at((end + PATIENCE).into(), asking).await;
    let failure = result.unwrap_or_else(|_| Err(anyhow::anyhow!("no answer within {PATIENCE:?}"))).err();
    Outcome { latencies, failure }
}

/// A connection which sends the same request each time.
struct Connection {
    stream: TcpStream,
    request: String,
    received: Vec<u8>,
}

struct Answer<'a> {
    status: u16,
    body: Cow<'a, [u8]>,
    /// Bytes of head and body as they came.
    length: usize,
}

impl Connection {
    async fn open(address: SocketAddr, path: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await.context("cannot connect")?;
        stream.set_nodelay(true)?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n");
        Ok(Self { stream, request, received: Vec::with_capacity(4096) })
    }

    async fn exchange(&mut self) -> anyhow::Result<Answer<'_>> {
        self.received.clear();
        self.stream.write_all(self.request.as_bytes()).await.context("cannot send")?;
        while parse(&self.received)?.is_none() {
            let read = self.stream.read_buf(&mut self.received).await.context("cannot receive")?;
            ensure!(read > 0, "the server closed the connection");
        }
        let answer = parse(&self.received)?.context("an answer has just been there")?;
        ensure!(answer.length == self.received.len(), "bytes follow the answer");
        Ok(answer)
    }
}

/// `None` while the answer is not complete.
fn parse(bytes: &[u8]) -> anyhow::Result<Option<Answer<'_>>> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut head = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head_length) = head.parse(bytes)? else { return Ok(None) };
    let value = |name: &str| head.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
    let rest = &bytes[head_length..];
    let body = if value("transfer-encoding").is_some_and(|header| header.value.eq_ignore_ascii_case(b"chunked")) {
        dechunk(rest)?
    } else {
        let header = value("content-length").context("the answer does not say where it ends")?;
        let length: usize = std::str::from_utf8(header.value)?.parse()?;
        rest.get(..length).map(|body| (Cow::Borrowed(body), length))
    };
    let status = head.code.context("no status")?;
    Ok(body.map(|(body, length)| Answer { status, body, length: head_length + length }))
}

/// The content of a chunked body, and its length as it came.
fn dechunk(bytes: &[u8]) -> anyhow::Result<Option<(Cow<'_, [u8]>, usize)>> {
    let mut content = Vec::new();
    let mut at = 0;
    loop {
        let Ok(size) = httparse::parse_chunk_size(&bytes[at..]) else { bail!("a chunk has no size") };
        let httparse::Status::Complete((offset, size)) = size else { return Ok(None) };
        let start = at + offset;
        let end = start + usize::try_from(size)?;
        let Some(line_end) = bytes.get(end..end + 2) else { return Ok(None) };
        ensure!(line_end == b"\r\n", "a chunk is longer than its size");
        content.extend_from_slice(&bytes[start..end]);
        at = end + 2;
        if size == 0 {
            return Ok(Some((Cow::Owned(content), at)));
        }
    }
}
