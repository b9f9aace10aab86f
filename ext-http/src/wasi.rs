//! WASI preview 1 without sockets: what a guest may see of its surroundings.
//!
//! The dozen calls which a request really makes (stdio, arguments, environment, clocks, random numbers) are
//! implemented here, so that a request costs no more than it uses. Everything about files is wasmtime-wasi's, whose
//! context is created at the first call that needs it.

pub(crate) mod clock;
pub(crate) mod files;
pub(crate) mod random;
pub(crate) mod stdio;

use std::{cell::LazyCell, sync::Arc};

use crate::abi::{
    errno::Errno,
    memory::{GuestMemory, offset},
};

pub use clock::Clock;
pub use files::{Access, Directory, FileView};
pub use random::{Draw, Random, Seed, Varied};
pub use stdio::{Input, Output};

use files::Files;
use stdio::Stdio;

/// What a guest may see: shared by all instances of an app. Nothing is inherited from the host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// Program arguments, the program's name first.
    pub args: Vec<String>,
    /// Environment variables.
    pub env: Vec<(String, String)>,
    /// Directories opened before the start.
    pub dirs: Vec<Directory>,
    /// What files look like.
    pub files: FileView,
    /// What clocks tell.
    pub clock: Clock,
    /// Where random bytes come from.
    pub random: Random,
}

/// Variables of one instance, made when the guest first asks for its environment: many never do.
pub type ExtraEnv = Box<dyn FnOnce() -> Vec<(String, String)> + Send>;

/// Everything of [`Environment`] and stdio for one instance.
pub(crate) struct Wasi {
    environment: Arc<Environment>,
    /// Variables of this instance alone (CGI's), after the app's.
    extra_env: LazyCell<Vec<(String, String)>, ExtraEnv>,
    pub(crate) stdio: Stdio,
    pub(crate) files: Files,
    pub(crate) clock: clock::Clocks,
    pub(crate) random: random::Source,
}

impl Wasi {
    pub(crate) fn new(environment: Arc<Environment>, extra_env: ExtraEnv, stdio: Stdio) -> Self {
        Self {
            clock: clock::Clocks::new(environment.clock),
            random: random::Source::new(environment.random),
            files: Files::new(Arc::clone(&environment)),
            environment,
            extra_env: LazyCell::new(extra_env),
            stdio,
        }
    }

    /// Lets the monotonic clock go on from here.
    pub(crate) fn resume_clock(&mut self, monotonic: u64, polling_since: Option<u64>) {
        self.clock = clock::Clocks::resumed(self.environment.clock, monotonic, polling_since);
    }

    fn env(&self) -> impl Iterator<Item = String> {
        self.environment.env.iter().chain(self.extra_env.iter()).map(|(name, value)| format!("{name}={value}"))
    }

    fn args(&self) -> impl Iterator<Item = String> {
        self.environment.args.iter().cloned()
    }

    pub(crate) fn args_sizes(&self, memory: &mut GuestMemory<'_>, count: i32, size: i32) -> Result<(), Errno> {
        write_sizes(memory, self.args(), count, size)
    }

    pub(crate) fn args_get(&self, memory: &mut GuestMemory<'_>, pointers: i32, text: i32) -> Result<(), Errno> {
        write_strings(memory, self.args(), pointers, text)
    }

    pub(crate) fn environ_sizes(&self, memory: &mut GuestMemory<'_>, count: i32, size: i32) -> Result<(), Errno> {
        write_sizes(memory, self.env(), count, size)
    }

    pub(crate) fn environ_get(&self, memory: &mut GuestMemory<'_>, pointers: i32, text: i32) -> Result<(), Errno> {
        write_strings(memory, self.env(), pointers, text)
    }
}

fn write_sizes(
    memory: &mut GuestMemory<'_>,
    strings: impl Iterator<Item = String>,
    count_out: i32,
    size_out: i32,
) -> Result<(), Errno> {
    let (mut count, mut size) = (0u32, 0u32);
    for string in strings {
        let length = u32::try_from(string.len() + 1).map_err(|_| Errno::NoMem)?;
        count += 1;
        size = size.checked_add(length).ok_or(Errno::NoMem)?;
    }
    memory.write_u32(count_out, count)?;
    memory.write_u32(size_out, size)
}

/// Writes NUL-terminated strings one behind the other, and a pointer to each.
fn write_strings(
    memory: &mut GuestMemory<'_>,
    strings: impl Iterator<Item = String>,
    mut pointers: i32,
    mut text: i32,
) -> Result<(), Errno> {
    for string in strings {
        let mut bytes = string.into_bytes();
        bytes.push(0);
        memory.write_u32(pointers, text.cast_unsigned())?;
        memory.write(text, &bytes)?;
        pointers = offset(pointers, 4)?;
        text = offset(text, u32::try_from(bytes.len()).map_err(|_| Errno::NoMem)?)?;
    }
    Ok(())
}
