//! Socket servers: a connection in memory, hyper's client on our end and the guest on the other.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{Request, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use prewasm_ext_http::{
    HostOptions, Inbound, Input, Network, Outbound, VirtualInbound, VirtualStream, virtual_inbound,
};

use super::{
    AfterAnswer, Call,
    core::{CoreGuest, Rehearsal},
    leash::{Holds, Leash},
    task::GuestTask,
};
use crate::{
    body::{BrokenOff, RequestBody, ResponseBody, whole},
    failure::Failure,
    fields::remove_hop_by_hop,
    guest_log::{GuestLog, Origin, Stream},
    record::Record,
    store::end::End,
};

type Connection = http1::Connection<TokioIo<VirtualStream>, RequestBody>;

/// Serves one request on a fresh instance.
pub(crate) async fn serve_isolated(
    guest: CoreGuest,
    request: Request<RequestBody>,
    call: Call,
) -> Result<Response<ResponseBody>, Failure> {
    let Call { permit, outbound, peer, record, .. } = call;
    let (inbound, connector) = virtual_inbound();
    let stream = connector.connect(peer.client);
    connector.close();
    let timeout = guest.app().limits.timeout;
    let options = options(&guest, inbound, outbound, &Origin::Request(Arc::clone(&record)));
    let run = guest.run(options, Some(Arc::clone(&record)));
    let task = GuestTask::new(run, timeout, permit, Arc::clone(&record));
    exchange(stream, request, task, AfterAnswer::Finish, record).await
}

/// Makes an instance as for a request, and lets it find that nobody connects.
pub(crate) async fn rehearse(guest: &CoreGuest, outbound: Arc<Outbound>) -> Result<Rehearsal, Failure> {
    let (inbound, connector) = virtual_inbound();
    connector.close();
    let origin = Origin::App(Arc::clone(&guest.app().name));
    guest.rehearse(options(guest, inbound, outbound, &origin)).await
}

fn options(guest: &CoreGuest, inbound: VirtualInbound, outbound: Arc<Outbound>, origin: &Origin) -> HostOptions {
    let log = guest.app().limits.log;
    HostOptions {
        extra_env: Box::new(Vec::new),
        stdin: Input::Empty,
        stdout: GuestLog::output(Stream::Stdout, log, origin.clone()),
        stderr: GuestLog::output(Stream::Stderr, log, origin.clone()),
        network: Network { inbound: Inbound::Virtual(inbound), outbound },
    }
}

/// Sends the request over `stream` and waits for the head of the answer, while `guest` runs.
pub(super) async fn exchange(
    stream: VirtualStream,
    request: Request<RequestBody>,
    guest: GuestTask,
    after: AfterAnswer,
    record: Arc<Record>,
) -> Result<Response<ResponseBody>, Failure> {
    let handshake = http1::Builder::new().handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| Failure::BadResponse { what: error.to_string() })?;
    let mut exchange = Exchange { guest, connection: Some(connection) };
    let mut answer = std::pin::pin!(sender.send_request(request).fuse());
    let mut broken = None;
    let response = poll_fn(|cx| {
        exchange.drive(cx);
        match answer.as_mut().poll(cx) {
            Poll::Ready(Ok(response)) => return Poll::Ready(Ok(response)),
            Poll::Ready(Err(error)) => broken = Some(error),
            Poll::Pending => {}
        }
        match &broken {
            // A guest on another thread closes its connection a moment before its end is seen here.
            Some(_) if record.has_failed() && exchange.guest.is_running() => Poll::Pending,
            Some(error) => Poll::Ready(Err(exchange.failure(error))),
            None => match exchange.guest.take_failure() {
                Some(failure) => Poll::Ready(Err(failure)),
                None => Poll::Pending,
            },
        }
    })
    .await?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Failure::BadResponse { what: "it switches protocols, which is not supported".to_owned() });
    }
    if exchange.guest.has_failed() {
        return settle(response, exchange, &record).await;
    }
    Ok(respond(response, exchange, after, record).await)
}

/// The guest has failed, and its head is not sent yet: either the answer is complete all the same, or it is none.
async fn settle(
    response: Response<Incoming>,
    mut exchange: Exchange,
    record: &Record,
) -> Result<Response<ResponseBody>, Failure> {
    let is_framed = is_framed(response.headers());
    let (mut head, body) = response.into_parts();
    let mut body = std::pin::pin!(body.collect());
    let collected = poll_fn(|cx| {
        exchange.poll_connection(cx);
        body.as_mut().poll(cx)
    })
    .await;
    let failure = exchange.guest.take_failure().unwrap_or(Failure::NoResponse { how: "ended".to_owned() });
    match collected {
        Ok(body) if is_framed => {
            record.fail(&failure);
            remove_hop_by_hop(&mut head.headers);
            Ok(Response::from_parts(head, whole(body.to_bytes())))
        }
        _ => Err(failure),
    }
}

/// Whether an answer says where it ends; otherwise it ends where the guest closes.
fn is_framed(headers: &http::HeaderMap) -> bool {
    headers.contains_key(header::CONTENT_LENGTH) || headers.contains_key(header::TRANSFER_ENCODING)
}

