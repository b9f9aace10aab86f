//! The body of an answer that is part of a file.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    ops::Range,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use tokio::task::{JoinHandle, spawn_blocking};

use crate::body::BrokenOff;

/// What is read at a time.
const PIECE: u64 = 64 * 1024;

type Read = JoinHandle<io::Result<(File, Bytes)>>;

/// Reads a file piece by piece, on a thread that may wait for the disk; the next piece only when this one is taken.
pub(super) struct FileBody {
    /// Not here while it is being read.
    file: Option<File>,
    reading: Option<Read>,
    start: u64,
    left: u64,
}

impl FileBody {
    /// The bytes in `range`, which the file has.
    pub(super) fn new(file: File, range: Range<u64>) -> Self {
        Self { file: Some(file), reading: None, start: range.start, left: range.end - range.start }
    }

    fn read_on(&mut self) -> Option<Read> {
        let mut file = self.file.take()?;
        let (start, length) = (self.start, self.left.min(PIECE));
        Some(spawn_blocking(move || {
            file.seek(SeekFrom::Start(start))?;
            let mut piece = BytesMut::zeroed(usize::try_from(length).unwrap_or_default());
            // A file that has become shorter meanwhile is an error: the client has been promised more.
            file.read_exact(&mut piece)?;
            Ok((file, piece.freeze()))
        }))
    }
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        if self.reading.is_none() {
            self.reading = self.read_on();
        }
        let Some(reading) = &mut self.reading else { return Poll::Ready(Some(Err(BrokenOff))) };
        let read = ready!(Pin::new(reading).poll(cx));
        self.reading = None;
        let Ok(Ok((file, piece))) = read else { return Poll::Ready(Some(Err(BrokenOff))) };
        self.file = Some(file);
        self.start += piece.len() as u64;
        self.left -= piece.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
