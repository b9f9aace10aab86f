//! Errno values, and how errors of the host become one.

use crate::bindings::wasi::http::types::ErrorCode;

/// A WASI errno; those from 77 are WasmEdge's additions for looking up names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(crate) enum Errno {
    Acces = 2,
    AddrInUse = 3,
    AfNoSupport = 5,
    Again = 6,
    BadF = 8,
    ConnRefused = 14,
    ConnReset = 15,
    Exist = 20,
    HostUnreach = 23,
    Inval = 28,
    Io = 29,
    IsConn = 30,
    MFile = 33,
    NoProtoOpt = 50,
    NoSys = 52,
    NotConn = 53,
    NotSup = 58,
    Pipe = 64,
    Proto = 65,
    ProtoNoSupport = 66,
    TimedOut = 73,
    AiAddrFamily = 77,
    AiAgain = 78,
    AiBadFlag = 79,
    AiFamily = 81,
    AiMemory = 82,
    AiNoData = 83,
    AiNoName = 84,
    AiService = 85,
    AiSockType = 86,
}

impl Errno {
    pub(crate) fn code(self) -> u16 {
        self as u16
    }

    /// As the interface has it: below zero.
    pub(crate) fn negative(self) -> i32 {
        -i32::from(self.code())
    }
}

impl From<&ErrorCode> for Errno {
    fn from(error: &ErrorCode) -> Self {
        match error {
            ErrorCode::ConnectionRefused
            | ErrorCode::HttpRequestDenied
            | ErrorCode::DestinationIpProhibited
            | ErrorCode::ConnectionLimitReached => Self::ConnRefused,
            ErrorCode::DnsTimeout
            | ErrorCode::DnsError(_)
            | ErrorCode::DestinationNotFound
            | ErrorCode::DestinationUnavailable
            | ErrorCode::DestinationIpUnroutable => Self::HostUnreach,
            ErrorCode::ConnectionTimeout
            | ErrorCode::ConnectionReadTimeout
            | ErrorCode::ConnectionWriteTimeout
            | ErrorCode::HttpResponseTimeout => Self::TimedOut,
            ErrorCode::ConnectionTerminated | ErrorCode::HttpResponseIncomplete => Self::ConnReset,
            ErrorCode::HttpProtocolError
            | ErrorCode::TlsProtocolError
            | ErrorCode::TlsCertificateError
            | ErrorCode::TlsAlertReceived(_) => Self::Proto,
            _ => Self::Io,
        }
    }
}

/// Why a call did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The program is told so.
    Errno(Errno),
    /// The program waits for what will never come: it has served all there was.
    Leave,
}

/// What says [`Failure::Leave`]: no errno is as large.
const LEAVE: u32 = 0x8000_0000;

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

impl Failure {
    /// As the error of a `result`.
    pub(crate) fn positive(self) -> u32 {
        match self {
            Self::Errno(errno) => errno.code().into(),
            Self::Leave => LEAVE,
        }
    }

    /// As a number below zero.
    pub(crate) fn negative(self) -> i32 {
        match self {
            Self::Errno(errno) => errno.negative(),
            Self::Leave => i32::MIN,
        }
    }
}

/// A result without a value, as the interface has it.
pub(crate) fn status(result: Result<(), Errno>) -> i32 {
    match result {
        Ok(()) => 0,
        Err(errno) => errno.negative(),
    }
}
