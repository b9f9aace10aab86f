//! A frozen program's host: what is kept of it, and what comes of that on another host.
//!
//! The custom section `prewasm.frozen` holds it as JSON. Whoever reads one may not have written it, so everything is
//! checked when it is parsed, and nothing can fail later but what depends on the host.

use std::{io, net::SocketAddr, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    host::{Host, HostOptions},
    sockets::frozen::FrozenSocket,
    wasi::{Environment, clock::LATEST_MONOTONIC},
};

/// Version of the JSON.
const SCHEMA_VERSION: u32 = 1;

/// What the custom section `prewasm.frozen` holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct Frozen {
    schema_version: u32,
    /// Where the program was stopped: `accept`, `pure`, `marker` or an import.
    pub until: String,
    /// The program has read its environment variables: it will hardly read those of its next host.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub environment_read: bool,
    /// The host at that moment.
    pub host: HostState,
}

/// The host's side of a frozen program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", try_from = "RawHostState")]
pub struct HostState {
    /// What the monotonic clock told, in nanoseconds.
    monotonic: u64,
    /// Which of the standard streams the guest has closed, in order.
    closed_stdio: Vec<i32>,
    /// By descriptor, in order.
    sockets: Vec<FrozenSocket>,
    /// If the guest was stopped in a poll: what the realtime clock told then, in nanoseconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    polling_since: Option<u64>,
    /// What each instance gets random bytes of its own for, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reseed: Vec<Reseed>,
}

/// A part of the guest's memory which must not be the same in two instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Reseed {
    /// Where it starts.
    pub offset: u64,
    /// Its size in bytes.
    pub length: u32,
}

impl Reseed {
    /// More than all the keys a program keeps; nobody is to fill whole memories with it.
    const MAX_BYTES: u64 = 4096;

    fn end(self) -> u64 {
        self.offset.saturating_add(u64::from(self.length))
    }
}

/// As it is read, before anything but the form is checked.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawHostState {
    monotonic: u64,
    closed_stdio: Vec<i32>,
    sockets: Vec<FrozenSocket>,
    #[serde(default)]
    polling_since: Option<u64>,
    #[serde(default)]
    reseed: Vec<Reseed>,
}

/// Why a section `prewasm.frozen` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FrozenError {
    /// Another version of prewasm has written it.
    #[error(
        "its host state has schema version {found}, and this prewasm knows {SCHEMA_VERSION}\n  hint: freeze the program again, or use the prewasm which froze it"
    )]
    Version {
        /// The version.
        found: u32,
    },
    /// It is not what prewasm writes.
    #[error("its host state is malformed")]
    Malformed(#[from] serde_json::Error),
}

/// What is wrong in a host state which is well-formed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidHostState {
    #[error("the monotonic clock is at {monotonic}, which no program can have seen")]
    Clock { monotonic: u64 },
    #[error("the closed standard streams are not some of 0, 1 and 2, in order")]
    Stdio,
    #[error("no socket has descriptor {fd}")]
    NoSocketFd { fd: i32 },
    #[error("the sockets are not in the order of their descriptors, or one comes twice")]
    Order,
    #[error("socket {fd} is for datagrams, and bound")]
    BoundDatagram { fd: i32 },
    #[error(
        "the parts to fill with random bytes are not in order, overlap, or are more than {} bytes",
        Reseed::MAX_BYTES
    )]
    Reseed,
    #[error("socket {fd} cannot have the address {address}")]
    Address { fd: i32, address: SocketAddr },
}

