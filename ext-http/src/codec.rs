//! What the TLS codec `rustls_client` means: TLS for a guest that moves the bytes itself.
//!
//! A codec turns plaintext into records and back, and does no I/O: the guest sends and receives on its own sockets,
//! which the outbound door has judged. Certificates are verified, against the public authorities and those which the
//! app's policy adds. The original bounded neither the number of codecs nor what they hold; here both have an end.

use std::{
    io::{self, Read as _, Write as _},
    sync::Arc,
};

use rustls::{ClientConfig, ClientConnection, pki_types::ServerName};

use crate::{frozen::Unfreezable, outbound::Outbound};

/// The only configuration there is.
pub(crate) const DEFAULT_CONFIG: i32 = 0;
/// At most this many codecs of one instance: as many as it has outgoing connections by default.
const MAX_CODECS: usize = 64;
/// Plaintext, and records, which wait to be sent: rustls's own default. What is received has fixed bounds there
/// (a handshake message of 64 KiB, or 16 KiB of plaintext and a record).
const SEND_BUFFER: usize = 64 * 1024;

/// Why a call of the codec did not succeed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CodecError {
    /// A codec or a configuration which does not exist, a name which is none, a pointer out of bounds.
    #[error("an argument is invalid")]
    Parameter,
    /// The instance has as many codecs as it may.
    #[error("the guest has {MAX_CODECS} TLS codecs already")]
    TooMany,
    /// TLS failed.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
    /// Nothing is there, the end came without a farewell, or a buffer is full.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What waits where, after packets were processed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CodecState {
    pub(crate) tls_bytes_to_write: usize,
    pub(crate) plaintext_bytes_to_read: usize,
    pub(crate) peer_has_closed: bool,
}

struct Codec {
    /// For the log: whom the guest wants to talk to.
    name: String,
    connection: ClientConnection,
    has_failed: bool,
}

/// The codecs of one instance.
pub(crate) struct Codecs {
    outbound: Arc<Outbound>,
    slots: Vec<Option<Codec>>,
}

impl Codecs {
    pub(crate) fn new(outbound: Arc<Outbound>) -> Self {
        Self { outbound, slots: Vec::new() }
    }

    /// Makes a codec for talking to `name`, in the lowest free slot.
    pub(crate) fn open(&mut self, config: i32, name: &[u8]) -> Result<i32, CodecError> {
        if config != DEFAULT_CONFIG {
            return Err(CodecError::Parameter);
        }
        let name = std::str::from_utf8(name).map_err(|_| CodecError::Parameter)?;
        let server = ServerName::try_from(name).map_err(|_| CodecError::Parameter)?.to_owned();
        let slot = self.free_slot()?;
        let codec = Codec::new(self.outbound.tls(), name, server)?;
        if slot == self.slots.len() {
            self.slots.push(None);
        }
        self.slots[slot] = Some(codec);
        i32::try_from(slot).map_err(|_| CodecError::TooMany)
    }

    /// No codec can be kept for a frozen guest: its keys would be in every copy.
    pub(crate) fn freeze(&self, objections: &mut Vec<Unfreezable>) {
        let open = self.slots.iter().enumerate().filter_map(|(id, codec)| Some((id, codec.as_ref()?)));
        objections.extend(open.map(|(id, codec)| Unfreezable::Codec { id, name: codec.name.clone() }));
    }

    fn free_slot(&self) -> Result<usize, CodecError> {
        let slot = self.slots.iter().position(Option::is_none).unwrap_or(self.slots.len());
        if slot < MAX_CODECS {
            return Ok(slot);
        }
        tracing::warn!("{}", CodecError::TooMany);
        Err(CodecError::TooMany)
    }

    /// Forgets a codec; one that does not exist is no error.
    pub(crate) fn close(&mut self, id: i32) {
        if let Some(slot) = usize::try_from(id).ok().and_then(|id| self.slots.get_mut(id)) {
            *slot = None;
        }
    }

    fn get(&mut self, id: i32) -> Result<&mut Codec, CodecError> {
        let slot = usize::try_from(id).ok().and_then(|id| self.slots.get_mut(id));
        slot.and_then(Option::as_mut).ok_or(CodecError::Parameter)
    }

    fn connection(&mut self, id: i32) -> Result<&mut ClientConnection, CodecError> {
        Ok(&mut self.get(id)?.connection)
    }

    pub(crate) fn is_handshaking(&mut self, id: i32) -> Result<bool, CodecError> {
        Ok(self.connection(id)?.is_handshaking())
    }

    /// Whether it wants to read, and to write.
    pub(crate) fn wants(&mut self, id: i32) -> Result<(bool, bool), CodecError> {
        let connection = self.connection(id)?;
        Ok((connection.wants_read(), connection.wants_write()))
    }

    pub(crate) fn send_close_notify(&mut self, id: i32) -> Result<(), CodecError> {
        self.connection(id)?.send_close_notify();
        Ok(())
    }

    /// Processes what `read_tls` took. A failure is told to the log too: the guest gets no more than a number.
    pub(crate) fn process(&mut self, id: i32) -> Result<CodecState, CodecError> {
        let codec = self.get(id)?;
        match codec.connection.process_new_packets() {
            Ok(state) => Ok(CodecState {
                tls_bytes_to_write: state.tls_bytes_to_write(),
                plaintext_bytes_to_read: state.plaintext_bytes_to_read(),
                peer_has_closed: state.peer_has_closed(),
            }),
            Err(error) => {
                codec.log(&error);
                Err(error.into())
            }
        }
    }

    /// Takes plaintext to send; how much, which may be less than offered.
    pub(crate) fn write_plaintext(&mut self, id: i32, bytes: &[u8]) -> Result<usize, CodecError> {
        Ok(self.connection(id)?.writer().write(bytes)?)
    }

    /// Stores plaintext that was received; 0 is the end.
    pub(crate) fn read_plaintext(&mut self, id: i32, into: &mut [u8]) -> Result<usize, CodecError> {
        Ok(self.connection(id)?.reader().read(into)?)
    }

    /// Stores records which the guest is to send.
    pub(crate) fn write_tls(&mut self, id: i32, mut into: &mut [u8]) -> Result<usize, CodecError> {
        Ok(self.connection(id)?.write_tls(&mut into)?)
    }

    /// Takes records which the guest has received; none at all is the end of its connection.
    pub(crate) fn read_tls(&mut self, id: i32, mut bytes: &[u8]) -> Result<usize, CodecError> {
        Ok(self.connection(id)?.read_tls(&mut bytes)?)
    }
}

impl Codec {
    fn new(config: Arc<ClientConfig>, name: &str, server: ServerName<'static>) -> Result<Self, CodecError> {
        let mut connection = ClientConnection::new(config, server)?;
        connection.set_buffer_limit(Some(SEND_BUFFER));
        Ok(Self { name: name.to_owned(), connection, has_failed: false })
    }

    /// Once per codec: rustls repeats an error at each further call.
    fn log(&mut self, error: &rustls::Error) {
        if !std::mem::replace(&mut self.has_failed, true) {
            let hint = crate::outbound::certificate_hint(error);
            tracing::warn!("TLS with `{}` failed: {error}{hint}", self.name);
        }
    }
}

#[cfg(test)]
mod tests;
