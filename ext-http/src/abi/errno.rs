//! Errno values, and how system errors become one.

use std::io;

/// A WASI errno, named as in the specification. Values up to 76 are preview 1's; those from 77 are WasmEdge's additions for `sock_getaddrinfo`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(crate) enum Errno {
    Acces = 2,
    AddrInUse = 3,
    AddrNotAvail = 4,
    AfNoSupport = 5,
    Again = 6,
    Already = 7,
    BadF = 8,
    ConnAborted = 13,
    ConnRefused = 14,
    ConnReset = 15,
    DestAddrReq = 17,
    Exist = 20,
    Fault = 21,
    HostUnreach = 23,
    InProgress = 26,
    Intr = 27,
    Inval = 28,
    Io = 29,
    IsConn = 30,
    MFile = 33,
    MsgSize = 35,
    NetUnreach = 40,
    NoMem = 48,
    NoProtoOpt = 50,
    NoSys = 52,
    NotConn = 53,
    NotSup = 58,
    Pipe = 64,
    SPipe = 70,
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
    /// The value the guest sees.
    pub(crate) fn code(self) -> i32 {
        i32::from(self as u16)
    }
}

impl From<&io::Error> for Errno {
    fn from(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock => Self::Again,
            io::ErrorKind::AddrInUse => Self::AddrInUse,
            io::ErrorKind::AddrNotAvailable => Self::AddrNotAvail,
            io::ErrorKind::PermissionDenied => Self::Acces,
            io::ErrorKind::ConnectionRefused => Self::ConnRefused,
            io::ErrorKind::ConnectionReset => Self::ConnReset,
            io::ErrorKind::ConnectionAborted => Self::ConnAborted,
            io::ErrorKind::NotConnected => Self::NotConn,
            io::ErrorKind::BrokenPipe => Self::Pipe,
            io::ErrorKind::TimedOut => Self::TimedOut,
            io::ErrorKind::HostUnreachable => Self::HostUnreach,
            io::ErrorKind::NetworkUnreachable => Self::NetUnreach,
            io::ErrorKind::InvalidInput => Self::Inval,
            io::ErrorKind::OutOfMemory => Self::NoMem,
            io::ErrorKind::Interrupted => Self::Intr,
            _ => Self::Io,
        }
    }
}

impl From<io::Error> for Errno {
    fn from(error: io::Error) -> Self {
        Self::from(&error)
    }
}