/// One thing that stands in the way of freezing a program: it cannot be given back to it later.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfreezable {
    /// An open connection.
    #[error("fd {fd} is an open connection{peer}", peer = with(*peer))]
    Connection {
        /// The descriptor.
        fd: i32,
        /// The other end.
        peer: Option<SocketAddr>,
    },
    /// A connection attempt.
    #[error("fd {fd} is an attempt to connect{peer}", peer = with(*peer))]
    Connecting {
        /// The descriptor.
        fd: i32,
        /// Whom it is to reach.
        peer: Option<SocketAddr>,
    },
    /// A connection attempt which failed; the socket still tells why.
    #[error("fd {fd} is a failed attempt to connect{peer}", peer = with(*peer))]
    FailedConnection {
        /// The descriptor.
        fd: i32,
        /// Whom it did not reach.
        peer: Option<SocketAddr>,
    },
    /// A datagram socket with an address.
    #[error("fd {fd} is a datagram socket bound to {local}{peer}", peer = with(*peer))]
    Datagram {
        /// The descriptor.
        fd: i32,
        /// Its address.
        local: SocketAddr,
        /// The only peer, if it was connected.
        peer: Option<SocketAddr>,
    },
    /// A connection which the guest has not accepted yet.
    #[error("the listener on {address} (fd {fd}) has a connection waiting")]
    ConnectionWaiting {
        /// The descriptor.
        fd: i32,
        /// Where it listens.
        address: SocketAddr,
    },
    /// A file or directory which the guest has opened.
    #[error("fd {fd} is an open file or directory")]
    File {
        /// The descriptor.
        fd: i32,
    },
    /// A descriptor which was a directory at the start, and is no longer.
    #[error("fd {fd} is no longer the directory `{guest}` which it was at the start")]
    Preopen {
        /// The descriptor.
        fd: i32,
        /// What the guest knew it as.
        guest: String,
    },
    /// The guest has not yet fetched the answer to a request of its HTTP plugin.
    #[error("the HTTP plugin holds an answer of {bytes} bytes, not yet fetched")]
    PluginAnswer {
        /// Its length.
        bytes: usize,
    },
    /// A TLS codec.
    #[error("TLS codec {id}, for `{name}`, is open")]
    Codec {
        /// Its number.
        id: usize,
        /// Whom it is to talk to.
        name: String,
    },
}

fn with(peer: Option<SocketAddr>) -> String {
    peer.map(|peer| format!(", with {peer}")).unwrap_or_default()
}

/// Why a frozen program cannot be resumed on this host.
#[derive(Debug, thiserror::Error)]
pub enum ResumeError {
    /// It listens where nobody allows it.
    #[error(
        "the frozen program listens on {address}, which is not allowed\n  hint: allow it with `--allow-inbound {address}={address}`, or give another address of this machine behind the `=`"
    )]
    Denied {
        /// The address it knows.
        address: SocketAddr,
    },
    /// The system refuses the address.
    #[error("cannot listen on {host} for the frozen program, which knows it as {address}")]
    Bind {
        /// The address it knows.
        address: SocketAddr,
        /// The address of this machine.
        host: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl Frozen {
    /// A program stopped at `until`.
    pub fn new(until: String, host: HostState) -> Self {
        Self { schema_version: SCHEMA_VERSION, until, environment_read: false, host }
    }

    /// These parts of the guest's memory get random bytes in each instance before it goes on.
    pub fn reseed(&mut self, parts: Vec<Reseed>) {
        self.host.reseed = parts;
    }

    /// Reads the section.
    ///
    /// # Errors
    /// [`FrozenError`], for everything that could not be resumed.
    pub fn parse(section: &[u8]) -> Result<Self, FrozenError> {
        /// Another version may have other fields.
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Version {
            schema_version: u32,
        }

        match serde_json::from_slice(section)? {
            Version { schema_version: SCHEMA_VERSION } => Ok(serde_json::from_slice(section)?),
            Version { schema_version: found } => Err(FrozenError::Version { found }),
        }
    }

    /// The content of the section: the same bytes for the same state.
    ///
    /// # Errors
    /// Never, as nothing in it has no JSON.
    pub fn to_section(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }
}

impl HostState {
    /// Where the program listens, as it knows it.
    pub fn listeners(&self) -> impl Iterator<Item = SocketAddr> {
        self.sockets.iter().filter(|socket| socket.is_listener()).filter_map(FrozenSocket::address)
    }

    /// Where the program listens or is about to.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.sockets.iter().filter_map(FrozenSocket::address)
    }

    /// Whether the host held nothing: any other host will do as well.
    pub fn is_portable(&self) -> bool {
        self.sockets.is_empty() && self.closed_stdio.is_empty()
    }

    /// What the monotonic clock told, in nanoseconds.
    pub fn monotonic(&self) -> u64 {
        self.monotonic
    }

    /// What each instance gets random bytes of its own for.
    pub fn reseed(&self) -> &[Reseed] {
        &self.reseed
    }

    pub(crate) fn sockets(&self) -> &[FrozenSocket] {
        &self.sockets
    }

    pub(crate) fn closed_stdio(&self) -> &[i32] {
        &self.closed_stdio
    }

    pub(crate) fn polling_since(&self) -> Option<u64> {
        self.polling_since
    }

    /// The guest was stopped in a poll, at `realtime` nanoseconds since the Unix epoch. What that poll waits for by the
    /// realtime clock comes as much later as the program is resumed.
    #[must_use]
    pub fn while_polling(self, realtime: u64) -> Self {
        Self { polling_since: Some(realtime), ..self }
    }
}

