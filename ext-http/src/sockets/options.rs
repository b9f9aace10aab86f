//! Socket options of level `SOL_SOCKET`.
//!
//! What the host's socket knows is set there as well; the rest is remembered, so that it reads back. Two are refused:
//! a device to bind to, which would lead around the policy, and lingering, which would hold the thread that closes.

use std::{collections::BTreeMap, os::fd::AsFd, time::Duration};

use serde::{Deserialize, Serialize};
use socket2::SockRef;

use super::{Bound, Kind, Listener, Role, Socket, Sockets, Stream};
use crate::abi::errno::Errno;

/// What a guest reads as the size of a buffer which only exists in memory, until it sets another.
const VIRTUAL_BUFFER: i32 = 64 * 1024;
/// WASI's numbers of socket types.
const TYPE_DGRAM: i32 = 1;
const TYPE_STREAM: i32 = 2;

/// An option, in the order of its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum SocketOption {
    ReuseAddress,
    Type,
    Error,
    DontRoute,
    Broadcast,
    SendBuffer,
    ReceiveBuffer,
    KeepAlive,
    OutOfBandInline,
    Linger,
    ReceiveLowWater,
    ReceiveTimeout,
    SendTimeout,
    AcceptsConnections,
    BindToDevice,
}

impl SocketOption {
    pub(crate) fn from_number(number: i32) -> Result<Self, Errno> {
        Ok(match number {
            0 => Self::ReuseAddress,
            1 => Self::Type,
            2 => Self::Error,
            3 => Self::DontRoute,
            4 => Self::Broadcast,
            5 => Self::SendBuffer,
            6 => Self::ReceiveBuffer,
            7 => Self::KeepAlive,
            8 => Self::OutOfBandInline,
            9 => Self::Linger,
            10 => Self::ReceiveLowWater,
            11 => Self::ReceiveTimeout,
            12 => Self::SendTimeout,
            13 => Self::AcceptsConnections,
            14 => Self::BindToDevice,
            _ => return Err(Errno::Inval),
        })
    }
}

/// What an option is set to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OptionValue {
    Int(i32),
    /// Zero means no limit.
    Timeout(Duration),
    /// Seconds; `None` is off.
    Linger(Option<i32>),
    /// No device: the only one there is.
    Device,
}

/// The options of one socket, as far as they are remembered here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Options {
    numbers: Numbers,
    aborts_on_close: bool,
    pub(super) receive_timeout: Option<Duration>,
    pub(super) send_timeout: Option<Duration>,
}

/// The options whose value is a number and stands for itself, by the option's number. Every request has sockets, so this
/// is no map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<SocketOption, i32>", into = "BTreeMap<SocketOption, i32>")]
struct Numbers([Option<i32>; OPTIONS.len()]);

/// All options that are remembered as numbers.
const OPTIONS: [SocketOption; 8] = [
    SocketOption::ReuseAddress,
    SocketOption::DontRoute,
    SocketOption::Broadcast,
    SocketOption::SendBuffer,
    SocketOption::ReceiveBuffer,
    SocketOption::KeepAlive,
    SocketOption::OutOfBandInline,
    SocketOption::ReceiveLowWater,
];

#[derive(Debug, thiserror::Error)]
#[error("socket option {0:?} cannot be set")]
struct NotSettable(SocketOption);

impl Numbers {
    fn get(&self, option: SocketOption) -> Option<i32> {
        OPTIONS.iter().position(|known| *known == option).and_then(|place| self.0[place])
    }

    fn set(&mut self, option: SocketOption, value: i32) -> Result<(), NotSettable> {
        let place = OPTIONS.iter().position(|known| *known == option).ok_or(NotSettable(option))?;
        self.0[place] = Some(value);
        Ok(())
    }

    fn iter(&self) -> impl Iterator<Item = (SocketOption, i32)> {
        OPTIONS.into_iter().zip(self.0).filter_map(|(option, value)| Some((option, value?)))
    }
}

impl TryFrom<BTreeMap<SocketOption, i32>> for Numbers {
    type Error = NotSettable;

    fn try_from(map: BTreeMap<SocketOption, i32>) -> Result<Self, Self::Error> {
        let mut numbers = Self::default();
        for (option, value) in map {
            numbers.set(option, value)?;
        }
        Ok(numbers)
    }
}

impl From<Numbers> for BTreeMap<SocketOption, i32> {
    fn from(numbers: Numbers) -> Self {
        numbers.iter().collect()
    }
}

impl Sockets {
    pub(crate) fn option(&mut self, fd: i32, option: SocketOption) -> Result<OptionValue, Errno> {
        let socket = self.get(fd)?;
        Ok(match option {
            SocketOption::Type => OptionValue::Int(match socket.kind() {
                Kind::Datagram => TYPE_DGRAM,
                Kind::Stream => TYPE_STREAM,
            }),
            SocketOption::Error => OptionValue::Int(socket.take_error().map_or(0, Errno::code)),
            SocketOption::AcceptsConnections => OptionValue::Int(matches!(socket.role, Role::Listener(_)).into()),
            SocketOption::ReceiveTimeout => OptionValue::Timeout(socket.options.receive_timeout.unwrap_or_default()),
            SocketOption::SendTimeout => OptionValue::Timeout(socket.options.send_timeout.unwrap_or_default()),
            SocketOption::Linger => OptionValue::Linger(socket.options.aborts_on_close.then_some(0)),
            SocketOption::BindToDevice => OptionValue::Device,
            SocketOption::SendBuffer | SocketOption::ReceiveBuffer => OptionValue::Int(socket.buffer_size(option)),
            SocketOption::ReceiveLowWater => OptionValue::Int(socket.options.number(option).unwrap_or(1)),
            SocketOption::ReuseAddress
            | SocketOption::DontRoute
            | SocketOption::Broadcast
            | SocketOption::KeepAlive
            | SocketOption::OutOfBandInline => OptionValue::Int(socket.options.number(option).unwrap_or(0)),
        })
    }

