//! The table of host calls: the only list of what a guest may import.
//!
//! Linking, `inspect` and the import check read it. A call is told by module, name *and type*: WasmEdge resolves
//! each import separately, so that two generations of one name meet in one guest.

use std::borrow::Cow;

use prewasm_artifact::{Family, Import, MARKER, PREVIEW1, ValueType};

/// A host call: what happens, whatever it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Call {
    Wasi(WasiCall),
    Descriptor(DescriptorCall),
    File(FileCall),
    Socket(SocketCall),
    Plugin(PluginCall),
    Codec(CodecCall),
    /// prewasm's own: does nothing, but may be where a snapshot is taken.
    Marker,
}

/// Calls of preview 1 which no descriptor is needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum WasiCall {
    ArgsGet,
    ArgsSizesGet,
    ClockResGet,
    ClockTimeGet,
    EnvironGet,
    EnvironSizesGet,
    PollOneoff,
    ProcExit,
    ProcRaise,
    RandomGet,
    SchedYield,
}

/// Calls of preview 1 which go to a stream, a file or a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum DescriptorCall {
    Close,
    FdstatGet,
    FdstatSetFlags,
    FilestatGet,
    Read,
    Renumber,
    Write,
}

/// Calls of preview 1 which only files know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum FileCall {
    FdAdvise,
    FdAllocate,
    FdDatasync,
    FdFdstatSetRights,
    FdFilestatSetSize,
    FdFilestatSetTimes,
    FdPread,
    FdPrestatDirName,
    FdPrestatGet,
    FdPwrite,
    FdReaddir,
    FdSeek,
    FdSync,
    FdTell,
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
}

/// Calls of WasmEdge's socket extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum SocketCall {
    AcceptV1,
    AcceptV2,
    Bind,
    Connect,
    Getaddrinfo,
    GetlocaladdrV1,
    GetlocaladdrV2,
    GetpeeraddrV1,
    GetpeeraddrV2,
    Getsockopt,
    Listen,
    LookupIp,
    Open,
    Recv,
    RecvFromV1,
    RecvFromV2,
    Send,
    SendTo,
    Setsockopt,
    Shutdown,
}

/// Calls of WasmEdge's HTTP plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum PluginCall {
    SendData,
    SendDataUntilNul,
    GetRcvLen,
    GetRcv,
}

/// Calls of WasmEdge's TLS codec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum CodecCall {
    DefaultConfig,
    NewCodec,
    IsHandshaking,
    Wants,
    DeleteCodec,
    SendCloseNotify,
    ProcessNewPackets,
    WriteRaw,
    WriteTls,
    ReadRaw,
    ReadTls,
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
/// The plugin as WasmEdge 0.11.0 named it.
const FIRST_PLUGIN: &str = "httpsreq";
const CODEC: &str = "rustls_client";

const fn p1(name: &'static str, params: &'static str, call: Call) -> Entry {
    Entry { module: PREVIEW1, name, params, results: "i", call }
}

const fn plugin(name: &'static str, params: &'static str, results: &'static str, call: Call) -> Entry {
    Entry { module: PLUGIN, name, params, results, call }
}

const fn first_plugin(name: &'static str, params: &'static str, results: &'static str, call: Call) -> Entry {
    Entry { module: FIRST_PLUGIN, name, params, results, call }
}

const fn codec(name: &'static str, params: &'static str, call: CodecCall) -> Entry {
    Entry { module: CODEC, name, params, results: "i", call: Call::Codec(call) }
}

