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
use http_body::{Body, Frame};
use http_body_util::BodyExt as _;
use prewasm_ext_http::{ExtraEnv, HostOptions, Inbound, Input, Network, Output};
use tokio::io::AsyncWrite;
use tokio_util::io::StreamReader;

use super::{Call, core::CoreGuest, leash::Leash, task::GuestTask};
use crate::{
    body::{BrokenOff, RequestBody, ResponseBody, whole},
    cgi::{self, Answer},
    failure::Failure,
    guest_log::{GuestLog, Origin, Stream},
    record::Record,
    store::end::End,
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
pub(crate) async fn serve(guest: CoreGuest, env: ExtraEnv, body: RequestBody, call: Call) -> Result<Outcome, Failure> {
    let Call { permit, outbound, record, .. } = call;
    let limits = &guest.app().limits;
    let (timeout, log) = (limits.timeout, limits.log);
    let output = Arc::new(Mutex::new(Buffer::default()));
    let options = HostOptions {
        extra_env: env,
        stdin: input(body),
        stdout: Output::Stream(Box::new(Stdout(Arc::clone(&output)))),
        stderr: GuestLog::output(Stream::Stderr, log, Origin::Request(Arc::clone(&record))),
        network: Network { inbound: Inbound::Denied, outbound },
    };
    let run = guest.run(options, Some(Arc::clone(&record)));
    let mut task = GuestTask::new(run, timeout, permit, Arc::clone(&record));
    let answer = poll_fn(|cx| {
        let ended = task.poll(cx).is_ready();
        // The guest may write from another thread.
        let head = cgi::parse(lock(&output).look(cx));
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
        record.warn(&format!("the command exited with code {code} after its answer"));
    }
    Ok(match answer {
        Answer::LocalRedirect(path) => Outcome::Again(path),
        Answer::Response { response, length } => Outcome::Respond(respond(response, length, task, output, record)),
    })
}

fn respond(
    response: Response<()>,
    head: usize,
    task: GuestTask,
    output: Arc<Mutex<Buffer>>,
    record: Arc<Record>,
) -> Response<ResponseBody> {
    let _ = lock(&output).take_up_to(head);
    let body: ResponseBody = if task.end().is_some() {
        whole(lock(&output).take())
    } else {
        Box::pin(CommandBody { task: Leash::new(task, record), is_complete: false, output })
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
    if body.is_end_stream() {
        return Input::Empty;
    }
    Input::Stream(Box::new(StreamReader::new(body.map_err(io::Error::other).into_data_stream())))
}

/// What a command has written and nobody has taken yet.
#[derive(Default)]
struct Buffer {
    bytes: BytesMut,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Buffer {
    /// What is there, for a reader who wants to be woken when there is more.
    fn look(&mut self, cx: &Context<'_>) -> &[u8] {
        self.reader = Some(cx.waker().clone());
        &self.bytes
    }

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
        if let Some(reader) = buffer.reader.take()
            && !reader.will_wake(cx.waker())
        {
            reader.wake();
        }
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

impl Body for CommandBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let Some(progress) = self.task.with(|task| task.poll(cx)) else {
            return Poll::Ready((!self.is_complete).then_some(Err(BrokenOff)));
        };
        let bytes = {
            let mut output = lock(&self.output);
            output.look(cx);
            output.take()
        };
        if !bytes.is_empty() {
            // What it wrote before it failed is sent; then the body breaks off.
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        std::task::ready!(progress);
        if self.task.with(|task| task.has_failed()) == Some(true) {
            return Poll::Ready(Some(Err(self.task.break_off())));
        }
        self.task.complete();
        self.is_complete = true;
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.is_complete
    }
}
