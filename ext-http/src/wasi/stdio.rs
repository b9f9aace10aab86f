//! Descriptors 0, 1 and 2.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, BufReader, ReadBuf};

use crate::abi::errno::Errno;

/// Where standard input comes from.
#[derive(Default)]
pub enum Input {
    /// At its end from the start.
    #[default]
    Empty,
    /// A stream.
    Stream(Box<dyn AsyncRead + Send + Unpin>),
}

/// Where standard output or error goes.
#[derive(Default)]
pub enum Output {
    /// Nowhere.
    #[default]
    Discard,
    /// A stream; a guest waits while it is full.
    Stream(Box<dyn AsyncWrite + Send + Unpin>),
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "Empty",
            Self::Stream(_) => "Stream",
        })
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Discard => "Discard",
            Self::Stream(_) => "Stream",
        })
    }
}

/// Input is read ahead by this much, so that `poll_oneoff` can tell whether there is any.
const READ_AHEAD: usize = 8 * 1024;

/// The three standard streams of one instance; `None` once the guest has closed one.
pub(crate) struct Stdio {
    input: Option<BufReader<Box<dyn AsyncRead + Send + Unpin>>>,
    outputs: [Option<Output>; 2],
    input_open: bool,
}

impl Stdio {
    pub(crate) fn new(input: Input, stdout: Output, stderr: Output) -> Self {
        let input = match input {
            Input::Empty => None,
            Input::Stream(stream) => Some(BufReader::with_capacity(READ_AHEAD, stream)),
        };
        Self { input, outputs: [Some(stdout), Some(stderr)], input_open: true }
    }

    pub(crate) fn is_open(&self, fd: i32) -> bool {
        match fd {
            0 => self.input_open,
            1 => self.outputs[0].is_some(),
            2 => self.outputs[1].is_some(),
            _ => false,
        }
    }

    pub(crate) fn close(&mut self, fd: i32) -> Result<(), Errno> {
        if !self.is_open(fd) {
            return Err(Errno::BadF);
        }
        match fd {
            0 => {
                self.input = None;
                self.input_open = false;
            }
            1 => self.outputs[0] = None,
            _ => self.outputs[1] = None,
        }
        Ok(())
    }

    /// Reads some bytes; none means the end.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, bytes: &mut [u8]) -> Poll<Result<usize, Errno>> {
        let Some(input) = &mut self.input else { return Poll::Ready(Ok(0)) };
        let mut buffer = ReadBuf::new(bytes);
        Pin::new(input).poll_read(cx, &mut buffer).map(|result| match result {
            Ok(()) => Ok(buffer.filled().len()),
            Err(error) => Err(error.into()),
        })
    }

    /// Waits until a read would return at once.
    pub(crate) fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.input {
            None => Poll::Ready(()),
            Some(input) => Pin::new(input).poll_fill_buf(cx).map(drop),
        }
    }

    /// Writes some bytes to descriptor 1 or 2.
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>, fd: i32, bytes: &[u8]) -> Poll<Result<usize, Errno>> {
        let output = match fd {
            1 => &mut self.outputs[0],
            2 => &mut self.outputs[1],
            _ => return Poll::Ready(Err(Errno::BadF)),
        };
        match output {
            None => Poll::Ready(Err(Errno::BadF)),
            Some(Output::Discard) => Poll::Ready(Ok(bytes.len())),
            Some(Output::Stream(stream)) => Pin::new(stream).poll_write(cx, bytes).map_err(Errno::from),
        }
    }
}