/// Sources: the witx files of WASI preview 1, and WasmEdge's `lib/host/wasi/wasimodule.cpp`.
pub(crate) const TABLE: &[Entry] = &[
    p1("args_get", "ii", Call::Wasi(WasiCall::ArgsGet)),
    p1("args_sizes_get", "ii", Call::Wasi(WasiCall::ArgsSizesGet)),
    p1("clock_res_get", "ii", Call::Wasi(WasiCall::ClockResGet)),
    p1("clock_time_get", "iIi", Call::Wasi(WasiCall::ClockTimeGet)),
    p1("environ_get", "ii", Call::Wasi(WasiCall::EnvironGet)),
    p1("environ_sizes_get", "ii", Call::Wasi(WasiCall::EnvironSizesGet)),
    p1("fd_advise", "iIIi", Call::File(FileCall::FdAdvise)),
    p1("fd_allocate", "iII", Call::File(FileCall::FdAllocate)),
    p1("fd_close", "i", Call::Descriptor(DescriptorCall::Close)),
    p1("fd_datasync", "i", Call::File(FileCall::FdDatasync)),
    p1("fd_fdstat_get", "ii", Call::Descriptor(DescriptorCall::FdstatGet)),
    p1("fd_fdstat_set_flags", "ii", Call::Descriptor(DescriptorCall::FdstatSetFlags)),
    p1("fd_fdstat_set_rights", "iII", Call::File(FileCall::FdFdstatSetRights)),
    p1("fd_filestat_get", "ii", Call::Descriptor(DescriptorCall::FilestatGet)),
    p1("fd_filestat_set_size", "iI", Call::File(FileCall::FdFilestatSetSize)),
    p1("fd_filestat_set_times", "iIIi", Call::File(FileCall::FdFilestatSetTimes)),
    p1("fd_pread", "iiiIi", Call::File(FileCall::FdPread)),
    p1("fd_prestat_dir_name", "iii", Call::File(FileCall::FdPrestatDirName)),
    p1("fd_prestat_get", "ii", Call::File(FileCall::FdPrestatGet)),
    p1("fd_pwrite", "iiiIi", Call::File(FileCall::FdPwrite)),
    p1("fd_read", "iiii", Call::Descriptor(DescriptorCall::Read)),
    p1("fd_readdir", "iiiIi", Call::File(FileCall::FdReaddir)),
    p1("fd_renumber", "ii", Call::Descriptor(DescriptorCall::Renumber)),
    p1("fd_seek", "iIii", Call::File(FileCall::FdSeek)),
    p1("fd_sync", "i", Call::File(FileCall::FdSync)),
    p1("fd_tell", "ii", Call::File(FileCall::FdTell)),
    p1("fd_write", "iiii", Call::Descriptor(DescriptorCall::Write)),
    p1("path_create_directory", "iii", Call::File(FileCall::PathCreateDirectory)),
    p1("path_filestat_get", "iiiii", Call::File(FileCall::PathFilestatGet)),
    p1("path_filestat_set_times", "iiiiIIi", Call::File(FileCall::PathFilestatSetTimes)),
    p1("path_link", "iiiiiii", Call::File(FileCall::PathLink)),
    p1("path_open", "iiiiiIIii", Call::File(FileCall::PathOpen)),
    p1("path_readlink", "iiiiii", Call::File(FileCall::PathReadlink)),
    p1("path_remove_directory", "iii", Call::File(FileCall::PathRemoveDirectory)),
    p1("path_rename", "iiiiii", Call::File(FileCall::PathRename)),
    p1("path_symlink", "iiiii", Call::File(FileCall::PathSymlink)),
    p1("path_unlink_file", "iii", Call::File(FileCall::PathUnlinkFile)),
    p1("poll_oneoff", "iiii", Call::Wasi(WasiCall::PollOneoff)),
    // WasmEdge's edge-triggered twin; guests that ask for it cope with level-triggered events.
    p1("epoll_oneoff", "iiii", Call::Wasi(WasiCall::PollOneoff)),
    Entry { module: PREVIEW1, name: "proc_exit", params: "i", results: "", call: Call::Wasi(WasiCall::ProcExit) },
    p1("proc_raise", "i", Call::Wasi(WasiCall::ProcRaise)),
    p1("random_get", "ii", Call::Wasi(WasiCall::RandomGet)),
    p1("sched_yield", "", Call::Wasi(WasiCall::SchedYield)),
    p1("sock_accept", "ii", Call::Socket(SocketCall::AcceptV1)),
    p1("sock_accept", "iii", Call::Socket(SocketCall::AcceptV2)),
    p1("sock_accept_v2", "iii", Call::Socket(SocketCall::AcceptV2)),
    p1("sock_bind", "iii", Call::Socket(SocketCall::Bind)),
    p1("sock_bind_v2", "iii", Call::Socket(SocketCall::Bind)),
    p1("sock_connect", "iii", Call::Socket(SocketCall::Connect)),
    p1("sock_connect_v2", "iii", Call::Socket(SocketCall::Connect)),
    p1("sock_getaddrinfo", "iiiiiiii", Call::Socket(SocketCall::Getaddrinfo)),
    p1("sock_getlocaladdr", "iiii", Call::Socket(SocketCall::GetlocaladdrV1)),
    p1("sock_getlocaladdr", "iii", Call::Socket(SocketCall::GetlocaladdrV2)),
    p1("sock_getlocaladdr_v2", "iii", Call::Socket(SocketCall::GetlocaladdrV2)),
    p1("sock_getpeeraddr", "iiii", Call::Socket(SocketCall::GetpeeraddrV1)),
    p1("sock_getpeeraddr", "iii", Call::Socket(SocketCall::GetpeeraddrV2)),
    p1("sock_getpeeraddr_v2", "iii", Call::Socket(SocketCall::GetpeeraddrV2)),
    p1("sock_getsockopt", "iiiii", Call::Socket(SocketCall::Getsockopt)),
    p1("sock_listen", "ii", Call::Socket(SocketCall::Listen)),
    p1("sock_listen_v2", "ii", Call::Socket(SocketCall::Listen)),
    // Only WasmEdge's Rust host has it.
    p1("sock_lookup_ip", "iiiiii", Call::Socket(SocketCall::LookupIp)),
    p1("sock_open", "iii", Call::Socket(SocketCall::Open)),
    p1("sock_open_v2", "iii", Call::Socket(SocketCall::Open)),
    p1("sock_recv", "iiiiii", Call::Socket(SocketCall::Recv)),
    p1("sock_recv_v2", "iiiiii", Call::Socket(SocketCall::Recv)),
    p1("sock_recv_from", "iiiiiii", Call::Socket(SocketCall::RecvFromV1)),
    p1("sock_recv_from", "iiiiiiii", Call::Socket(SocketCall::RecvFromV2)),
    p1("sock_recv_from_v2", "iiiiiiii", Call::Socket(SocketCall::RecvFromV2)),
    p1("sock_send", "iiiii", Call::Socket(SocketCall::Send)),
    p1("sock_send_v2", "iiiii", Call::Socket(SocketCall::Send)),
    p1("sock_send_to", "iiiiiii", Call::Socket(SocketCall::SendTo)),
    p1("sock_send_to_v2", "iiiiiii", Call::Socket(SocketCall::SendTo)),
    p1("sock_setsockopt", "iiiii", Call::Socket(SocketCall::Setsockopt)),
    p1("sock_shutdown", "ii", Call::Socket(SocketCall::Shutdown)),
    plugin("wasmedge_httpsreq_send_data", "iiiii", "", Call::Plugin(PluginCall::SendData)),
    plugin("wasmedge_httpsreq_get_rcv_len", "", "i", Call::Plugin(PluginCall::GetRcvLen)),
    plugin("wasmedge_httpsreq_get_rcv", "i", "", Call::Plugin(PluginCall::GetRcv)),
    first_plugin("send_data", "iiiii", "", Call::Plugin(PluginCall::SendDataUntilNul)),
    first_plugin("get_rcv_len", "", "i", Call::Plugin(PluginCall::GetRcvLen)),
    first_plugin("get_rcv", "i", "", Call::Plugin(PluginCall::GetRcv)),
    codec("default_config", "", CodecCall::DefaultConfig),
    codec("new_codec", "iii", CodecCall::NewCodec),
    codec("codec_is_handshaking", "i", CodecCall::IsHandshaking),
    codec("codec_wants", "i", CodecCall::Wants),
    codec("delete_codec", "i", CodecCall::DeleteCodec),
    codec("send_close_notify", "i", CodecCall::SendCloseNotify),
    codec("process_new_packets", "ii", CodecCall::ProcessNewPackets),
    codec("write_raw", "iii", CodecCall::WriteRaw),
    codec("write_tls", "iii", CodecCall::WriteTls),
    codec("read_raw", "iii", CodecCall::ReadRaw),
    codec("read_tls", "iii", CodecCall::ReadTls),
    Entry { module: MARKER, name: "here", params: "", results: "", call: Call::Marker },
];

