//! Socket options: numbers and payloads.

use std::time::Duration;

use super::{errno::Errno, memory::GuestMemory};
use crate::sockets::options::{OptionValue, SocketOption};

/// The only level there is.
const SOL_SOCKET: i32 = 0;

/// Decodes level and name.
pub(crate) fn option(level: i32, name: i32) -> Result<SocketOption, Errno> {
    if level != SOL_SOCKET {
        return Err(Errno::Inval);
    }
    SocketOption::from_number(name)
}

/// Decodes the payload of `sock_setsockopt`; like Linux, takes no notice of what follows it.
pub(crate) fn read_value(bytes: &[u8], option: SocketOption) -> Result<OptionValue, Errno> {
    let int = |at: usize| match bytes.get(at..at + 4).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok()) {
        Some(bytes) => Ok(i32::from_le_bytes(bytes)),
        None => Err(Errno::Inval),
    };
    Ok(match option {
        SocketOption::ReceiveTimeout | SocketOption::SendTimeout => OptionValue::Timeout(timeval(bytes)?),
        SocketOption::Linger => {
            let (on, seconds) = (int(0)?, int(4)?);
            OptionValue::Linger((on != 0).then_some(seconds))
        }
        SocketOption::BindToDevice => OptionValue::Device,
        _ => OptionValue::Int(int(0)?),
    })
}

/// Stores as much of the value as the guest has room for, and how much that was.
///
/// A room below the value's length is no error: Go's `net` passes the length itself for a pointer to it, and so has
/// the length read from address 4, where it finds 0.
pub(crate) fn write_value(
    memory: &mut GuestMemory<'_>,
    value: OptionValue,
    pointer: i32,
    length_pointer: i32,
) -> Result<(), Errno> {
    let mut bytes = Vec::new();
    match value {
        OptionValue::Int(value) => bytes.extend(value.to_le_bytes()),
        OptionValue::Timeout(timeout) => {
            bytes.extend(timeout.as_secs().to_le_bytes());
            bytes.extend(u64::from(timeout.subsec_micros()).to_le_bytes());
        }
        OptionValue::Linger(seconds) => {
            bytes.extend(i32::from(seconds.is_some()).to_le_bytes());
            bytes.extend(seconds.unwrap_or(0).to_le_bytes());
        }
        OptionValue::Device => {}
    }
    let room = memory.u32(length_pointer)? as usize;
    let stored = &bytes[..bytes.len().min(room)];
    memory.write(pointer, stored)?;
    memory.write_u32(length_pointer, u32::try_from(stored.len()).map_err(|_| Errno::Fault)?)
}

/// `i64` seconds, `i64` microseconds.
fn timeval(bytes: &[u8]) -> Result<Duration, Errno> {
    const MICROSECONDS_PER_SECOND: u64 = 1_000_000;
    let field = |at: usize| -> Result<u64, Errno> {
        let bytes = bytes.get(at..at + 8).and_then(|bytes| <[u8; 8]>::try_from(bytes).ok()).ok_or(Errno::Inval)?;
        u64::try_from(i64::from_le_bytes(bytes)).map_err(|_| Errno::Inval)
    };
    let (seconds, microseconds) = (field(0)?, field(8)?);
    if microseconds >= MICROSECONDS_PER_SECOND {
        return Err(Errno::Inval);
    }
    Ok(Duration::from_secs(seconds).saturating_add(Duration::from_micros(microseconds)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_are_read_by_option() {
        let timeval: Vec<u8> = [3i64, 250_000].iter().flat_map(|field| field.to_le_bytes()).collect();
        let value = read_value(&timeval, SocketOption::ReceiveTimeout);
        assert_eq!(value, Ok(OptionValue::Timeout(Duration::from_millis(3250))));
        let value = read_value(&[1, 0, 0, 0, 5, 0, 0, 0], SocketOption::Linger);
        assert_eq!(value, Ok(OptionValue::Linger(Some(5))));
        assert_eq!(read_value(&[1, 0, 0, 0, 9], SocketOption::KeepAlive), Ok(OptionValue::Int(1)));
        assert_eq!(read_value(&[1, 0], SocketOption::KeepAlive), Err(Errno::Inval));
        assert_eq!(read_value(&[0xff; 16], SocketOption::SendTimeout), Err(Errno::Inval));
        assert_eq!(read_value(&[9; 8], SocketOption::SendTimeout), Err(Errno::Inval));
    }

    #[test]
    fn a_value_is_cut_to_the_room_that_the_guest_has() {
        let mut bytes = vec![0; 64];
        let mut memory = GuestMemory::new(&mut bytes);
        assert_eq!(write_value(&mut memory, OptionValue::Int(7), 32, 4), Ok(()));
        assert_eq!((memory.u32(32), memory.u32(4)), (Ok(0), Ok(0)), "no room");
        memory.write_u32(4, 16).expect("in range");
        assert_eq!(write_value(&mut memory, OptionValue::Int(7), 32, 4), Ok(()));
        assert_eq!((memory.u32(32), memory.u32(4)), (Ok(7), Ok(4)));
    }
}
