//! One request to the host's HTTP client, and its answer.

use prewasm_translation::{
    BodyDecoder, Framing, LAST_CHUNK, RequestHead, ResponseHead, Version, encode_chunk, path_of,
};

use crate::{
    bindings::wasi::{
        http::{
            outgoing_handler,
            types::{ErrorCode, FutureIncomingResponse, IncomingResponse, OutgoingRequest, Scheme},
        },
        io::poll::Pollable,
    },
    body::{Read, Sink, Source},
    errno::Errno,
    fields,
    queue::Queue,
};

/// Whom a request goes to.
pub(crate) struct Destination {
    pub(crate) is_https: bool,
    pub(crate) authority: String,
}

/// Hands a request to the host. The body is to be written and ended by the caller, even if there is none: some hosts wait
/// for its end.
pub(crate) fn hand_over(
    head: &RequestHead,
    destination: &Destination,
    body: Framing,
) -> Result<(FutureIncomingResponse, Sink), Errno> {
    let length = match body {
        Framing::Length(length) => Some(length),
        // Hosts take a body of unknown length for chunks, but for these methods, which rarely have one.
        Framing::None if !matches!(head.method.as_str(), "GET" | "HEAD") => Some(0),
        _ => None,
    };
    let request = OutgoingRequest::new(fields::sent(&head.fields, length));
    let path = path_of(&head.target).unwrap_or_else(|| head.target.clone());
    let scheme = if destination.is_https { Scheme::Https } else { Scheme::Http };
    request.set_method(&fields::method_of(head)).map_err(|()| Errno::Inval)?;
    request.set_path_with_query(Some(&path)).map_err(|()| Errno::Inval)?;
    request.set_scheme(Some(&scheme)).map_err(|()| Errno::Inval)?;
    request.set_authority(Some(&destination.authority)).map_err(|()| Errno::Inval)?;
    let sink = request.body().ok().and_then(Sink::new).ok_or(Errno::Io)?;
    let response = outgoing_handler::handle(request, None).map_err(|error| Errno::from(&error))?;
    Ok((response, sink))
}

/// What the host has to say about a request: nothing yet, or the answer.
pub(crate) fn answer(response: &FutureIncomingResponse) -> Option<Result<IncomingResponse, Errno>> {
    Some(match response.get()? {
        Ok(answer) => answer.map_err(|error: ErrorCode| Errno::from(&error)),
        // Asked for twice, which is not done here.
        Err(()) => Err(Errno::Io),
    })
}

/// A request that is under way.
pub(crate) struct Exchange {
    method: String,
    version: Version,
    keeps_connection: bool,
    upload: BodyDecoder,
    sink: Option<Sink>,
    reply: Reply,
}

enum Reply {
    Awaited(FutureIncomingResponse),
    Streaming(Source, Delivery),
    Whole,
}

/// How the program is told where the body ends.
enum Delivery {
    Length { left: u64 },
    Chunked,
    UntilClose,
}

impl Exchange {
    pub(crate) fn start(head: &RequestHead, upload: BodyDecoder, destination: &Destination) -> Result<Self, Errno> {
        let (response, mut sink) = hand_over(head, destination, upload.framing())?;
        if upload.is_complete() {
            sink.end();
        }
        Ok(Self {
            method: head.method.clone(),
            version: head.version,
            keeps_connection: head.keeps_connection(),
            upload,
            sink: Some(sink),
            reply: Reply::Awaited(response),
        })
    }

    /// Takes the request's body from `input`, adds the answer to `output`. Whether all of both is through.
    pub(crate) fn advance(&mut self, input: &mut Queue, output: &mut Queue) -> Result<bool, Errno> {
        self.advance_upload(input)?;
        while self.advance_reply(output)? {}
        Ok(matches!(self.reply, Reply::Whole) && self.upload.is_complete())
    }

    /// Whether the program may send another request.
    pub(crate) fn keeps_connection(&self) -> bool {
        self.keeps_connection
    }

    /// The program will send no more; whether its request was whole.
    pub(crate) fn is_uploaded(&self) -> bool {
        self.upload.is_complete()
    }

