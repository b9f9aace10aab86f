//! The table of host calls: the only list of what a guest may import.
//!
//! Linking, `inspect` and the import check read it. A call is told by module, name *and type*: WasmEdge resolves
//! each import separately, so that two generations of one name meet in one guest.

use std::borrow::Cow;

use prewasm_artifact::{Family, Import, PREVIEW1, ValueType};

/// A host call: what happens, whatever it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Call {
    ArgsGet,
    ArgsSizesGet,
    ClockResGet,
    ClockTimeGet,
    EnvironGet,
    EnvironSizesGet,
    FdAdvise,
    FdAllocate,
    FdClose,
    FdDatasync,
    FdFdstatGet,
    FdFdstatSetFlags,
    FdFdstatSetRights,
    FdFilestatGet,
    FdFilestatSetSize,
    FdFilestatSetTimes,
    FdPread,
    FdPrestatDirName,
    FdPrestatGet,
    FdPwrite,
    FdRead,
    FdReaddir,
    FdRenumber,
    FdSeek,
    FdSync,
    FdTell,
    FdWrite,
    PathCreateDirectory,
    PathFilestatGet,
    PathFilestatSetTimes,
    PathLink,
    PathOpen,
    PathReadlink,
    PathRemoveDirectory,
    PathRename,
    PathSymlink,
    PathUnlinkFile,
    PollOneoff,
    ProcExit,
    ProcRaise,
    RandomGet,
    SchedYield,
    SockAcceptV1,
    SockAcceptV2,
    SockBind,
    SockConnect,
    SockGetaddrinfo,
    SockGetlocaladdrV1,
    SockGetlocaladdrV2,
    SockGetpeeraddrV1,
    SockGetpeeraddrV2,
    SockGetsockopt,
    SockListen,
    SockOpen,
    SockRecv,
    SockSend,
    SockSetsockopt,
    SockShutdown,
    PluginSendData,
    PluginGetRcvLen,
    PluginGetRcv,
}

/// One importable name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) module: &'static str,
    pub(crate) name: &'static str,
    /// Parameter types, a letter each: `i` is i32, `I` is i64.
    params: &'static str,
    results: &'static str,
    pub(crate) call: Call,
}

const PLUGIN: &str = "wasmedge_httpsreq";

const fn p1(name: &'static str, params: &'static str, call: Call) -> Entry {
    Entry { module: PREVIEW1, name, params, results: "i", call }
}

const fn plugin(name: &'static str, params: &'static str, results: &'static str, call: Call) -> Entry {
    Entry { module: PLUGIN, name, params, results, call }
}

