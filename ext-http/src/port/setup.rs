//! What is done before a ported program starts.

use std::net::{IpAddr, SocketAddr};

use wasm_encoder::Instruction;

use super::Authority;
use crate::{
    frozen::{HostState, Reseed},
    sockets::{
        Family, Kind,
        frozen::{FrozenRole, FrozenSocket},
    },
};

/// Bit 0 of `setup.options`.
const HOST_HEADER: u32 = 1;
/// States of `setup.socket`.
const FRESH: u32 = 0;
const BOUND: u32 = 1;
const LISTENING: u32 = 2;
const FDFLAG_NONBLOCK: u32 = 4;

/// The steps, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Setup(Vec<Step>);

/// A call of one trampoline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// What was decided.
    Options(u32),
    /// The clock of a frozen program goes on.
    Clock { monotonic: u64, polling_since: u64 },
    /// A frozen program finds its socket.
    Socket { fd: i32, state: u32, family: Family, kind: Kind, flags: u32, address: SocketAddr },
    /// A frozen program has closed this standard stream.
    Close(i32),
    /// These bytes of a frozen program are random ones, and not the same in two instances.
    Reseed(Reseed),
}

impl Setup {
    /// The steps for a program that was frozen with this host, if it was.
    pub(super) fn new(authority: Authority, frozen: Option<&HostState>) -> Self {
        let mut steps = Vec::new();
        if authority == Authority::HostHeader {
            steps.push(Step::Options(HOST_HEADER));
        }
        if let Some(host) = frozen {
            steps.push(Step::Clock { monotonic: host.monotonic(), polling_since: host.polling_since().unwrap_or(0) });
            steps.extend(host.sockets().iter().map(socket));
            steps.extend(host.closed_stdio().iter().copied().map(Step::Close));
            steps.extend(host.reseed().iter().copied().map(Step::Reseed));
        }
        Self(steps)
    }

    pub(super) fn steps(&self) -> &[Step] {
        &self.0
    }

    /// The trampolines that are called.
    pub(super) fn callees(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(Step::callee)
    }
}

fn socket(socket: &FrozenSocket) -> Step {
    let state = match socket.role {
        FrozenRole::Fresh => FRESH,
        FrozenRole::Bound(_) => BOUND,
        FrozenRole::Listener(_) => LISTENING,
    };
    Step::Socket {
        fd: socket.fd.into(),
        state,
        family: socket.family,
        kind: socket.kind,
        flags: if socket.nonblocking { FDFLAG_NONBLOCK } else { 0 },
        address: socket.address().unwrap_or_else(|| socket.family.any()),
    }
}

impl Step {
    /// The name of the trampoline.
    pub(super) fn callee(&self) -> &'static str {
        match self {
            Self::Options(_) => "options",
            Self::Clock { .. } => "clock",
            Self::Socket { .. } => "socket",
            Self::Close(_) => "fd_close",
            Self::Reseed(_) => "random_get",
        }
    }

    /// What it is given.
    pub(super) fn arguments(&self) -> Vec<Instruction<'static>> {
        let word = |value: u32| Instruction::I32Const(value.cast_signed());
        let long = |value: u64| Instruction::I64Const(value.cast_signed());
        match *self {
            Self::Options(bits) => vec![word(bits)],
            Self::Clock { monotonic, polling_since } => vec![long(monotonic), long(polling_since)],
            Self::Socket { fd, state, family, kind, flags, address } => {
                let family = match family {
                    Family::Inet4 => 1,
                    Family::Inet6 => 2,
                };
                let kind = match kind {
                    Kind::Datagram => 1,
                    Kind::Stream => 2,
                };
                let (first, second) = address_words(address.ip());
                let port = address.port().into();
                let mut arguments = vec![Instruction::I32Const(fd)];
                arguments.extend([state, family, kind, flags, port].map(word));
                arguments.extend([first, second].map(long));
                arguments
            }
            Self::Close(fd) => vec![Instruction::I32Const(fd)],
            // A memory with 32-bit addresses, as `plan` has checked.
            Self::Reseed(part) => vec![word(u32::try_from(part.offset).unwrap_or(u32::MAX)), word(part.length)],
        }
    }
}

/// An address's bytes in their order, little-endian; an IPv4 address is the first four.
fn address_words(ip: IpAddr) -> (u64, u64) {
    let mut bytes = [0; 16];
    match ip {
        IpAddr::V4(ip) => bytes[..4].copy_from_slice(&ip.octets()),
        IpAddr::V6(ip) => bytes.copy_from_slice(&ip.octets()),
    }
    let [first, second] = [0, 8].map(|at| {
        let mut word = [0; 8];
        word.copy_from_slice(&bytes[at..at + 8]);
        u64::from_le_bytes(word)
    });
    (first, second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_two_words() {
        assert_eq!(address_words("1.2.3.4".parse().expect("valid")), (0x0403_0201, 0));
        assert_eq!(address_words("::1".parse().expect("valid")), (0, 1 << 56));
    }

    #[test]
    fn what_needs_no_step_has_none() {
        assert!(Setup::new(Authority::Connect, None).steps().is_empty());
        assert_eq!(Setup::new(Authority::HostHeader, None).steps(), [Step::Options(1)]);
    }
}
