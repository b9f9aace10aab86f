//! Socket options of level `SOL_SOCKET`, as the native host has them.
//!
//! There is no socket below which could take them, so that all are remembered, and the two time limits honoured. Two are
//! refused, as natively: a device to bind to, and lingering.

use crate::errno::Errno;

const SOL_SOCKET: i32 = 0;

const TYPE: i32 = 1;
const ERROR: i32 = 2;
const SEND_BUFFER: i32 = 5;
const RECEIVE_BUFFER: i32 = 6;
const LINGER: i32 = 9;
const RECEIVE_LOW_WATER: i32 = 10;
const RECEIVE_TIMEOUT: i32 = 11;
const SEND_TIMEOUT: i32 = 12;
const ACCEPTS_CONNECTIONS: i32 = 13;
const BIND_TO_DEVICE: i32 = 14;
const LAST: i32 = BIND_TO_DEVICE;

/// WASI's number of stream sockets: there are no others here.
const TYPE_STREAM: i32 = 2;
/// What a guest reads as the size of a buffer, until it sets another.
const BUFFER: i32 = 64 * 1024;
const NANOSECONDS_PER_SECOND: u64 = 1_000_000_000;
const NANOSECONDS_PER_MICROSECOND: u64 = 1000;
const MICROSECONDS_PER_SECOND: u64 = 1_000_000;

/// What is remembered of one socket.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    numbers: [Option<i32>; LAST as usize],
    aborts_on_close: bool,
    /// In nanoseconds, as the next.
    pub(crate) receive_timeout: Option<u64>,
    pub(crate) send_timeout: Option<u64>,
}

/// What a socket itself tells, besides its options.
pub(crate) struct Facts {
    pub(crate) is_listener: bool,
}

/// Whether reading this option clears the socket's error.
pub(crate) fn is_error(level: i32, name: i32) -> bool {
    (level, name) == (SOL_SOCKET, ERROR)
}

impl Options {
    /// The value of any option but the error.
    pub(crate) fn get(&self, level: i32, name: i32, facts: &Facts) -> Result<Vec<u8>, Errno> {
        check(level, name)?;
        let number = usize::try_from(name).ok().and_then(|name| self.numbers.get(name).copied().flatten());
        Ok(match name {
            TYPE => int(TYPE_STREAM),
            ACCEPTS_CONNECTIONS => int(facts.is_listener.into()),
            RECEIVE_TIMEOUT => timeval(self.receive_timeout),
            SEND_TIMEOUT => timeval(self.send_timeout),
            LINGER => [int(self.aborts_on_close.into()), int(0)].concat(),
            BIND_TO_DEVICE => Vec::new(),
            SEND_BUFFER | RECEIVE_BUFFER => int(number.unwrap_or(BUFFER)),
            RECEIVE_LOW_WATER => int(number.unwrap_or(1)),
            _ => int(number.unwrap_or(0)),
        })
    }

    /// Like Linux, takes no notice of what follows the value.
    pub(crate) fn set(&mut self, level: i32, name: i32, value: &[u8]) -> Result<(), Errno> {
        check(level, name)?;
        match name {
            RECEIVE_TIMEOUT => self.receive_timeout = read_timeval(value)?,
            SEND_TIMEOUT => self.send_timeout = read_timeval(value)?,
            LINGER => match (read_int(value, 0)?, read_int(value, 4)?) {
                (0, _) => self.aborts_on_close = false,
                (_, 0) => self.aborts_on_close = true,
                _ => return Err(Errno::NotSup),
            },
            BIND_TO_DEVICE => return Err(Errno::Acces),
            _ => {
                let number = read_int(value, 0)?;
                if matches!(name, TYPE | ERROR | ACCEPTS_CONNECTIONS) {
                    return Err(Errno::NoProtoOpt);
                }
                let place = usize::try_from(name).ok().and_then(|name| self.numbers.get_mut(name));
                *place.ok_or(Errno::Inval)? = Some(number);
            }
        }
        Ok(())
    }
}