impl Call {
    /// Whether the call may change or wait for anything besides the guest's linear memory. Those which do not are
    /// answered from what the guest was given at its start, so that a program which made no other can be resumed
    /// anywhere.
    pub(crate) fn has_effect(self) -> bool {
        match self {
            Self::Marker => false,
            Self::Wasi(call) => match call {
                WasiCall::ArgsGet
                | WasiCall::ArgsSizesGet
                | WasiCall::ClockResGet
                | WasiCall::ClockTimeGet
                | WasiCall::EnvironGet
                | WasiCall::EnvironSizesGet
                | WasiCall::RandomGet
                | WasiCall::SchedYield => false,
                WasiCall::PollOneoff | WasiCall::ProcExit | WasiCall::ProcRaise => true,
            },
            Self::Descriptor(call) => call != DescriptorCall::FdstatGet,
            Self::File(call) => !matches!(call, FileCall::FdPrestatGet | FileCall::FdPrestatDirName),
            Self::Socket(_) | Self::Plugin(_) | Self::Codec(_) => true,
        }
    }
}

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

    /// Whether this is the entry of `import`.
    pub(crate) fn is(&self, import: &Import) -> bool {
        let fits = |(params, results): &(Vec<_>, Vec<_>)| self.has_type(params, results);
        self.module == import.module && self.name == import.name && import.signature.as_ref().is_some_and(fits)
    }

    /// How many parameters the function has.
    pub(crate) fn parameter_count(&self) -> usize {
        self.params.len()
    }

    /// The import that fits this entry.
    pub(crate) fn import(&self) -> Import {
        let types = |letters: &str| {
            let ty = |letter| if letter == b'i' { ValueType::I32 } else { ValueType::I64 };
            letters.bytes().map(ty).collect()
        };
        Import {
            module: self.module.to_owned(),
            name: self.name.to_owned(),
            signature: Some((types(self.params), types(self.results))),
            family: Family::of(self.module, self.name),
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
    if let Some(entry) = TABLE.iter().find(|entry| entry.is(import)) {
        return Ok(entry);
    }
    let named = || TABLE.iter().filter(|entry| entry.module == import.module && entry.name == import.name);
    let known: Vec<_> =
        named().map(|entry| format!("({}) -> ({})", spell(entry.params), spell(entry.results))).collect();
    if known.is_empty() {
        Err(ImportError::Unknown { import: import.to_string(), hint: hint(import) })
    } else {
        Err(ImportError::WrongType { import: import.to_string(), known: known.join(", ") })
    }
}

/// Every import that prewasm's hosts provide to core modules.
pub fn entries() -> Vec<Import> {
    TABLE.iter().map(Entry::import).collect()
}

/// Whether prewasm's hosts provide this import of a core module.
///
/// # Errors
/// [`ImportError`] tells why not.
pub fn check(import: &Import) -> Result<(), ImportError> {
    resolve(import).map(drop)
}

/// The name of the trampoline which stands in for a call in a ported program: that of its first entry.
pub(crate) fn trampoline(call: Call) -> Cow<'static, str> {
    let entry = TABLE.iter().find(|entry| entry.call == call);
    entry.map_or(Cow::Borrowed(""), Entry::link_name)
}

