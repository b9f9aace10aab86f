//! The guest kinds: decided once, from imports and exports.

use std::fmt;

use crate::imports::{Family, Import, PREVIEW1};

/// What a guest is, and with it how it is run and served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A core module with `_start` which imports `sock_listen` or `sock_accept`.
    SocketServer,
    /// A core module with `_start` and no listening sockets.
    Command,
    /// A core module without `_start`.
    Reactor,
    /// A component which exports a wasi:http handler.
    HttpComponent(HttpVersion),
    /// A component which exports `wasi:cli/run`.
    CommandComponent,
    /// Any other component.
    Component,
    /// Machine code made by `prewasm compile` (a `.cwasm` file); its content is not looked into.
    Precompiled,
}

/// The wasi:http release family whose handler a component exports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HttpVersion {
    /// `wasi:http/incoming-handler@0.2.x`.
    V02,
    /// `wasi:http/handler@0.3.x`.
    V03,
}

impl Kind {
    /// The kind of a core module with these imports (module and name) and exported functions.
    pub fn of_module<'a>(
        mut imports: impl Iterator<Item = (&'a str, &'a str)>,
        mut exports: impl Iterator<Item = &'a str>,
    ) -> Self {
        let listens = |(module, name): (&str, &str)| {
            module == PREVIEW1 && (name.starts_with("sock_listen") || name.starts_with("sock_accept"))
        };
        if !exports.any(|name| name == "_start") {
            Self::Reactor
        } else if imports.any(listens) {
            Self::SocketServer
        } else {
            Self::Command
        }
    }

    /// The kind of a component with these exports.
    pub fn of_component<'a>(exports: impl Iterator<Item = &'a str> + Clone) -> Self {
        let exports_interface = |prefix: &str| exports.clone().any(|name| name.starts_with(prefix));
        if exports_interface("wasi:http/incoming-handler@0.2.") {
            Self::HttpComponent(HttpVersion::V02)
        } else if exports_interface("wasi:http/handler@0.3.") {
            Self::HttpComponent(HttpVersion::V03)
        } else if exports_interface("wasi:cli/run@") {
            Self::CommandComponent
        } else {
            Self::Component
        }
    }

    /// Whether this is a component of any kind.
    pub fn is_component(self) -> bool {
        matches!(self, Self::HttpComponent(_) | Self::CommandComponent | Self::Component)
    }

    /// A stable name for machines (`socket-server`, `command`, …).
    pub fn name(self) -> &'static str {
        match self {
            Self::SocketServer => "socket-server",
            Self::Command => "command",
            Self::Reactor => "reactor",
            Self::HttpComponent(HttpVersion::V02) => "wasi-http-0.2-component",
            Self::HttpComponent(HttpVersion::V03) => "wasi-http-0.3-component",
            Self::CommandComponent => "command-component",
            Self::Component => "component",
            Self::Precompiled => "precompiled",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SocketServer => "socket server",
            Self::Command => "command",
            Self::Reactor => "reactor (no `_start`)",
            Self::HttpComponent(HttpVersion::V02) => "wasi:http 0.2 component",
            Self::HttpComponent(HttpVersion::V03) => "wasi:http 0.3 component",
            Self::CommandComponent => "command component",
            Self::Component => "component",
            Self::Precompiled => "precompiled code",
        })
    }
}

impl Import {
    /// Whether the import belongs to WasmEdge rather than to a WASI release.
    pub fn is_wasmedge(&self) -> bool {
        matches!(self.family, Family::Sockets | Family::HttpPlugin | Family::TlsCodec)
    }
}

#[cfg(test)]
mod tests {
    use crate::{Artifact, HttpVersion, Kind};

    fn kind(wat: &str) -> Kind {
        Artifact::from_bytes("test", wat.as_bytes().to_vec()).expect("valid wat").kind()
    }

    #[test]
    fn tells_servers_commands_and_reactors_apart() {
        assert_eq!(kind("(module (func (export \"_start\")))"), Kind::Command);
        assert_eq!(kind("(module (func (export \"handle\")))"), Kind::Reactor);
        assert_eq!(
            kind(
                "(module (import \"wasi_snapshot_preview1\" \"sock_accept\" (func (param i32 i32) (result i32)))
                   (func (export \"_start\")))"
            ),
            Kind::SocketServer
        );
    }

    #[test]
    fn a_client_that_only_connects_is_a_command() {
        assert_eq!(
            kind(
                "(module (import \"wasi_snapshot_preview1\" \"sock_connect\" (func (param i32 i32 i32) (result i32)))
                   (func (export \"_start\")))"
            ),
            Kind::Command
        );
    }

    #[test]
    fn tells_components_by_what_they_export() {
        assert_eq!(
            kind("(component (instance $i) (export \"wasi:http/incoming-handler@0.2.3\" (instance $i)))"),
            Kind::HttpComponent(HttpVersion::V02)
        );
        assert_eq!(
            kind("(component (instance $i) (export \"wasi:cli/run@0.2.0\" (instance $i)))"),
            Kind::CommandComponent
        );
        assert_eq!(kind("(component)"), Kind::Component);
    }
}
