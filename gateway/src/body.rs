//! Bodies: bounded requests, and answers which a guest is still writing.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};
use tokio::{runtime::Handle, time::timeout};

use crate::{
    failure::{BoxError, Failure},
    record::Record,
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

/// The body of a response: ready bytes, a file, or what a guest is still writing. It stays on its worker's thread.
pub(crate) type ResponseBody = Pin<Box<dyn Body<Data = Bytes, Error = BrokenOff>>>;

/// A body that is known as a whole.
pub(crate) fn whole(bytes: impl Into<Bytes>) -> ResponseBody {
    Box::pin(Full::new(bytes.into()).map_err(|never| match never {}))
}

/// A body whose bytes are counted as they are handed over. It keeps the record open until it is dropped, and the record
/// says that the client has left if that is before its end.
pub(crate) struct Counted {
    body: ResponseBody,
    record: Arc<Record>,
    /// Bytes to come, if the head says how many.
    left: Option<u64>,
}

impl Counted {
    /// The body of an answer that declares this length, if it does.
    pub(crate) fn new(body: ResponseBody, declared: Option<u64>, record: Arc<Record>) -> Self {
        Self { body, record, left: declared }
    }
}

impl Body for Counted {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let frame = std::task::ready!(self.body.as_mut().poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            let length = frame.data_ref().map_or(0, |data| data.len() as u64);
            self.record.sent(length);
            self.left = self.left.map(|left| left.saturating_sub(length));
        }
        // What declares its length is not asked for more than that.
        if frame.is_none() || self.left == Some(0) || self.body.is_end_stream() {
            self.record.complete();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Where a request's body comes from: a connection, or memory.
type Source = UnsyncBoxBody<Bytes, BoxError>;

/// A request's body: what has been gathered, and what is still to come.
pub(crate) struct RequestBody {
    gathered: Bytes,
    rest: Option<Source>,
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
fn linger(mut body: Source) {
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
    Read(#[from] BoxError),
}

impl RequestBody {
    /// A body as it comes, of any size.
    pub(crate) fn new<B>(body: B) -> Self
    where
        B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        if body.is_end_stream() {
            return Self::empty();
        }
        Self { gathered: Bytes::new(), rest: Some(body.map_err(Into::into).boxed_unsync()), left: u64::MAX }
    }

    /// Refuses more than `limit` bytes: at once if the head says how many there are, else when they come.
    pub(crate) fn limit(mut self, limit: u64) -> Result<Self, Failure> {
        self.left = limit;
        // Dropped, it is read on for a while.
        if self.size_hint().lower() > limit { Err(Failure::BodyTooLarge { limit }) } else { Ok(self) }
    }

    /// Reads until the body is complete or [`GATHERED`] bytes are there.
    pub(crate) async fn gather(self, limit: u64, time: Duration) -> Result<Self, Failure> {
        self.gather_up_to(GATHERED, limit, time).await
    }

    /// Reads the whole body, for programs which must know its length.
    pub(crate) async fn gather_all(self, limit: u64, time: Duration) -> Result<Self, Failure> {
        self.gather_up_to(usize::MAX, limit, time).await
    }

    async fn gather_up_to(mut self, target: usize, limit: u64, time: Duration) -> Result<Self, Failure> {
        if self.rest.is_none() {
            return Ok(self);
        }
        let gathered = timeout(time, self.read_up_to(target, limit)).await;
        self.gathered = gathered.map_err(|_| Failure::BodyTimeout { limit: time })??;
        Ok(self)
    }

    /// Reads until `target` bytes are there, or all.
    async fn read_up_to(&mut self, target: usize, limit: u64) -> Result<Bytes, Failure> {
        let mut gathered = BytesMut::new();
        while let Some(rest) = &mut self.rest
            && gathered.len() < target
        {
            match rest.frame().await {
                // Trailers of a body that is gathered are not passed on: HTTP/1.1 has no place for them without chunks.
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
        self.size_hint().exact()
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
        let Some(rest) = &mut self.rest else { return Poll::Ready(None) };
        let Some(frame) = std::task::ready!(Pin::new(rest).poll_frame(cx)).transpose()? else {
            self.rest = None;
            return Poll::Ready(None);
        };
        let length = frame.data_ref().map_or(0, |data| data.len() as u64);
        let Some(left) = self.left.checked_sub(length) else {
            // What is left of it is read on, as when this is dropped.
            drop(std::mem::replace(&mut *self, Self::empty()));
            return Poll::Ready(Some(Err(RequestBodyError::TooLarge)));
        };
        self.left = left;
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.gathered.is_empty() && self.rest.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.rest.as_ref().map_or(SizeHint::with_exact(0), Body::size_hint);
        let gathered = self.gathered.len() as u64;
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper.saturating_add(gathered));
        }
        hint.set_lower(hint.lower().saturating_add(gathered));
        hint
    }
}
