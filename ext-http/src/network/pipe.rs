//! A connection in memory: two bounded buffers, a guest's end and a client's end.
//!
//! tokio's duplex stream would do for the client, but a guest also needs to try without waiting, to peek, to shut
//! down one direction, and to see whether both are closed.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::abi::errno::Errno;

/// Capacity towards the guest: a request's head and the first 64 KiB of its body fit in one piece, so that guests
/// which take a short read for the end of a request see it whole.
const TO_GUEST: usize = 192 * 1024;
/// Capacity towards the client: enough to keep both sides busy, small enough for thousands of connections.
const TO_CLIENT: usize = 64 * 1024;

/// One direction.
struct Half {
    buffer: BytesMut,
    capacity: usize,
    /// The writer will write no more.
    finished: bool,
    /// The reader will read no more.
    ignored: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Half {
    fn new(capacity: usize) -> Self {
        Self { buffer: BytesMut::new(), capacity, finished: false, ignored: false, reader: None, writer: None }
    }

    fn is_closed(&self) -> bool {
        self.finished || self.ignored
    }

    fn is_readable(&self) -> bool {
        !self.buffer.is_empty() || self.is_closed()
    }

    fn is_writable(&self) -> bool {
        self.room() > 0 || self.is_closed()
    }

    fn room(&self) -> usize {
        self.capacity.saturating_sub(self.buffer.len())
    }

    /// Takes some bytes; 0 is the end, `None` means wait.
    fn read(&mut self, into: &mut [u8], peek: bool) -> Option<usize> {
        if self.ignored {
            return Some(0);
        }
        if self.buffer.is_empty() {
            return self.finished.then_some(0);
        }
        let length = into.len().min(self.buffer.len());
        into[..length].copy_from_slice(&self.buffer[..length]);
        if !peek {
            self.buffer.advance(length);
            wake(&mut self.writer);
        }
        Some(length)
    }

    /// Stores some bytes; `None` means wait.
    fn write(&mut self, bytes: &[u8]) -> Result<Option<usize>, Errno> {
        if self.is_closed() {
            return Err(Errno::Pipe);
        }
        let length = bytes.len().min(self.room());
        if length == 0 && !bytes.is_empty() {
            return Ok(None);
        }
        self.buffer.extend_from_slice(&bytes[..length]);
        wake(&mut self.reader);
        Ok(Some(length))
    }

    fn finish(&mut self) {
        self.finished = true;
        wake(&mut self.reader);
        wake(&mut self.writer);
    }

    fn ignore(&mut self) {
        self.ignored = true;
        self.buffer = BytesMut::new();
        wake(&mut self.reader);
        wake(&mut self.writer);
    }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

struct Pipe {
    to_guest: Half,
    to_client: Half,
}

type Shared = Arc<Mutex<Pipe>>;

/// No code runs under the lock that can panic, and the state is valid after each statement.
fn lock(shared: &Shared) -> MutexGuard<'_, Pipe> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The two ends of a new connection.
pub(crate) fn pipe() -> (GuestStream, VirtualStream) {
    let shared = Arc::new(Mutex::new(Pipe { to_guest: Half::new(TO_GUEST), to_client: Half::new(TO_CLIENT) }));
    (GuestStream(Arc::clone(&shared)), VirtualStream { shared, on_drop: None })
}

/// The guest's end; closed when dropped.
pub(crate) struct GuestStream(Shared);

impl GuestStream {
    pub(crate) fn try_read(&self, into: &mut [u8], peek: bool) -> Result<usize, Errno> {
        lock(&self.0).to_guest.read(into, peek).ok_or(Errno::Again)
    }

    pub(crate) fn try_write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        lock(&self.0).to_client.write(bytes)?.ok_or(Errno::Again)
    }

    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut pipe = lock(&self.0);
        if pipe.to_guest.is_readable() {
            return Poll::Ready(());
        }
        pipe.to_guest.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    pub(crate) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut pipe = lock(&self.0);
        if pipe.to_client.is_writable() {
            return Poll::Ready(());
        }
        pipe.to_client.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Bytes that can be written without waiting.
    pub(crate) fn room(&self) -> usize {
        lock(&self.0).to_client.room()
    }

    pub(crate) fn is_hung_up(&self) -> bool {
        let pipe = lock(&self.0);
        pipe.to_guest.is_closed() && pipe.to_client.is_closed()
    }

    pub(crate) fn shutdown(&self, read: bool, write: bool) {
        let mut pipe = lock(&self.0);
        if read {
            pipe.to_guest.ignore();
        }
        if write {
            pipe.to_client.finish();
        }
    }
}

impl Drop for GuestStream {
    fn drop(&mut self) {
        self.shutdown(true, true);
    }
}

/// The client's end of a connection in memory; closed when dropped.
pub struct VirtualStream {
    shared: Shared,
    on_drop: Option<Box<dyn FnOnce() + Send + Sync>>,
}

impl VirtualStream {
    pub(crate) fn on_drop(mut self, action: impl FnOnce() + Send + Sync + 'static) -> Self {
        self.on_drop = Some(Box::new(action));
        self
    }
}

impl std::fmt::Debug for VirtualStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VirtualStream").finish_non_exhaustive()
    }
}

