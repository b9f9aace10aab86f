//! Imports, and the families they belong to.

use std::fmt;

use serde::Serialize;

/// The module name of WASI preview 1, which WasmEdge's socket extension shares.
pub const PREVIEW1: &str = "wasi_snapshot_preview1";

/// The module name of prewasm's own snapshot marker.
pub const MARKER: &str = "prewasm:marker";

/// One import of a module, or one imported interface of a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// The module part; for a component the interface's name.
    pub module: String,
    /// The field part; empty for a component's import.
    pub name: String,
    /// Parameter and result types of an imported function; `None` for anything else.
    pub signature: Option<(Vec<ValueType>, Vec<ValueType>)>,
    /// Who defines it.
    pub family: Family,
}

/// A value type, as far as host functions use them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ValueType {
    /// 32-bit integer.
    I32,
    /// 64-bit integer.
    I64,
    /// Any other type; no host function of ours takes one.
    Other,
}

/// Who defines an import.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// WASI preview 1 proper, its four socket calls excepted.
    Preview1,
    /// WasmEdge's socket extension, in the module of WASI preview 1.
    Sockets,
    /// WasmEdge's HTTP plugin (`wasmedge_httpsreq`, `httpsreq`).
    HttpPlugin,
    /// WasmEdge's TLS codec plugin (`rustls_client`).
    TlsCodec,
    /// An interface of a WASI release after preview 1 (`wasi:…`).
    WasiInterface,
    /// prewasm's own snapshot marker (`prewasm:marker`).
    Marker,
    /// Nobody we know.
    Unknown,
}

impl Family {
    /// Tells the family from the two parts of an import's name.
    pub fn of(module: &str, name: &str) -> Self {
        match module {
            PREVIEW1 if name.starts_with("sock_") || name == "epoll_oneoff" => Self::Sockets,
            PREVIEW1 => Self::Preview1,
            "wasmedge_httpsreq" | "httpsreq" => Self::HttpPlugin,
            "rustls_client" => Self::TlsCodec,
            MARKER => Self::Marker,
            _ if module.starts_with("wasi:") => Self::WasiInterface,
            _ => Self::Unknown,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Preview1 => "WASI preview 1",
            Self::Sockets => "WasmEdge socket extension",
            Self::HttpPlugin => "WasmEdge HTTP plugin",
            Self::TlsCodec => "WasmEdge TLS codec",
            Self::WasiInterface => "WASI interface",
            Self::Marker => "prewasm snapshot marker",
            Self::Unknown => "unknown",
        })
    }
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::Other => "other",
        })
    }
}

/// `module.name (i32, i32) -> (i32)`; a component's import is just its interface's name.
impl fmt::Display for Import {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.module)?;
        if !self.name.is_empty() {
            write!(f, ".{}", self.name)?;
        }
        if let Some((params, results)) = &self.signature {
            write!(f, " {} -> {}", List(params), List(results))?;
        }
        Ok(())
    }
}

struct List<'a>(&'a [ValueType]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(")?;
        for (i, ty) in self.0.iter().enumerate() {
            write!(f, "{}{ty}", if i > 0 { ", " } else { "" })?;
        }
        f.write_str(")")
    }
}