/// Sources: the witx files of WASI preview 1, and WasmEdge's `lib/host/wasi/wasimodule.cpp`.
pub(crate) const TABLE: &[Entry] = &[
    p1("args_get", "ii", Call::ArgsGet),
    p1("args_sizes_get", "ii", Call::ArgsSizesGet),
    p1("clock_res_get", "ii", Call::ClockResGet),
    p1("clock_time_get", "iIi", Call::ClockTimeGet),
    p1("environ_get", "ii", Call::EnvironGet),
    p1("environ_sizes_get", "ii", Call::EnvironSizesGet),
    p1("fd_advise", "iIIi", Call::FdAdvise),
    p1("fd_allocate", "iII", Call::FdAllocate),
    p1("fd_close", "i", Call::FdClose),
    p1("fd_datasync", "i", Call::FdDatasync),
    p1("fd_fdstat_get", "ii", Call::FdFdstatGet),
    p1("fd_fdstat_set_flags", "ii", Call::FdFdstatSetFlags),
    p1("fd_fdstat_set_rights", "iII", Call::FdFdstatSetRights),
    p1("fd_filestat_get", "ii", Call::FdFilestatGet),
    p1("fd_filestat_set_size", "iI", Call::FdFilestatSetSize),
    p1("fd_filestat_set_times", "iIIi", Call::FdFilestatSetTimes),
    p1("fd_pread", "iiiIi", Call::FdPread),
    p1("fd_prestat_dir_name", "iii", Call::FdPrestatDirName),
    p1("fd_prestat_get", "ii", Call::FdPrestatGet),
    p1("fd_pwrite", "iiiIi", Call::FdPwrite),
    p1("fd_read", "iiii", Call::FdRead),
    p1("fd_readdir", "iiiIi", Call::FdReaddir),
    p1("fd_renumber", "ii", Call::FdRenumber),
    p1("fd_seek", "iIii", Call::FdSeek),
    p1("fd_sync", "i", Call::FdSync),
    p1("fd_tell", "ii", Call::FdTell),
    p1("fd_write", "iiii", Call::FdWrite),
    p1("path_create_directory", "iii", Call::PathCreateDirectory),
    p1("path_filestat_get", "iiiii", Call::PathFilestatGet),
    p1("path_filestat_set_times", "iiiiIIi", Call::PathFilestatSetTimes),
    p1("path_link", "iiiiiii", Call::PathLink),
    p1("path_open", "iiiiiIIii", Call::PathOpen),
    p1("path_readlink", "iiiiii", Call::PathReadlink),
    p1("path_remove_directory", "iii", Call::PathRemoveDirectory),
    p1("path_rename", "iiiiii", Call::PathRename),
    p1("path_symlink", "iiiii", Call::PathSymlink),
    p1("path_unlink_file", "iii", Call::PathUnlinkFile),
    p1("poll_oneoff", "iiii", Call::PollOneoff),
    // WasmEdge's edge-triggered twin; guests that ask for it cope with level-triggered events.
    p1("epoll_oneoff", "iiii", Call::PollOneoff),
    Entry { module: PREVIEW1, name: "proc_exit", params: "i", results: "", call: Call::ProcExit },
    p1("proc_raise", "i", Call::ProcRaise),
    p1("random_get", "ii", Call::RandomGet),
    p1("sched_yield", "", Call::SchedYield),
    p1("sock_accept", "ii", Call::SockAcceptV1),
    p1("sock_accept", "iii", Call::SockAcceptV2),
    p1("sock_accept_v2", "iii", Call::SockAcceptV2),
    p1("sock_bind", "iii", Call::SockBind),
    p1("sock_bind_v2", "iii", Call::SockBind),
    p1("sock_connect", "iii", Call::SockConnect),
    p1("sock_connect_v2", "iii", Call::SockConnect),
    p1("sock_getaddrinfo", "iiiiiiii", Call::SockGetaddrinfo),
    p1("sock_getlocaladdr", "iiii", Call::SockGetlocaladdrV1),
    p1("sock_getlocaladdr", "iii", Call::SockGetlocaladdrV2),
    p1("sock_getlocaladdr_v2", "iii", Call::SockGetlocaladdrV2),
    p1("sock_getpeeraddr", "iiii", Call::SockGetpeeraddrV1),
    p1("sock_getpeeraddr", "iii", Call::SockGetpeeraddrV2),
    p1("sock_getpeeraddr_v2", "iii", Call::SockGetpeeraddrV2),
    p1("sock_getsockopt", "iiiii", Call::SockGetsockopt),
    p1("sock_listen", "ii", Call::SockListen),
    p1("sock_listen_v2", "ii", Call::SockListen),
    p1("sock_open", "iii", Call::SockOpen),
    p1("sock_open_v2", "iii", Call::SockOpen),
    p1("sock_recv", "iiiiii", Call::SockRecv),
    p1("sock_recv_v2", "iiiiii", Call::SockRecv),
    p1("sock_send", "iiiii", Call::SockSend),
    p1("sock_send_v2", "iiiii", Call::SockSend),
    p1("sock_setsockopt", "iiiii", Call::SockSetsockopt),
    p1("sock_shutdown", "ii", Call::SockShutdown),
    plugin("wasmedge_httpsreq_send_data", "iiiii", "", Call::PluginSendData),
    plugin("wasmedge_httpsreq_get_rcv_len", "", "i", Call::PluginGetRcvLen),
    plugin("wasmedge_httpsreq_get_rcv", "i", "", Call::PluginGetRcv),
];

impl Entry {
    /// The name under which the linker knows this entry.
    ///
    /// A linker holds one function per name, so the second and later types of a name carry their parameter count:
    /// `sock_accept` and `sock_accept/3`.
    pub(crate) fn link_name(&self) -> Cow<'static, str> {
        let first = TABLE.iter().find(|entry| entry.module == self.module && entry.name == self.name);
        if first.is_none_or(|first| first.params == self.params) {
            Cow::Borrowed(self.name)
        } else {
            Cow::Owned(format!("{}/{}", self.name, self.params.len()))
        }
    }

    fn has_type(&self, params: &[ValueType], results: &[ValueType]) -> bool {
        matches_letters(self.params, params) && matches_letters(self.results, results)
    }
}