impl AsyncRead for VirtualStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut pipe = lock(&self.shared);
        match pipe.to_client.read(buffer.initialize_unfilled(), false) {
            Some(length) => {
                buffer.advance(length);
                Poll::Ready(Ok(()))
            }
            None => {
                pipe.to_client.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl AsyncWrite for VirtualStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut pipe = lock(&self.shared);
        match pipe.to_guest.write(bytes) {
            Ok(Some(length)) => Poll::Ready(Ok(length)),
            Ok(None) => {
                pipe.to_guest.writer = Some(cx.waker().clone());
                Poll::Pending
            }
            // The guest has closed, which shows when its answer is read: it may have answered before it has read all. A
            // client that fails here would not get to see that.
            Err(_) => Poll::Ready(Ok(bytes.len())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        lock(&self.shared).to_guest.finish();
        Poll::Ready(Ok(()))
    }
}

impl Drop for VirtualStream {
    fn drop(&mut self) {
        {
            let mut pipe = lock(&self.shared);
            // What the client has sent stays readable, as on a real connection.
            pipe.to_guest.finish();
            pipe.to_client.ignore();
        }
        if let Some(action) = self.on_drop.take() {
            action();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn bytes_cross_both_ways_and_the_end_is_seen() {
        let (guest, mut client) = pipe();
        let mut buffer = [0; 16];
        assert_eq!(guest.try_read(&mut buffer, false), Err(Errno::Again));
        client.write_all(b"ping").await.expect("open");
        assert_eq!(guest.try_read(&mut buffer, true), Ok(4), "peeking takes nothing");
        assert_eq!(guest.try_read(&mut buffer, false), Ok(4));
        assert_eq!(guest.try_write(b"pong"), Ok(4));
        guest.shutdown(false, true);
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.expect("open");
        assert_eq!(answer, "pong");
        assert!(!guest.is_hung_up());
        drop(client);
        assert_eq!(guest.try_read(&mut buffer, false), Ok(0));
        assert_eq!(guest.try_write(b"x"), Err(Errno::Pipe));
        assert!(guest.is_hung_up());
    }

    #[tokio::test]
    async fn a_full_buffer_makes_the_writer_wait() {
        let (guest, mut client) = pipe();
        let big = vec![7; TO_CLIENT + 1];
        assert_eq!(guest.try_write(&big), Ok(TO_CLIENT));
        assert_eq!(guest.try_write(&big), Err(Errno::Again));
        let mut byte = [0];
        client.read_exact(&mut byte).await.expect("open");
        assert_eq!(guest.try_write(&big), Ok(1));
    }
}