    pub(crate) fn set_option(&mut self, fd: i32, option: SocketOption, value: OptionValue) -> Result<(), Errno> {
        let socket = self.get(fd)?;
        match (option, value) {
            (SocketOption::ReceiveTimeout, OptionValue::Timeout(limit)) => {
                socket.options.receive_timeout = (!limit.is_zero()).then_some(limit);
            }
            (SocketOption::SendTimeout, OptionValue::Timeout(limit)) => {
                socket.options.send_timeout = (!limit.is_zero()).then_some(limit);
            }
            (SocketOption::Linger, OptionValue::Linger(None)) => socket.options.aborts_on_close = false,
            (SocketOption::Linger, OptionValue::Linger(Some(0))) => socket.options.aborts_on_close = true,
            (SocketOption::Linger, _) => {
                tracing::warn!("the guest was refused to linger on close: it would hold a thread that others need");
                return Err(Errno::NotSup);
            }
            (SocketOption::BindToDevice, _) => {
                tracing::warn!("the guest was refused to bind a socket to a device: rules are about addresses");
                return Err(Errno::Acces);
            }
            (SocketOption::Type | SocketOption::Error | SocketOption::AcceptsConnections, _) => {
                return Err(Errno::NoProtoOpt);
            }
            (_, OptionValue::Int(value)) => {
                socket.options.numbers.set(option, value).map_err(|_| Errno::NoProtoOpt)?;
            }
            _ => return Err(Errno::Inval),
        }
        socket.apply_options();
        Ok(())
    }
}

impl Options {
    fn number(&self, option: SocketOption) -> Option<i32> {
        self.numbers.get(option)
    }

    pub(super) fn reuses_address(&self) -> bool {
        self.number(SocketOption::ReuseAddress).is_some_and(|value| value != 0)
    }

    /// Sets on the host's socket what was set on the guest's. One that the host does not take has no effect here
    /// either: the guest has been told that it was taken, since its socket may not have existed then.
    pub(super) fn apply(&self, socket: &impl AsFd) {
        let socket = SockRef::from(socket);
        for (option, value) in self.numbers.iter() {
            let size = || usize::try_from(value).unwrap_or(0);
            let result = match option {
                SocketOption::ReuseAddress => socket.set_reuse_address(value != 0),
                SocketOption::Broadcast => socket.set_broadcast(value != 0),
                SocketOption::KeepAlive => socket.set_keepalive(value != 0),
                SocketOption::OutOfBandInline => socket.set_out_of_band_inline(value != 0),
                SocketOption::SendBuffer => socket.set_send_buffer_size(size()),
                SocketOption::ReceiveBuffer => socket.set_recv_buffer_size(size()),
                _ => Ok(()),
            };
            if let Err(error) = result {
                tracing::debug!("the host does not set {option:?} to {value}: {error}");
            }
        }
        if self.aborts_on_close
            && let Err(error) = socket.set_linger(Some(Duration::ZERO))
        {
            tracing::debug!("the host does not set Linger: {error}");
        }
    }
}

impl Socket {
    fn apply_options(&self) {
        match &self.role {
            Role::Bound(Bound::Real(socket)) => self.options.apply(socket),
            Role::Stream(Stream::Real(socket)) => self.options.apply(socket),
            Role::Datagram(datagram) => {
                if let Some(socket) = datagram.host_socket() {
                    self.options.apply(socket);
                }
            }
            Role::Listener(Listener::Real(listener)) => self.options.apply(listener),
            // Applied when there is a socket on the host.
            Role::Fresh | Role::Connecting(_) | Role::Failed { .. } => {}
            Role::Bound(Bound::Virtual) | Role::Stream(Stream::Virtual(_)) | Role::Listener(Listener::Virtual(_)) => {}
        }
    }

    /// As the host has it, which on Linux is twice what was set.
    fn buffer_size(&self, option: SocketOption) -> i32 {
        let ask = |socket: SockRef<'_>| match option {
            SocketOption::SendBuffer => socket.send_buffer_size().ok(),
            _ => socket.recv_buffer_size().ok(),
        };
        let real = match &self.role {
            Role::Stream(Stream::Real(stream)) => ask(SockRef::from(stream)),
            Role::Datagram(datagram) => datagram.host_socket().and_then(|socket| ask(SockRef::from(socket))),
            _ => None,
        };
        let known = real.and_then(|size| i32::try_from(size).ok());
        known.or(self.options.number(option)).unwrap_or(VIRTUAL_BUFFER)
    }

    fn take_error(&mut self) -> Option<Errno> {
        self.progress();
        match &mut self.role {
            Role::Failed { errno, told } => (!std::mem::replace(told, true)).then_some(*errno),
            Role::Stream(Stream::Real(stream)) => stream.take_error().ok().flatten().map(Errno::from),
            Role::Datagram(datagram) => datagram.take_error(),
            _ => None,
        }
    }
}