impl TryFrom<RawHostState> for HostState {
    type Error = InvalidHostState;

    fn try_from(raw: RawHostState) -> Result<Self, Self::Error> {
        let RawHostState { monotonic, closed_stdio, sockets, polling_since, reseed } = raw;
        if monotonic > LATEST_MONOTONIC {
            return Err(InvalidHostState::Clock { monotonic });
        }
        if !closed_stdio.is_sorted_by(|a, b| a < b) || closed_stdio.iter().any(|fd| !(0..=2).contains(fd)) {
            return Err(InvalidHostState::Stdio);
        }
        // With it, there are no more of them than descriptors.
        if !sockets.is_sorted_by(|a, b| a.fd < b.fd) {
            return Err(InvalidHostState::Order);
        }
        sockets.iter().try_for_each(FrozenSocket::check)?;
        let bytes: u64 = reseed.iter().map(|part| u64::from(part.length)).sum();
        if !reseed.is_sorted_by(|a, b| a.end() <= b.offset) || bytes > Reseed::MAX_BYTES {
            return Err(InvalidHostState::Reseed);
        }
        Ok(Self { monotonic, closed_stdio, sockets, polling_since, reseed })
    }
}

impl Host {
    /// What must be kept for the guest to go on elsewhere. Nothing changes by it.
    ///
    /// # Errors
    /// Everything that cannot be kept.
    pub fn freeze(&mut self) -> Result<HostState, Vec<Unfreezable>> {
        let mut objections = Vec::new();
        let sockets = self.sockets.freeze(&mut objections);
        self.wasi.files.freeze(&mut objections);
        self.plugin.freeze(&mut objections);
        self.codecs.freeze(&mut objections);
        if !objections.is_empty() {
            return Err(objections);
        }
        let closed_stdio = (0..=2).filter(|fd| !self.wasi.stdio.is_open(*fd)).collect();
        let monotonic = self.wasi.clock.monotonic().min(LATEST_MONOTONIC);
        Ok(HostState { monotonic, closed_stdio, sockets, polling_since: None, reseed: Vec::new() })
    }

    /// The host's side of a new instance of a frozen program. On a virtual network only what the network denies
    /// altogether can fail; on a real one, addresses are bound here.
    ///
    /// # Errors
    /// [`ResumeError`], naming the address at fault.
    pub fn resume(environment: Arc<Environment>, options: HostOptions, state: &HostState) -> Result<Self, ResumeError> {
        let mut host = Self::new(environment, options);
        host.wasi.resume_clock(state.monotonic, state.polling_since);
        for fd in &state.closed_stdio {
            // One that is not open cannot be: this host is new.
            let _ = host.wasi.stdio.close(*fd);
        }
        host.reseed = state.reseed.clone();
        host.sockets.resume(&state.sockets)?;
        Ok(host)
    }
}

#[cfg(test)]
mod tests;