/// A short answer is there whole by now; a longer one streams.
async fn respond(
    response: Response<Incoming>,
    mut exchange: Exchange,
    after: AfterAnswer,
    record: Arc<Record>,
) -> Response<ResponseBody> {
    let (mut head, mut incoming) = response.into_parts();
    let is_framed = is_framed(&head.headers);
    remove_hop_by_hop(&mut head.headers);
    let first = poll_fn(|cx| Poll::Ready(exchange.poll_body(&mut incoming, cx))).await;
    let body = match first {
        _ if incoming.is_end_stream() => {
            let bytes = match first {
                Poll::Ready(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
                _ => Bytes::new(),
            };
            let mut exchange = Some(exchange);
            poll_fn(|cx| Poll::Ready(exchange.take().map(|exchange| exchange.complete(after, cx)))).await;
            whole(bytes)
        }
        first => {
            let first = match first {
                Poll::Ready(first) => first,
                Poll::Pending => None,
            };
            let exchange = Leash::new(exchange, record);
            Box::pin(SocketBody { first, exchange, incoming, is_framed, after })
        }
    };
    Response::from_parts(head, body)
}

/// The guest and our end of its connection.
struct Exchange {
    guest: GuestTask,
    connection: Option<Connection>,
}

impl Holds for Exchange {
    fn task(&mut self) -> &mut GuestTask {
        &mut self.guest
    }
}

impl Exchange {
    /// Moves bytes towards the guest, lets it run, and takes what it wrote.
    fn drive(&mut self, cx: &mut Context<'_>) {
        self.poll_connection(cx);
        // Whether it has ended shows in what the connection sees next.
        let _ = self.guest.poll(cx);
        self.poll_connection(cx);
    }

    fn poll_connection(&mut self, cx: &mut Context<'_>) {
        let Some(connection) = &mut self.connection else { return };
        // Its errors are also the answer's, which is where they are dealt with.
        if Pin::new(connection).poll(cx).is_ready() {
            self.connection = None;
        }
    }

    /// The next frame of the answer, after letting the guest run if there is none yet.
    fn poll_body(
        &mut self,
        incoming: &mut Incoming,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match Pin::new(&mut *incoming).poll_frame(cx) {
            Poll::Pending => {
                self.drive(cx);
                Pin::new(incoming).poll_frame(cx)
            }
            ready => ready,
        }
    }

    /// The answer is complete.
    fn complete(self, after: AfterAnswer, cx: &mut Context<'_>) {
        // The guest sees the client leave; it will not be given another.
        drop(self.connection);
        if after == AfterAnswer::Finish {
            self.guest.finish(cx);
        }
    }

    /// Why there is no answer: the guest's own failure says more than the connection's.
    fn failure(&mut self, error: &hyper::Error) -> Failure {
        if let Some(failure) = self.guest.take_failure() {
            return failure;
        }
        if error.is_parse() || error.is_parse_too_large() || error.is_parse_status() {
            return Failure::BadResponse { what: error.to_string() };
        }
        let how = match self.guest.end() {
            Some(End::Exited(code)) => format!("exited with code {code}"),
            Some(End::Returned) => "ended".to_owned(),
            Some(End::ServedOut) | None => "closed the connection".to_owned(),
        };
        Failure::NoResponse { how }
    }
}

/// The body of an answer which the guest is still writing.
pub(crate) struct SocketBody {
    /// What came with the head.
    first: Option<Result<Frame<Bytes>, hyper::Error>>,
    /// Gone once the answer is complete, or broken off.
    exchange: Leash<Exchange>,
    incoming: Incoming,
    is_framed: bool,
    after: AfterAnswer,
}

impl SocketBody {
    /// An answer without framing ends when the guest closes, and a trap closes too.
    fn ends_by_failure(&self) -> bool {
        let has_failed = || self.exchange.with(|exchange| exchange.guest.has_failed()) == Some(true);
        !self.is_framed && (self.exchange.has_failed() || has_failed())
    }

    fn complete(&mut self, cx: &mut Context<'_>) {
        if let Some(exchange) = self.exchange.complete() {
            exchange.complete(self.after, cx);
        }
    }
}

impl Body for SocketBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let this = &mut *self;
        let frame = match this.first.take() {
            Some(first) => Some(first),
            None => match this.exchange.with(|exchange| exchange.poll_body(&mut this.incoming, cx)) {
                Some(frame) => std::task::ready!(frame),
                // Gone because it is complete, or because it was broken off.
                None if this.incoming.is_end_stream() => return Poll::Ready(None),
                None => return Poll::Ready(Some(Err(BrokenOff))),
            },
        };
        match frame {
            Some(Ok(frame)) => {
                if this.incoming.is_end_stream() {
                    this.complete(cx);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(_)) => Poll::Ready(Some(Err(this.exchange.break_off()))),
            None if this.ends_by_failure() => Poll::Ready(Some(Err(this.exchange.break_off()))),
            None => {
                this.complete(cx);
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.first {
            // The rest is known to the other body, but not what has been taken out of it.
            Some(_) => SizeHint::default(),
            None => self.incoming.size_hint(),
        }
    }
}
