//! How the TLS codec's arguments are decoded and its results encoded: a code below zero for each kind of error, and a
//! state of 12 bytes.
//!
//! The codes are those of the original plugin, which named the errors of rustls 0.20. Later versions tell more kinds
//! apart; each has the code which rustls 0.20 would have led to.

use std::io;

use rustls::{CertificateError, Error, InvalidMessage};

use super::{errno::Errno, memory::GuestMemory};
use crate::{
    codec::{CodecError, CodecState, Codecs, DEFAULT_CONFIG},
    imports::CodecCall,
};

const WANTS_READ: i32 = 1;
const WANTS_WRITE: i32 = 2;

const PARAMETER: i32 = -1;
const INAPPROPRIATE_MESSAGE: i32 = -2;
const INAPPROPRIATE_HANDSHAKE_MESSAGE: i32 = -3;
const CORRUPT_MESSAGE: i32 = -4;
const CORRUPT_MESSAGE_PAYLOAD: i32 = -5;
const NO_CERTIFICATES_PRESENTED: i32 = -6;
const UNSUPPORTED_NAME_TYPE: i32 = -7;
const DECRYPT: i32 = -8;
const ENCRYPT: i32 = -9;
const PEER_INCOMPATIBLE: i32 = -10;
const PEER_MISBEHAVED: i32 = -11;
const ALERT_RECEIVED: i32 = -12;
const CERTIFICATE_ENCODING: i32 = -13;
const CERTIFICATE_SIGNATURE_TYPE: i32 = -14;
const CERTIFICATE_SIGNATURE: i32 = -15;
const CERTIFICATE_DATA: i32 = -16;
// -17 was for signed certificate timestamps, which rustls does not look at any more.
const GENERAL: i32 = -18;
const NO_TIME: i32 = -19;
const NO_RANDOM: i32 = -20;
const HANDSHAKE_NOT_COMPLETE: i32 = -21;
const OVERSIZED_RECORD: i32 = -22;
const NO_APPLICATION_PROTOCOL: i32 = -23;
const BAD_FRAGMENT_SIZE: i32 = -24;
const WOULD_BLOCK: i32 = -25;
const IO: i32 = -26;

/// Every pointer of the guest that is out of bounds is an invalid parameter here.
impl From<Errno> for CodecError {
    fn from(_: Errno) -> Self {
        Self::Parameter
    }
}

/// Makes a call: the result is a number, and below zero an error. No call has more than three arguments; what a shorter
/// one does not have is not looked at.
pub(crate) fn call(call: CodecCall, memory: &mut GuestMemory<'_>, codecs: &mut Codecs, arguments: [i32; 3]) -> i32 {
    attempt(call, memory, codecs, arguments).unwrap_or_else(|error| code(&error))
}

fn attempt(
    call: CodecCall,
    memory: &mut GuestMemory<'_>,
    codecs: &mut Codecs,
    [id, pointer, size]: [i32; 3],
) -> Result<i32, CodecError> {
    let size = size.cast_unsigned();
    match call {
        CodecCall::DefaultConfig => Ok(DEFAULT_CONFIG),
        // The first argument is the configuration: there is no codec yet.
        CodecCall::NewCodec => codecs.open(id, memory.read(pointer, size)?),
        CodecCall::IsHandshaking => codecs.is_handshaking(id).map(i32::from),
        CodecCall::Wants => {
            let (read, write) = codecs.wants(id)?;
            Ok(i32::from(read) * WANTS_READ + i32::from(write) * WANTS_WRITE)
        }
        CodecCall::DeleteCodec => {
            codecs.close(id);
            Ok(0)
        }
        CodecCall::SendCloseNotify => codecs.send_close_notify(id).map(|()| 0),
        CodecCall::ProcessNewPackets => {
            let processed = codecs.process(id)?;
            memory.write(pointer, &state(processed))?;
            Ok(0)
        }
        CodecCall::WriteRaw => length(codecs.write_plaintext(id, memory.read(pointer, size)?)?),
        CodecCall::WriteTls => {
            let range = memory.range(pointer, size)?;
            length(codecs.write_tls(id, memory.bytes_mut(range))?)
        }
        CodecCall::ReadRaw => {
            let range = memory.range(pointer, size)?;
            length(codecs.read_plaintext(id, memory.bytes_mut(range))?)
        }
        CodecCall::ReadTls => length(codecs.read_tls(id, memory.read(pointer, size)?)?),
    }
}

/// Buffers hold a few times 64 KiB at most, so that every length fits.
fn length(length: usize) -> Result<i32, CodecError> {
    i32::try_from(length).map_err(|_| CodecError::Parameter)
}

/// The code of an error.
pub(crate) fn code(error: &CodecError) -> i32 {
    match error {
        CodecError::Parameter => PARAMETER,
        // The original had no bound, and so no code for it.
        CodecError::TooMany => GENERAL,
        CodecError::Tls(error) => tls_code(error),
        CodecError::Io(error) if error.kind() == io::ErrorKind::WouldBlock => WOULD_BLOCK,
        CodecError::Io(_) => IO,
    }
}

