//! Bodies: bounded requests, and answers which a guest is still writing.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use tokio::{runtime::Handle, time::timeout};

use crate::{
    guest::{command::CommandBody, component::ComponentBody, socket::SocketBody},
    respond::Failure,
};

/// How much of a request's body a guest sees at once with its head: public guests take the first short read for the
/// whole request.
const GATHERED: usize = 64 * 1024;

/// How much, and how long, is read of a body which nobody wants.
const LINGER_BYTES: usize = 4 * 1024 * 1024;
const LINGER_TIME: Duration = Duration::from_secs(5);

/// Why a body breaks off; the connection is aborted, so that nobody takes it for complete.
#[derive(Debug, thiserror::Error)]
#[error("the answer breaks off")]
pub(crate) struct BrokenOff;

/// The body of a response.
pub(crate) enum ResponseBody {
    Whole(Full<Bytes>),
    Socket(Box<SocketBody>),
    Command(Box<CommandBody>),
    Component(Box<ComponentBody>),
}

impl ResponseBody {
    pub(crate) fn text(text: String) -> Self {
        Self::Whole(Full::new(text.into()))
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        match self.get_mut() {
            Self::Whole(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            Self::Socket(body) => body.poll_frame(cx),
            Self::Command(body) => body.poll_frame(cx),
            Self::Component(body) => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_end_stream(),
            Self::Socket(body) => body.is_end_stream(),
            Self::Command(body) => body.is_end_stream(),
            Self::Component(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Socket(body) => body.size_hint(),
            Self::Command(_) => SizeHint::default(),
            Self::Component(body) => body.size_hint(),
        }
    }
}

/// A request's body: what has been gathered, and what is still to come.
pub(crate) struct RequestBody {
    gathered: Bytes,
    rest: Option<Incoming>,
    left: u64,
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if let Some(rest) = self.rest.take() {
            linger(rest);
        }
    }
}

/// Reads on for a while where nobody wants the rest of a body. If the connection were closed with bytes unread, the
/// client would be told of a reset, and could lose the answer (RFC 9112, 9.6).
fn linger(mut body: Incoming) {
    if body.is_end_stream() {
        return;
    }
    let drain = async move {
        let mut left = LINGER_BYTES;
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
            if left == 0 {
                return;
            }
        }
    };
    // Without a runtime, the connection is gone already.
    if let Ok(runtime) = Handle::try_current() {
        runtime.spawn(timeout(LINGER_TIME, drain));
    }
}

/// Why a request's body ends early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestBodyError {
    #[error("the request body is larger than permitted")]
    TooLarge,
    #[error(transparent)]
    Read(#[from] hyper::Error),
}

impl RequestBody {
    /// Reads until the body is complete or [`GATHERED`] bytes are there.
    pub(crate) async fn gather(body: Incoming, limit: u64, time: Duration) -> Result<Self, Failure> {
        Self::gather_up_to(body, GATHERED, limit, time).await
    }

    /// Reads the whole body, for programs which must know its length.
    pub(crate) async fn gather_all(body: Incoming, limit: u64, time: Duration) -> Result<Self, Failure> {
        Self::gather_up_to(body, usize::MAX, limit, time).await
    }

    /// Takes the body as it comes.
    pub(crate) fn stream(body: Incoming, limit: u64) -> Result<Self, Failure> {
        if body.size_hint().lower() > limit {
            linger(body);
            return Err(Failure::BodyTooLarge { limit });
        }
        Ok(Self { gathered: Bytes::new(), rest: Some(body), left: limit })
    }

    async fn gather_up_to(body: Incoming, target: usize, limit: u64, time: Duration) -> Result<Self, Failure> {
        if body.is_end_stream() {
            return Ok(Self::empty());
        }
        let mut request = Self::stream(body, limit)?;
        let gathered = timeout(time, request.read_up_to(target, limit)).await;
        request.gathered = gathered.map_err(|_| Failure::BodyTimeout { limit: time })??;
        Ok(request)
    }

    /// Reads until `target` bytes are there, or all.
    async fn read_up_to(&mut self, target: usize, limit: u64) -> Result<Bytes, Failure> {
        let mut gathered = BytesMut::new();
        while let Some(rest) = &mut self.rest
            && gathered.len() < target
        {
            match rest.frame().await {
                // Trailers are not passed on.
                Some(frame) => {
                    let Ok(data) = frame.map_err(Failure::BodyRead)?.into_data() else { continue };
                    self.left = self.left.checked_sub(data.len() as u64).ok_or(Failure::BodyTooLarge { limit })?;
                    gathered.extend_from_slice(&data);
                }
                None => self.rest = None,
            }
            if self.rest.as_ref().is_some_and(Body::is_end_stream) {
                self.rest = None;
            }
        }
        Ok(gathered.freeze())
    }

    /// No body.
    pub(crate) fn empty() -> Self {
        Self { gathered: Bytes::new(), rest: None, left: 0 }
    }

    /// The length, if it is known.
    pub(crate) fn length(&self) -> Option<u64> {
        let rest = self.rest.as_ref().map_or(Some(0), |rest| rest.size_hint().exact())?;
        Some(rest + self.gathered.len() as u64)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        if !self.gathered.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.gathered)))));
        }
        loop {
            let Some(rest) = &mut self.rest else { return Poll::Ready(None) };
            let Some(frame) = std::task::ready!(Pin::new(rest).poll_frame(cx)) else { return Poll::Ready(None) };
            let Ok(data) = frame?.into_data() else { continue };
            let Some(left) = self.left.checked_sub(data.len() as u64) else {
                // What is left of it is read on, as when this is dropped.
                drop(std::mem::replace(&mut *self, Self::empty()));
                return Poll::Ready(Some(Err(RequestBodyError::TooLarge)));
            };
            self.left = left;
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.gathered.is_empty() && self.rest.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.length().map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
