//! What is decided before the program starts.

use crate::{
    address::{FAMILY_INET6, Family, from_words},
    socket::{Role, Socket},
    state::Run,
};

const OPTION_HOST_HEADER: u32 = 1;
const STATE_BOUND: u32 = 1;
const STATE_LISTENING: u32 = 2;
const KIND_STREAM: u32 = 2;

/// A socket of a frozen program, as the interface has it.
pub(crate) struct Frozen {
    pub(crate) fd: i32,
    pub(crate) state: u32,
    pub(crate) family: u32,
    pub(crate) kind: u32,
    pub(crate) flags: u32,
    pub(crate) port: u32,
    pub(crate) words: (u64, u64),
}

impl Run {
    pub(crate) fn configure(&mut self, bits: u32) {
        self.settings.uses_host_header = bits & OPTION_HOST_HEADER != 0;
    }

    /// Makes a frozen program's socket again. For datagrams there is none: its calls will tell.
    pub(crate) fn thaw(&mut self, frozen: &Frozen) {
        if frozen.kind != KIND_STREAM {
            return;
        }
        let family = if frozen.family == FAMILY_INET6.into() { Family::Inet6 } else { Family::Inet4 };
        let role = match frozen.state {
            STATE_BOUND => Role::Bound,
            STATE_LISTENING => Role::Listener,
            _ => Role::Fresh,
        };
        let [low, high, ..] = frozen.port.to_le_bytes();
        let local = from_words(family, u16::from_le_bytes([low, high]), frozen.words.0, frozen.words.1);
        // Only a descriptor which no snapshot has would not fit.
        let _ = self.sockets.place(frozen.fd, Socket::new(family, role).at(local, frozen.flags));
    }
}