fn spell(letters: &str) -> String {
    letters.bytes().map(|letter| if letter == b'i' { "i32" } else { "i64" }).collect::<Vec<_>>().join(", ")
}

fn hint(import: &Import) -> &'static str {
    match import.family {
        Family::Sockets => "WasmEdge's socket extension has no such function",
        Family::TlsCodec => "WasmEdge's TLS codec plugin has no such function",
        Family::HttpPlugin => "WasmEdge's HTTP plugin has no such function",
        Family::Preview1 => "it is not part of WASI preview 1",
        Family::WasiInterface => "interfaces of later WASI releases are for components, not for core modules",
        Family::Marker => "the only marker is `here`",
        Family::Unknown if import.module == "wasi_unstable" => {
            "rebuild for `wasm32-wasip1`: WASI preview 0 is not supported"
        }
        Family::Unknown if import.module == "env" => {
            "a missing library often ends up as an import from `env`: check the guest's link step"
        }
        Family::Unknown => "prewasm provides WASI preview 1, WasmEdge's sockets, its HTTP plugin and its TLS codec",
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
        assert_eq!(resolve(&import("sock_accept", 2)).expect("V1").call, Call::Socket(SocketCall::AcceptV1));
        assert_eq!(resolve(&import("sock_accept", 3)).expect("V2").call, Call::Socket(SocketCall::AcceptV2));
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