    /// Whether it is answered, or can never be.
    pub(crate) fn is_settled(&self) -> bool {
        !self.upload.is_complete() || !matches!(self.reply, Reply::Awaited(_))
    }

    fn advance_upload(&mut self, input: &mut Queue) -> Result<(), Errno> {
        loop {
            if let Some(sink) = &mut self.sink
                && (sink.advance().is_err() || sink.is_finished())
            {
                // A server which answers early may take no more; the answer tells.
                self.sink = None;
            }
            if self.upload.is_complete() {
                return Ok(());
            }
            let bytes = input.bytes();
            let room = self.sink.as_ref().map_or(bytes.len(), Sink::room).min(bytes.len());
            let decoded = self.upload.decode(&bytes[..room]).map_err(|_| Errno::Proto)?;
            if let Some(sink) = &mut self.sink {
                sink.push(decoded.content);
                if self.upload.is_complete() {
                    sink.end();
                }
            }
            let taken = decoded.taken;
            input.consume(taken);
            if taken == 0 {
                return Ok(());
            }
        }
    }

    /// Whether there may be more.
    fn advance_reply(&mut self, output: &mut Queue) -> Result<bool, Errno> {
        match &mut self.reply {
            Reply::Awaited(response) => {
                let Some(response) = answer(response) else { return Ok(false) };
                self.reply = self.begin_reply(&response?, output)?;
                Ok(true)
            }
            Reply::Streaming(source, delivery) => {
                if output.room() == 0 {
                    return Ok(false);
                }
                match source.read(output.room()) {
                    Read::Nothing => return Ok(false),
                    Read::Bytes(bytes) => delivery.push(&bytes, output),
                    Read::End => {
                        delivery.end(output)?;
                        self.reply = Reply::Whole;
                    }
                    Read::Failed(errno) => return Err(errno),
                }
                Ok(true)
            }
            Reply::Whole => Ok(false),
        }
    }

    fn begin_reply(&mut self, response: &IncomingResponse, output: &mut Queue) -> Result<Reply, Errno> {
        let mut head = ResponseHead {
            status: response.status(),
            version: Version::Http11,
            fields: fields::received(&response.headers()),
        };
        let delivery = match head.body(&self.method).map_err(|_| Errno::Proto)?.framing() {
            Framing::None => None,
            Framing::Length(left) => Some(Delivery::Length { left }),
            _ if self.version == Version::Http10 => {
                self.keeps_connection = false;
                Some(Delivery::UntilClose)
            }
            _ => {
                head.fields.push("transfer-encoding", b"chunked");
                Some(Delivery::Chunked)
            }
        };
        match (self.version, self.keeps_connection) {
            (_, false) => head.fields.push("connection", b"close"),
            (Version::Http10, true) => head.fields.push("connection", b"keep-alive"),
            (Version::Http11, true) => {}
        }
        output.push(&head.spell());
        Ok(match delivery {
            None => Reply::Whole,
            Some(delivery) => {
                let source = response.consume().ok().and_then(Source::new).ok_or(Errno::Io)?;
                Reply::Streaming(source, delivery)
            }
        })
    }

    pub(crate) fn wait(&self, output: &Queue, into: &mut Vec<Pollable>) {
        if let Some(sink) = &self.sink {
            sink.wait(into);
        }
        match &self.reply {
            Reply::Awaited(response) => into.push(response.subscribe()),
            Reply::Streaming(source, _) if output.room() > 0 => source.wait(into),
            _ => {}
        }
    }
}

impl Delivery {
    fn push(&mut self, bytes: &[u8], output: &mut Queue) {
        match self {
            Self::UntilClose => output.push(bytes),
            Self::Chunked => output.push_with(|into| encode_chunk(bytes, into)),
            Self::Length { left } => {
                // More than was announced would be taken for the next answer.
                let length = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                output.push(&bytes[..length]);
                *left -= length as u64;
            }
        }
    }

    fn end(&self, output: &mut Queue) -> Result<(), Errno> {
        match self {
            Self::Length { left: 1.. } => Err(Errno::ConnReset),
            Self::Chunked => {
                output.push(LAST_CHUNK);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
