//! Commands, served as CGI: the request on standard input, the answer on standard output.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::{Bytes, BytesMut};
use http::Response;
use http_body::Frame;
use http_body_util::{BodyExt as _, Full};
use prewasm_ext_http::{ExtraEnv, HostOptions, Inbound, Input, Network, Outbound, Output};
use tokio::io::AsyncWrite;
use tokio_util::io::StreamReader;

use super::{
    leash::Leash,
    state::{CoreGuest, End},
    task::GuestTask,
};
use crate::{
    admission::Permit,
    body::{BrokenOff, RequestBody, ResponseBody},
    cgi::{self, Answer},
    guest_log::{GuestLog, Stream},
    respond::Failure,
};

/// How much a guest may write before the client has read it, and the largest head of an answer.
const BUFFER: usize = 64 * 1024;

/// What a run of a command leads to.
pub(crate) enum Outcome {
    Respond(Response<ResponseBody>),
    /// A local redirect (RFC 3875, 6.2.2): the request is to be handled again, with this path and query.
    Again(String),
}

/// Serves one request on a fresh instance.
pub(crate) async fn serve(
    guest: CoreGuest,
    outbound: Arc<Outbound>,
    env: ExtraEnv,
    body: RequestBody,
    permit: Permit,
) -> Result<Outcome, Failure> {
    let limits = &guest.app().limits;
    let (timeout, log) = (limits.timeout, limits.log);
    let output = Arc::new(Mutex::new(Buffer::default()));
    let options = HostOptions {
        extra_env: env,
        stdin: input(body),
        stdout: Output::Stream(Box::new(Stdout(Arc::clone(&output)))),
        stderr: GuestLog::output(Stream::Stderr, log),
        network: Network { inbound: Inbound::Denied, outbound },
    };
    let mut task = GuestTask::new(guest.run(options), timeout, permit);
    let answer = poll_fn(|cx| {
        let ended = task.poll(cx).is_ready();
        let head = cgi::parse(&lock(&output).bytes);
        match head {
            Ok(Some(answer)) => Poll::Ready(Ok(answer)),
            Err(what) => Poll::Ready(Err(Failure::BadResponse { what })),
            Ok(None) if ended => Poll::Ready(Err(no_answer(&mut task, &output))),
            Ok(None) if lock(&output).bytes.len() >= BUFFER => {
                Poll::Ready(Err(Failure::BadResponse { what: format!("its head is larger than {BUFFER} bytes") }))
            }
            Ok(None) => Poll::Pending,
        }
    })
    .await?;
    if let Some(failure) = task.take_failure() {
        return Err(failure);
    }
    if let Some(End::Exited(code)) = task.end()
        && code != 0
    {
        tracing::warn!(code, "the command exited with an error after its answer");
    }
    Ok(match answer {
        Answer::LocalRedirect(path) => Outcome::Again(path),
        Answer::Response { response, length } => Outcome::Respond(respond(response, length, task, output)),
    })
}

fn respond(response: Response<()>, head: usize, task: GuestTask, output: Arc<Mutex<Buffer>>) -> Response<ResponseBody> {
    let _ = lock(&output).take_up_to(head);
    let body = if task.end().is_some() {
        ResponseBody::Whole(Full::new(lock(&output).take()))
    } else {
        let deadline = task.deadline();
        ResponseBody::Command(Box::new(CommandBody { task: Leash::new(task, deadline), is_complete: false, output }))
    };
    response.map(|()| body)
}

fn no_answer(task: &mut GuestTask, output: &Mutex<Buffer>) -> Failure {
    if let Some(failure) = task.take_failure() {
        return failure;
    }
    if !lock(output).bytes.is_empty() {
        return Failure::BadResponse { what: "no blank line ends its head".to_owned() };
    }
    let how = match task.end() {
        Some(End::Exited(code)) => format!("exited with code {code}"),
        _ => "ended".to_owned(),
    };
    Failure::NoResponse { how }
}

fn input(body: RequestBody) -> Input {
    if http_body::Body::is_end_stream(&body) {
        return Input::Empty;
    }
    Input::Stream(Box::new(StreamReader::new(body.map_err(io::Error::other).into_data_stream())))
}

/// What a command has written and nobody has taken yet.
#[derive(Default)]
struct Buffer {
    bytes: BytesMut,
    writer: Option<Waker>,
}

impl Buffer {
    fn take(&mut self) -> Bytes {
        let length = self.bytes.len();
        self.take_up_to(length)
    }

    fn take_up_to(&mut self, length: usize) -> Bytes {
        let bytes = self.bytes.split_to(length.min(self.bytes.len())).freeze();
        if let Some(writer) = self.writer.take() {
            writer.wake();
        }
        bytes
    }
}

/// No code runs under the lock that can panic.
fn lock(buffer: &Mutex<Buffer>) -> MutexGuard<'_, Buffer> {
    buffer.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The guest's standard output.
struct Stdout(Arc<Mutex<Buffer>>);

impl AsyncWrite for Stdout {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut buffer = lock(&self.0);
        let room = BUFFER.saturating_sub(buffer.bytes.len());
        if room == 0 && !bytes.is_empty() {
            buffer.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let length = bytes.len().min(room);
        buffer.bytes.extend_from_slice(&bytes[..length]);
        Poll::Ready(Ok(length))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The body of an answer which the command is still writing.
pub(crate) struct CommandBody {
    /// Gone once it has ended, or was broken off.
    task: Leash<GuestTask>,
    is_complete: bool,
    output: Arc<Mutex<Buffer>>,
}

impl CommandBody {
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let Some(progress) = self.task.with(|task| task.poll(cx)) else {
            return Poll::Ready((!self.is_complete).then_some(Err(BrokenOff)));
        };
        let bytes = lock(&self.output).take();
        if !bytes.is_empty() {
            // What it wrote before it failed is sent; then the body breaks off.
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        std::task::ready!(progress);
        match self.task.take().and_then(|mut task| task.take_failure()) {
            Some(failure) => {
                failure.log();
                Poll::Ready(Some(Err(BrokenOff)))
            }
            None => {
                self.is_complete = true;
                Poll::Ready(None)
            }
        }
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.is_complete
    }
}