fn tls_code(error: &Error) -> i32 {
    match error {
        Error::InappropriateMessage { .. } => INAPPROPRIATE_MESSAGE,
        Error::InappropriateHandshakeMessage { .. } => INAPPROPRIATE_HANDSHAKE_MESSAGE,
        Error::InvalidMessage(invalid) => message_code(*invalid),
        Error::NoCertificatesPresented => NO_CERTIFICATES_PRESENTED,
        Error::UnsupportedNameType => UNSUPPORTED_NAME_TYPE,
        Error::DecryptError => DECRYPT,
        Error::EncryptError => ENCRYPT,
        Error::PeerIncompatible(_) => PEER_INCOMPATIBLE,
        Error::PeerMisbehaved(_) => PEER_MISBEHAVED,
        Error::AlertReceived(_) => ALERT_RECEIVED,
        Error::InvalidCertificate(invalid) => certificate_code(invalid),
        Error::InvalidCertRevocationList(_) => CERTIFICATE_DATA,
        Error::FailedToGetCurrentTime => NO_TIME,
        Error::FailedToGetRandomBytes => NO_RANDOM,
        Error::HandshakeNotComplete => HANDSHAKE_NOT_COMPLETE,
        Error::PeerSentOversizedRecord => OVERSIZED_RECORD,
        Error::NoApplicationProtocol => NO_APPLICATION_PROTOCOL,
        Error::BadMaxFragmentSize => BAD_FRAGMENT_SIZE,
        // `General`, and what no client of 0.20 could meet.
        _ => GENERAL,
    }
}

/// A record whose own head is wrong was a corrupt message, anything inside of it a corrupt payload.
fn message_code(invalid: InvalidMessage) -> i32 {
    match invalid {
        InvalidMessage::InvalidContentType
        | InvalidMessage::InvalidEmptyPayload
        | InvalidMessage::MessageTooLarge
        | InvalidMessage::UnknownProtocolVersion => CORRUPT_MESSAGE,
        _ => CORRUPT_MESSAGE_PAYLOAD,
    }
}

fn certificate_code(invalid: &CertificateError) -> i32 {
    match invalid {
        CertificateError::BadEncoding => CERTIFICATE_ENCODING,
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => CERTIFICATE_SIGNATURE_TYPE,
        CertificateError::BadSignature => CERTIFICATE_SIGNATURE,
        // Expired, of an unknown issuer, not for this name, and so on.
        _ => CERTIFICATE_DATA,
    }
}

/// `tls_bytes_to_write` u32 @0, `plaintext_bytes_to_read` u32 @4, `peer_has_closed` u8 @8, padding.
fn state(state: CodecState) -> [u8; 12] {
    let mut bytes = [0; 12];
    // Both are bounded by buffers of a few times 64 KiB.
    let length = |length: usize| u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
    bytes[0..4].copy_from_slice(&length(state.tls_bytes_to_write));
    bytes[4..8].copy_from_slice(&length(state.plaintext_bytes_to_read));
    bytes[8] = u8::from(state.peer_has_closed);
    bytes
}

#[cfg(test)]
mod tests {
    use rustls::{AlertDescription, PeerIncompatible, PeerMisbehaved};

    use super::*;

    #[test]
    fn each_error_has_its_code() {
        let certificate = |error| Error::InvalidCertificate(error);
        let tls = [
            (-2, Error::InappropriateMessage { expect_types: vec![], got_type: rustls::ContentType::Alert }),
            (
                -3,
                Error::InappropriateHandshakeMessage {
                    expect_types: vec![],
                    got_type: rustls::HandshakeType::Finished,
                },
            ),
            (-4, Error::InvalidMessage(InvalidMessage::InvalidContentType)),
            (-5, Error::InvalidMessage(InvalidMessage::MissingData("x"))),
            (-6, Error::NoCertificatesPresented),
            (-7, Error::UnsupportedNameType),
            (-8, Error::DecryptError),
            (-9, Error::EncryptError),
            (-10, Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon)),
            (-11, Error::PeerMisbehaved(PeerMisbehaved::IllegalTlsInnerPlaintext)),
            (-12, Error::AlertReceived(AlertDescription::HandshakeFailure)),
            (-13, certificate(CertificateError::BadEncoding)),
            (
                -14,
                certificate(CertificateError::UnsupportedSignatureAlgorithmContext {
                    signature_algorithm_id: vec![],
                    supported_algorithms: vec![],
                }),
            ),
            (-15, certificate(CertificateError::BadSignature)),
            (-16, certificate(CertificateError::UnknownIssuer)),
            (-16, certificate(CertificateError::Expired)),
            (-16, certificate(CertificateError::NotValidForName)),
            (-18, Error::General("x".to_owned())),
            (-19, Error::FailedToGetCurrentTime),
            (-20, Error::FailedToGetRandomBytes),
            (-21, Error::HandshakeNotComplete),
            (-22, Error::PeerSentOversizedRecord),
            (-23, Error::NoApplicationProtocol),
            (-24, Error::BadMaxFragmentSize),
        ];
        for (expected, error) in tls {
            assert_eq!(code(&CodecError::Tls(error.clone())), expected, "{error}");
        }
        assert_eq!(code(&CodecError::Parameter), -1);
        assert_eq!(code(&CodecError::TooMany), -18);
        assert_eq!(code(&CodecError::Io(io::ErrorKind::WouldBlock.into())), -25);
        assert_eq!(code(&CodecError::Io(io::ErrorKind::UnexpectedEof.into())), -26);
    }

    #[test]
    fn a_state_has_twelve_bytes() {
        let encoded =
            state(CodecState { tls_bytes_to_write: 0x0102, plaintext_bytes_to_read: 0x0304, peer_has_closed: true });
        assert_eq!(encoded, [2, 1, 0, 0, 4, 3, 0, 0, 1, 0, 0, 0]);
    }
}
