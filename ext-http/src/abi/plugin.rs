//! How the HTTP plugin's arguments are decoded and its answer is encoded.

use super::memory::GuestMemory;
use crate::plugin::{Plugin, PluginError};

/// No host name is longer (RFC 1035, 2.3.4), with a NUL behind it.
pub(crate) const MAX_HOST: u32 = 256;

/// Where a request ends.
#[derive(Clone, Copy)]
pub(crate) enum Cut {
    No,
    /// At its first NUL, as in WasmEdge 0.11.0.
    AtNul,
}

/// What a guest wants to be sent: a whole HTTP/1.x request, and where to.
pub(crate) struct Order<'a> {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) request: &'a [u8],
}

impl<'a> Order<'a> {
    /// Decodes host, length of host, port, request, length of request.
    pub(crate) fn read(
        memory: &'a GuestMemory<'_>,
        [host, host_length, port, request, length]: [i32; 5],
        cut: Cut,
    ) -> Result<Self, PluginError> {
        let bytes = |pointer, length: i32| {
            memory.read(pointer, length.cast_unsigned()).map_err(|_| PluginError::RequestOutOfBounds)
        };
        if host_length.cast_unsigned() > MAX_HOST {
            return Err(PluginError::HostTooLong);
        }
        let host = String::from_utf8_lossy(bytes(host, host_length)?).trim_end_matches('\0').to_owned();
        let port = u16::try_from(port).map_err(|_| PluginError::Port { port })?;
        let request = bytes(request, length)?;
        let request = match cut {
            Cut::No => request,
            Cut::AtNul => request.split(|&byte| byte == 0).next().unwrap_or_default(),
        };
        Ok(Self { host, port, request })
    }
}

/// The length of the last answer.
pub(crate) fn answer_length(plugin: &Plugin) -> i32 {
    // It is bounded far below: see `plugin`.
    i32::try_from(plugin.length()).unwrap_or(i32::MAX)
}

/// Stores the last answer where the guest wants it.
pub(crate) fn write_answer(memory: &mut GuestMemory<'_>, out: i32, plugin: &mut Plugin) -> Result<(), PluginError> {
    memory.write(out, plugin.fetch()).map_err(|_| PluginError::AnswerOutOfBounds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_read_with_or_without_nul() {
        let mut bytes = *b"host\0GET\0/";
        let memory = GuestMemory::new(&mut bytes);
        let order = Order::read(&memory, [0, 5, 443, 5, 5], Cut::No).expect("in bounds");
        assert_eq!((order.host.as_str(), order.port, order.request), ("host", 443, b"GET\0/".as_slice()));
        let order = Order::read(&memory, [0, 4, 443, 5, 5], Cut::AtNul).expect("in bounds");
        assert_eq!(order.request, b"GET");
    }

    #[test]
    fn wrong_arguments_are_told_apart() {
        let mut bytes = [0; 300];
        let memory = GuestMemory::new(&mut bytes);
        let read = |arguments| Order::read(&memory, arguments, Cut::No).err();
        assert!(matches!(read([299, 2, 443, 0, 0]), Some(PluginError::RequestOutOfBounds)));
        assert!(matches!(read([0, 1, 443, 0, -1]), Some(PluginError::RequestOutOfBounds)));
        assert!(matches!(read([0, 257, 443, 0, 0]), Some(PluginError::HostTooLong)));
        assert!(matches!(read([0, 1, 65536, 0, 0]), Some(PluginError::Port { port: 65536 })));
    }
}
