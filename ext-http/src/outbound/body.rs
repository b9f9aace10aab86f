//! Bodies of HTTP requests and answers: counted, and answers under a time limit.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Sleep, sleep};

use super::{Refusal, RequestError, usage::Call};

/// A guest's body on its way out.
///
/// It has one owner, and a mutex all the same: the client wants it shareable between threads.
pub(super) struct SentBody<B> {
    body: Mutex<B>,
    call: Arc<Call>,
}

impl<B> SentBody<B> {
    pub(super) fn new(body: B, call: Arc<Call>) -> Self {
        Self { body: Mutex::new(body), call }
    }
}

impl<B> Body for SentBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        let body = this.body.get_mut().unwrap_or_else(PoisonError::into_inner);
        let frame = ready!(Pin::new(body).poll_frame(cx));
        Poll::Ready(frame.map(|frame| book(frame.map_err(Into::into)?, &this.call).map_err(Into::into)))
    }

    fn size_hint(&self) -> SizeHint {
        self.body.lock().unwrap_or_else(PoisonError::into_inner).size_hint()
    }
}

fn book(frame: Frame<Bytes>, call: &Call) -> Result<Frame<Bytes>, Refusal> {
    if let Some(data) = frame.data_ref() {
        call.book_whole(data.len()).inspect_err(|refusal| tracing::warn!("{refusal}"))?;
    }
    Ok(frame)
}

/// The streaming body of an answer. As long as it lives, its connection counts as open.
#[derive(Debug)]
pub struct AnswerBody {
    body: reqwest::Body,
    call: Arc<Call>,
    idle: Duration,
    silence: Option<Pin<Box<Sleep>>>,
}

impl AnswerBody {
    pub(super) fn new(body: reqwest::Body, call: Arc<Call>, idle: Duration) -> Self {
        Self { body, call, idle, silence: None }
    }

    /// Shortens the longest silence that is put up with.
    #[must_use]
    pub fn with_idle_limit(mut self, limit: Duration) -> Self {
        self.idle = self.idle.min(limit);
        self
    }

    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<RequestError> {
        let (idle, silence) = (self.idle, &mut self.silence);
        let silence = silence.get_or_insert_with(|| Box::pin(sleep(idle)));
        silence.as_mut().poll(cx).map(|()| RequestError::Silent { limit: idle })
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = RequestError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, RequestError>>> {
        let this = self.get_mut();
        let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) else {
            return this.poll_silence(cx).map(|error| Some(Err(error)));
        };
        // A reader that takes its time is not the peer's silence: time runs from the next wait on.
        this.silence = None;
        Poll::Ready(frame.map(|frame| Ok(book(frame.map_err(RequestError::Transfer)?, &this.call)?)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