fn check(level: i32, name: i32) -> Result<(), Errno> {
    if level == SOL_SOCKET && (0..=LAST).contains(&name) { Ok(()) } else { Err(Errno::Inval) }
}

pub(crate) fn int(value: i32) -> Vec<u8> {
    value.to_le_bytes().to_vec()
}

fn timeval(limit: Option<u64>) -> Vec<u8> {
    let limit = limit.unwrap_or(0);
    let microseconds = limit % NANOSECONDS_PER_SECOND / NANOSECONDS_PER_MICROSECOND;
    [(limit / NANOSECONDS_PER_SECOND).to_le_bytes(), microseconds.to_le_bytes()].concat()
}

fn read_int(bytes: &[u8], at: usize) -> Result<i32, Errno> {
    let bytes = bytes.get(at..at + 4).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok());
    bytes.map(i32::from_le_bytes).ok_or(Errno::Inval)
}

/// `i64` seconds, `i64` microseconds; zero is no limit.
fn read_timeval(bytes: &[u8]) -> Result<Option<u64>, Errno> {
    let field = |at: usize| {
        let bytes = bytes.get(at..at + 8).and_then(|bytes| <[u8; 8]>::try_from(bytes).ok()).ok_or(Errno::Inval)?;
        u64::try_from(i64::from_le_bytes(bytes)).map_err(|_| Errno::Inval)
    };
    let (seconds, microseconds) = (field(0)?, field(8)?);
    if microseconds >= MICROSECONDS_PER_SECOND {
        return Err(Errno::Inval);
    }
    let limit = seconds.saturating_mul(NANOSECONDS_PER_SECOND);
    let limit = limit.saturating_add(microseconds * NANOSECONDS_PER_MICROSECOND);
    Ok((limit > 0).then_some(limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FACTS: Facts = Facts { is_listener: true };

    #[test]
    fn what_is_set_reads_back() {
        let mut options = Options::default();
        assert_eq!(options.get(0, SEND_BUFFER, &FACTS), Ok(int(65536)));
        assert_eq!(options.set(0, SEND_BUFFER, &[1, 2, 0, 0, 9]), Ok(()));
        assert_eq!(options.get(0, SEND_BUFFER, &FACTS), Ok(int(0x201)));
        let limit: Vec<u8> = [3i64, 250_000].iter().flat_map(|field| field.to_le_bytes()).collect();
        assert_eq!(options.set(0, RECEIVE_TIMEOUT, &limit), Ok(()));
        assert_eq!(options.receive_timeout, Some(3_250_000_000));
        assert_eq!(options.get(0, RECEIVE_TIMEOUT, &FACTS), Ok(limit));
        assert_eq!(options.get(0, ACCEPTS_CONNECTIONS, &FACTS), Ok(int(1)));
        assert_eq!(options.get(0, TYPE, &FACTS), Ok(int(2)));
    }

    #[test]
    fn wrong_levels_names_and_values_are_refused() {
        let mut options = Options::default();
        for (level, name) in [(1, 0), (0, 15), (0, -1)] {
            assert_eq!(options.get(level, name, &FACTS), Err(Errno::Inval));
            assert_eq!(options.set(level, name, &[0; 16]), Err(Errno::Inval));
        }
        assert_eq!(options.set(0, 0, &[0; 3]), Err(Errno::Inval));
        assert_eq!(options.set(0, TYPE, &[0; 4]), Err(Errno::NoProtoOpt));
        assert_eq!(options.set(0, BIND_TO_DEVICE, b"eth0"), Err(Errno::Acces));
        assert_eq!(options.set(0, LINGER, &[1, 0, 0, 0, 5, 0, 0, 0]), Err(Errno::NotSup));
        assert_eq!(options.set(0, SEND_TIMEOUT, &[0xff; 16]), Err(Errno::Inval));
        assert_eq!(options.set(0, SEND_TIMEOUT, &[9; 8]), Err(Errno::Inval));
    }
}