fn matches_letters(letters: &str, types: &[ValueType]) -> bool {
    letters.len() == types.len()
        && letters.bytes().zip(types).all(|(letter, ty)| match ty {
            ValueType::I32 => letter == b'i',
            ValueType::I64 => letter == b'I',
            ValueType::Other => false,
        })
}

/// Why an import cannot be linked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// Nobody provides it.
    #[error("unknown import `{import}`\n  hint: {hint}")]
    Unknown {
        /// The import, with its type.
        import: String,
        /// What to do about it.
        hint: &'static str,
    },
    /// The name is known, but with other types.
    #[error("import `{import}` has a type which no host provides\n  hint: known are {known}")]
    WrongType {
        /// The import, with its type.
        import: String,
        /// The types we know, comma separated.
        known: String,
    },
}

/// Finds the entry of an import.
///
/// # Errors
/// [`ImportError`], naming the import.
pub(crate) fn resolve(import: &Import) -> Result<&'static Entry, ImportError> {
    let named = || TABLE.iter().filter(|entry| entry.module == import.module && entry.name == import.name);
    let fits =
        |entry: &&Entry| import.signature.as_ref().is_some_and(|(params, results)| entry.has_type(params, results));
    if let Some(entry) = named().find(fits) {
        return Ok(entry);
    }
    let known: Vec<_> =
        named().map(|entry| format!("({}) -> ({})", spell(entry.params), spell(entry.results))).collect();
    if known.is_empty() {
        Err(ImportError::Unknown { import: import.to_string(), hint: hint(import) })
    } else {
        Err(ImportError::WrongType { import: import.to_string(), known: known.join(", ") })
    }
}

/// Whether prewasm's hosts provide this import of a core module.
///
/// # Errors
/// [`ImportError`] tells why not.
pub fn check(import: &Import) -> Result<(), ImportError> {
    resolve(import).map(drop)
}

fn spell(letters: &str) -> String {
    letters.bytes().map(|letter| if letter == b'i' { "i32" } else { "i64" }).collect::<Vec<_>>().join(", ")
}

fn hint(import: &Import) -> &'static str {
    match import.family {
        Family::Sockets => "this call of WasmEdge's socket extension is not supported yet",
        Family::TlsCodec => "WasmEdge's TLS codec plugin is not supported yet; use plain HTTP or the HTTP plugin",
        Family::HttpPlugin => "only the names of WasmEdge 0.11.1 and later are supported",
        Family::Preview1 => "it is not part of WASI preview 1",
        Family::WasiInterface => "interfaces of later WASI releases are for components, not for core modules",
        Family::Marker => "the snapshot marker is not supported yet",
        Family::Unknown if import.module == "wasi_unstable" => {
            "rebuild for `wasm32-wasip1`: WASI preview 0 is not supported"
        }
        Family::Unknown if import.module == "env" => {
            "a missing library often ends up as an import from `env`: check the guest's link step"
        }
        Family::Unknown => "prewasm provides WASI preview 1, WasmEdge's sockets and its HTTP plugin",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn import(name: &str, params: usize) -> Import {
        Import {
            module: PREVIEW1.to_owned(),
            name: name.to_owned(),
            signature: Some((vec![ValueType::I32; params], vec![ValueType::I32])),
            family: Family::of(PREVIEW1, name),
        }
    }

    #[test]
    fn one_name_with_two_types_resolves_to_two_calls() {
        assert_eq!(resolve(&import("sock_accept", 2)).expect("V1").call, Call::SockAcceptV1);
        assert_eq!(resolve(&import("sock_accept", 3)).expect("V2").call, Call::SockAcceptV2);
        let error = resolve(&import("sock_accept", 4)).expect_err("no such type");
        assert!(matches!(error, ImportError::WrongType { .. }), "{error}");
    }

    #[test]
    fn link_names_are_unique() {
        let mut names: Vec<_> = TABLE.iter().map(|entry| (entry.module, entry.link_name())).collect();
        names.sort();
        let before = names.len();
        names.dedup();
        assert_eq!(names.len(), before);
    }

    #[test]
    fn an_unknown_import_is_named_with_its_type() {
        let error = resolve(&import("sock_teleport", 1)).expect_err("unknown");
        assert!(error.to_string().contains("wasi_snapshot_preview1.sock_teleport (i32) -> (i32)"), "{error}");
    }
}
