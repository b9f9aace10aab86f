//! Bodies of components: of the request, as they read it, and of the answer, as they write it.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use tokio::sync::oneshot;
use wasmtime_wasi_http::Error as WasiHttpError;

use crate::{
    body::{BrokenOff, RequestBodyError},
    guest::{AfterAnswer, leash::Leash, task::GuestTask},
};

impl From<RequestBodyError> for WasiHttpError {
    fn from(error: RequestBodyError) -> Self {
        match error {
            RequestBodyError::TooLarge => Self::HttpRequestBodySize(None),
            RequestBodyError::Read(error) => match error.downcast::<hyper::Error>() {
                Ok(error) => Self::Hyper(*error),
                Err(error) => Self::InternalError(Some(error.to_string())),
            },
        }
    }
}

/// The body of an answer which the component is still writing.
pub(super) struct ComponentBody<E> {
    /// Gone once the answer is complete, or was broken off.
    task: Leash<GuestTask>,
    is_complete: bool,
    body: UnsyncBoxBody<Bytes, E>,
    after: AfterAnswer,
    /// To the instance, if that is not the guest's own.
    link: Option<Link>,
}

/// What an answer and the instance that writes it know of each other.
pub(super) struct Link {
    /// As long as it is there, the answer is wanted.
    _wants: oneshot::Sender<()>,
    /// Closed when the instance has ended.
    lives: oneshot::Receiver<()>,
}

/// The instance's end of a [`Link`].
pub(super) struct Linked {
    wanted: oneshot::Receiver<()>,
    _lives: oneshot::Sender<()>,
}

impl Link {
    pub(super) fn new() -> (Self, Linked) {
        let (wants, wanted) = oneshot::channel();
        let (living, lives) = oneshot::channel();
        (Self { _wants: wants, lives }, Linked { wanted, _lives: living })
    }

    fn has_ended(&mut self) -> bool {
        matches!(self.lives.try_recv(), Err(oneshot::error::TryRecvError::Closed))
    }
}

impl Linked {
    /// Returns when the answer has been handed over, or is not wanted any more.
    pub(super) async fn unwanted(self) {
        let Self { wanted, _lives } = self;
        // Nothing is ever sent: the other end is dropped.
        let _ = wanted.await;
    }
}

impl<E> ComponentBody<E> {
    pub(super) fn new(
        task: Leash<GuestTask>,
        body: UnsyncBoxBody<Bytes, E>,
        after: AfterAnswer,
        link: Option<Link>,
    ) -> Self {
        Self { task, is_complete: false, body, after, link }
    }
}

impl<E> Body for ComponentBody<E> {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let frame = match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(frame) => frame,
            Poll::Pending => {
                let _ = self.task.with(|task| task.poll(cx));
                std::task::ready!(Pin::new(&mut self.body).poll_frame(cx))
            }
        };
        match frame {
            Some(Ok(frame)) => Poll::Ready(Some(Ok(frame))),
            // The body of an instance that has ended ends, too, and that is no end of the answer.
            None if self.task.has_failed() => Poll::Ready(Some(Err(self.task.break_off()))),
            None if self.after == AfterAnswer::Leave && self.link.as_mut().is_none_or(Link::has_ended) => {
                Poll::Ready(Some(Err(self.task.break_off())))
            }
            None if self.task.with(|task| task.has_failed()) == Some(false) => {
                self.is_complete = true;
                self.link = None;
                let task = self.task.complete();
                if let (Some(task), AfterAnswer::Finish) = (task, self.after) {
                    task.finish(cx);
                }
                Poll::Ready(None)
            }
            None if self.is_complete => Poll::Ready(None),
            Some(Err(_)) | None => Poll::Ready(Some(Err(self.task.break_off()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.is_complete
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
