//! The host's side of one instance.

use std::{future::poll_fn, sync::Arc};

use wasmtime::{Caller, WasmBacktrace};

use crate::{
    abi::errno::Errno,
    codec::Codecs,
    frozen::Reseed,
    link::ServedOut,
    network::Network,
    outbound::{Outbound, Usage},
    plugin::Plugin,
    sockets::{FIRST_SOCKET, Sockets},
    upcoming::Upcoming,
    wasi::{Environment, ExtraEnv, Input, Output, Wasi, files::FIRST_FILE, stdio::Stdio},
};

/// What an instance gets besides the [`Environment`] that it shares with others.
pub struct HostOptions {
    /// Variables of this instance alone, after those of the environment.
    pub extra_env: ExtraEnv,
    /// Standard input.
    pub stdin: Input,
    /// Standard output.
    pub stdout: Output,
    /// Standard error.
    pub stderr: Output,
    /// The network.
    pub network: Network,
}

impl HostOptions {
    /// No input, and output to nowhere.
    pub fn silent(network: Network) -> Self {
        Self {
            extra_env: Box::new(Vec::new),
            stdin: Input::Empty,
            stdout: Output::Discard,
            stderr: Output::Discard,
            network,
        }
    }
}

/// The state behind all host calls of one instance.
pub struct Host {
    pub(crate) wasi: Wasi,
    pub(crate) sockets: Sockets,
    pub(crate) plugin: Plugin,
    pub(crate) codecs: Codecs,
    outbound: Arc<Outbound>,
    usage: Usage,
    backtrace: Option<WasmBacktrace>,
    /// Parts of a frozen guest's memory which are to be filled before it goes on.
    pub(crate) reseed: Vec<Reseed>,
}

/// Store data which holds a [`Host`].
pub trait HostView: Send + 'static {
    /// Whether [`Self::before`] is to be called at all: it costs every host call a little.
    const WATCHES: bool = false;

    /// The host's side of the instance.
    fn host(&mut self) -> &mut Host;

    /// Called before each host call, before it has any effect. An error ends the guest.
    ///
    /// # Errors
    /// Whatever is to end the guest.
    fn before(caller: &mut Caller<'_, Self>, call: &Upcoming<'_>) -> wasmtime::Result<()>
    where
        Self: Sized,
    {
        let _ = (caller, call);
        Ok(())
    }

    /// The guest waits for a connection and none will come. It waits once more if this returns.
    ///
    /// # Errors
    /// Whatever is to end the guest.
    fn served_out(caller: &mut Caller<'_, Self>) -> wasmtime::Result<()>
    where
        Self: Sized,
    {
        Err(caller.data_mut().host().end(ServedOut))
    }
}

impl Host {
    /// The host's side of a new instance.
    pub fn new(environment: Arc<Environment>, options: HostOptions) -> Self {
        let usage = Usage::of(&options.network.outbound);
        let stdio = Stdio::new(options.stdin, options.stdout, options.stderr);
        Self {
            wasi: Wasi::new(environment, options.extra_env, stdio),
            plugin: Plugin::default(),
            codecs: Codecs::new(Arc::clone(&options.network.outbound)),
            outbound: Arc::clone(&options.network.outbound),
            usage: usage.clone(),
            sockets: Sockets::new(options.network, usage),
            backtrace: None,
            reseed: Vec::new(),
        }
    }

    /// Whether the guest looked for a directory although none was given to it.
    pub fn looked_for_directory_in_vain(&self) -> bool {
        self.wasi.files.looked_in_vain()
    }

    pub(crate) fn set_backtrace(&mut self, backtrace: WasmBacktrace) {
        self.backtrace = Some(backtrace);
    }

    /// The error which ends the guest, with the backtrace prepared for it.
    pub(crate) fn end(&mut self, why: impl std::error::Error + Send + Sync + 'static) -> wasmtime::Error {
        let error = wasmtime::Error::new(why);
        match self.backtrace.take() {
            Some(backtrace) => error.context(backtrace),
            None => error,
        }
    }

    /// What the instance has used of its limits for calls out.
    pub(crate) fn usage(&self) -> &Usage {
        &self.usage
    }

    pub(crate) fn outbound(&self) -> Arc<Outbound> {
        Arc::clone(&self.outbound)
    }

    /// Reads from standard input.
    pub(crate) async fn read_stdin(&mut self, bytes: &mut [u8]) -> Result<usize, Errno> {
        poll_fn(|cx| self.wasi.stdio.poll_read(cx, bytes)).await
    }

    /// Writes to standard output or error.
    pub(crate) async fn write_stdio(&mut self, fd: i32, bytes: &[u8]) -> Result<usize, Errno> {
        poll_fn(|cx| self.wasi.stdio.poll_write(cx, fd, bytes)).await
    }

    pub(crate) fn is_open_without_socket(&mut self, fd: i32) -> bool {
        match fd {
            0..FIRST_FILE => self.wasi.stdio.is_open(fd),
            // Files never wait; one that is not open tells so at the next read.
            FIRST_FILE..FIRST_SOCKET => matches!(self.wasi.files.context(), Ok(Some(_))),
            _ => false,
        }
    }
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host").finish_non_exhaustive()
    }
}
