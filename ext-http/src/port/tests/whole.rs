//! A program becomes a component which imports nothing but what its host has, the same each time.

use std::fmt::Write as _;

use prewasm_artifact::{Artifact, HttpVersion, Import, Kind};

use crate::{
    imports::entries,
    port::{Authority, PortOptions, Ported, Shim, World, port},
};

/// A program with these imports.
fn importing<'a>(imports: impl IntoIterator<Item = &'a Import>) -> Artifact {
    let mut text = String::from("(module (memory (export \"memory\") 1) (func (export \"_start\"))");
    let mut fields = String::new();
    for Import { module, name, signature, .. } in imports {
        let (params, results) = signature.as_ref().expect("a function");
        let list = |types: &[_]| types.iter().fold(String::new(), |list, ty| format!("{list} {ty}"));
        let _ =
            write!(fields, "(import \"{module}\" \"{name}\" (func (param{}) (result{})))", list(params), list(results));
    }
    text.insert_str("(module ".len(), &fields);
    text.push(')');
    Artifact::from_bytes("program", text.into_bytes()).expect("valid")
}

fn listens(import: &Import) -> bool {
    import.name.starts_with("sock_listen") || import.name.starts_with("sock_accept")
}

/// Ports, twice.
fn ported(artifact: &Artifact, options: PortOptions) -> Ported {
    let ported = port(artifact, &options).unwrap_or_else(|error| panic!("{:?}: {error:?}", artifact.imports()));
    let again = port(artifact, &options).expect("as before");
    assert!(ported.artifact.bytes() == again.artifact.bytes(), "the same program and options give the same bytes");
    for import in ported.artifact.imports() {
        assert!(import.module.starts_with("wasi:"), "{} is none of a host's", import.module);
    }
    ported
}

fn imports(ported: &Ported, interface: &str) -> bool {
    ported.artifact.imports().iter().any(|import| import.module.starts_with(interface))
}

#[test]
fn every_call_has_somebody_who_answers() {
    let all = entries();
    for world in [World::Proxy, World::ProxyCli] {
        let ported = ported(&importing(&all), PortOptions { world: Some(world), ..PortOptions::default() });
        assert_eq!(ported.artifact.kind(), Kind::HttpComponent(HttpVersion::V02));
        assert_eq!(imports(&ported, "wasi:filesystem/"), world == World::ProxyCli);
    }
    let is_client = |import: &&Import| !listens(import) && !import.name.starts_with("sock_recv_from");
    let ported = ported(&importing(all.iter().filter(is_client)), PortOptions::default());
    assert_eq!(ported.artifact.kind(), Kind::CommandComponent);
}

#[test]
fn every_call_alone_has_somebody_who_answers() {
    for import in entries() {
        let artifact = importing([&import]);
        let options = PortOptions::default();
        let ported = port(&artifact, &options).unwrap_or_else(|error| panic!("{import}: {error:?}"));
        for found in ported.artifact.imports() {
            assert!(found.module.starts_with("wasi:"), "{import}: {} is none of a host's", found.module);
        }
        assert_eq!(ported.plan.world.is_handler(), listens(&import), "{import}");
    }
}

#[test]
fn sockets_of_the_host_are_asked_for_only_where_they_are_wanted() {
    let server = importing(entries().iter().filter(|import| listens(import)));
    for with_sockets in [false, true] {
        let ported = ported(&server, PortOptions { with_sockets, ..PortOptions::default() });
        assert_eq!(imports(&ported, "wasi:sockets/"), with_sockets);
        assert_eq!(ported.plan.shim, Some(if with_sockets { Shim::HttpAndSockets } else { Shim::Http }));
    }
}

#[test]
fn a_program_without_a_network_needs_no_shim() {
    let program = importing(entries().iter().filter(|import| import.name == "fd_write"));
    let ported = ported(&program, PortOptions { authority: Authority::HostHeader, ..PortOptions::default() });
    assert_eq!(ported.plan.shim, None);
    assert!(!imports(&ported, "wasi:http/"));
}

#[test]
fn what_is_imported_twice_is_imported_once() {
    let all = entries();
    let twice: Vec<_> = all.iter().chain(&all).collect();
    ported(&importing(twice), PortOptions::default());
}

#[test]
fn options_are_told_to_the_shim_only_if_they_differ() {
    let server = importing(entries().iter().filter(|import| listens(import)));
    let bytes = |authority| ported(&server, PortOptions { authority, ..PortOptions::default() }).artifact.into_bytes();
    assert!(bytes(Authority::Connect) != bytes(Authority::HostHeader));
}

#[test]
fn notes_tell_what_the_program_will_miss() {
    let notes = |names: &[&str], options| {
        let all = entries();
        let artifact = importing(all.iter().filter(|import| names.contains(&import.name.as_str())));
        ported(&artifact, options).plan.notes
    };
    let none = PortOptions::default();
    let with_sockets = PortOptions { with_sockets: true, ..none };
    let cli = PortOptions { world: Some(World::ProxyCli), ..none };
    assert_eq!(notes(&["fd_write", "args_get", "path_open"], none), [""; 0]);
    assert_eq!(notes(&["sock_listen"], none).len(), 1);
    assert_eq!(notes(&["sock_listen", "args_get", "path_open"], none).len(), 3);
    assert_eq!(notes(&["sock_listen", "args_get", "path_open"], cli).len(), 1);
    assert!(notes(&["sock_connect"], none)[0].contains("--with-sockets"));
    assert!(notes(&["sock_connect"], with_sockets)[0].contains("wasi:sockets"));
    assert!(notes(&["sock_send_to"], none)[0].contains("UDP"));
    assert!(notes(&["get_rcv"], none)[0].contains("plugin"));
    assert!(notes(&["read_tls"], none)[0].contains("TLS"));
}
