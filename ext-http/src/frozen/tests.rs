//! Freezing and resuming, round and round, and host states which nobody should believe.

use std::net::SocketAddr;

use serde_json::{Value, json};
use wasmtime_wasi::p1::wasi_snapshot_preview1::{self as files, WasiSnapshotPreview1 as _};

use super::*;
use crate::{
    Clock, Connector, Inbound, Input, Network, Outbound, Output,
    sockets::{
        Family, Kind,
        options::{OptionValue, SocketOption},
    },
    virtual_inbound,
};

fn host(inbound: Inbound) -> Host {
    Host::new(environment(), options(inbound))
}

fn environment() -> Arc<Environment> {
    Arc::new(Environment { clock: Clock::Fixed(0), ..Environment::default() })
}

fn options(inbound: Inbound) -> HostOptions {
    let network = Network { inbound, outbound: Arc::new(Outbound::default()) };
    HostOptions { stdin: Input::Empty, stdout: Output::Discard, ..HostOptions::silent(network) }
}

fn in_memory() -> (Inbound, Connector) {
    let (inbound, connector) = virtual_inbound();
    (Inbound::Virtual(inbound), connector)
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// The flag of `path_open` which makes a file.
const CREATE: i32 = 1;

/// A host with one of everything that can be kept, and gaps between the descriptors.
fn lived_in() -> (Host, Connector) {
    let (inbound, connector) = in_memory();
    let mut host = host(inbound);
    for _ in 0..5 {
        host.wasi.clock.now(1).expect("a clock");
    }
    host.wasi.stdio.close(0).expect("open");
    let sockets = &mut host.sockets;
    let listener = sockets.open(Family::Inet4, Kind::Stream).expect("room");
    let gap = sockets.open(Family::Inet4, Kind::Stream).expect("room");
    let bound = sockets.open(Family::Inet6, Kind::Stream).expect("room");
    sockets.open(Family::Inet6, Kind::Datagram).expect("room");
    sockets.open(Family::Inet4, Kind::Stream).expect("room");
    sockets.close(gap).expect("open");
    sockets.set_option(listener, SocketOption::ReuseAddress, OptionValue::Int(1)).expect("settable");
    let limit = OptionValue::Timeout(std::time::Duration::from_millis(2500));
    sockets.set_option(listener, SocketOption::ReceiveTimeout, limit).expect("settable");
    sockets.bind(listener, address("0.0.0.0:8080")).expect("virtual");
    sockets.listen(listener, 128).expect("bound");
    sockets.set_nonblocking(listener, true).expect("open");
    sockets.bind(bound, address("[::]:0")).expect("virtual");
    (host, connector)
}

#[test]
fn an_answer_of_the_plugin_which_was_fetched_is_no_objection() {
    let mut host = host(Inbound::Denied);
    host.plugin.store(b"HTTP/1.1 200 OK\r\n\r\n".to_vec());
    assert!(host.freeze().is_err());
    host.plugin.fetch();
    host.freeze().expect("the guest has its own copy");
}

#[test]
fn what_was_frozen_and_resumed_freezes_to_the_same() {
    let (mut lived_in, _connector) = lived_in();
    let state = lived_in.freeze().expect("nothing speaks against it");
    assert_eq!(state, lived_in.freeze().expect("still nothing"), "freezing changes nothing");
    let section = Frozen::new("accept".to_owned(), state.clone()).to_section().expect("JSON");
    let frozen = Frozen::parse(&section).expect("our own");
    assert_eq!((frozen.until.as_str(), &frozen.host), ("accept", &state));
    assert_eq!(frozen.to_section().expect("JSON"), section, "the same bytes");
    let (inbound, _connector) = in_memory();
    let mut resumed = Host::resume(environment(), options(inbound), &frozen.host).expect("a virtual network");
    assert_eq!(resumed.freeze().expect("nothing was opened"), state);
    assert_eq!(resumed.wasi.clock.now(1), Ok(6), "time goes on");
    assert!(!resumed.wasi.stdio.is_open(0) && resumed.wasi.stdio.is_open(1));
    assert_eq!(resumed.sockets.open(Family::Inet4, Kind::Stream), Ok(513), "the gap is the lowest free descriptor");
    assert_eq!(resumed.sockets.local_address(514), Ok(address("[::]:49154")));
    assert_eq!(resumed.sockets.is_nonblocking(512), Ok(true));
    assert_eq!(resumed.sockets.option(512, SocketOption::ReuseAddress), Ok(OptionValue::Int(1)));
    assert_eq!(state.listeners().collect::<Vec<_>>(), [address("0.0.0.0:8080")]);
    assert_eq!(state.addresses().count(), 2);
}

#[test]
fn the_section_has_a_fixed_form() {
    let (mut lived_in, _connector) = lived_in();
    let state = lived_in.freeze().expect("nothing speaks against it");
    let section = Frozen::new("accept".to_owned(), state).to_section().expect("JSON");
    let text = String::from_utf8(section).expect("JSON");
    let start = r#"{"schemaVersion":1,"until":"accept","host":{"monotonic":5,"closedStdio":[0],"sockets":[{"fd":512,"family":"inet4","kind":"stream","role":{"listener":"0.0.0.0:8080"},"nonblocking":true,"options":{"numbers":{"reuseAddress":1},"abortsOnClose":false,"receiveTimeout":{"secs":2,"nanos":500000000},"sendTimeout":null}},{"fd":514,"#;
    assert!(text.starts_with(start), "{text}");
}

#[tokio::test]
async fn a_resumed_listener_accepts() {
    let (mut lived_in, _connector) = lived_in();
    let state = lived_in.freeze().expect("nothing speaks against it");
    let (inbound, connector) = in_memory();
    let mut resumed = Host::resume(environment(), options(inbound), &state).expect("a virtual network");
    let _stream = connector.connect(address("127.0.0.1:4000"));
    assert_eq!(resumed.freeze(), Err(vec![waiting()]));
    let accepted = resumed.sockets.accept(512, false).await.expect("a connection");
    assert_eq!(accepted, 513);
    assert_eq!(resumed.sockets.peer_address(accepted), Ok(address("127.0.0.1:4000")));
}

fn waiting() -> Unfreezable {
    Unfreezable::ConnectionWaiting { fd: 512, address: address("0.0.0.0:8080") }
}

#[tokio::test]
async fn every_objection_is_told_at_once() {
    let (mut host, connector) = lived_in();
    let _first = connector.connect(address("127.0.0.1:4000"));
    let _second = connector.connect(address("127.0.0.1:4001"));
    host.sockets.accept(512, false).await.expect("a connection");
    host.sockets.bind(515, address("[::]:0")).expect("a client's");
    host.plugin.store(b"HTTP/1.1 200 OK\r\n\r\n".to_vec());
    host.codecs.open(0, b"api.test").expect("a codec");
    let objections = host.freeze().expect_err("much speaks against it");
    let told: Vec<_> = objections.iter().map(ToString::to_string).collect();
    assert_eq!(told[0], "the listener on 0.0.0.0:8080 (fd 512) has a connection waiting");
    assert_eq!(told[1], "fd 513 is an open connection, with 127.0.0.1:4000");
    assert!(told[2].starts_with("fd 515 is a datagram socket bound to [::]:"), "{told:?}");
    assert_eq!(told[3], "the HTTP plugin holds an answer of 19 bytes, not yet fetched");
    assert_eq!(told[4], "TLS codec 0, for `api.test`, is open");
    assert_eq!(told.len(), 5);
}

#[tokio::test]
async fn a_real_network_binds_where_the_rules_say() {
    let (mut lived_in, _connector) = lived_in();
    let state = lived_in.freeze().expect("nothing speaks against it");
    let denied = Host::resume(environment(), options(Inbound::Denied), &state).expect_err("no network");
    let message = denied.to_string();
    assert!(message.contains("`--allow-inbound 0.0.0.0:8080=0.0.0.0:8080`"), "{message}");
    let rules = |rules: &[&str]| Inbound::Real(rules.iter().map(|rule| rule.parse().expect("a rule")).collect());
    let elsewhere = rules(&["0.0.0.0:81=127.0.0.1:0"]);
    let denied = Host::resume(environment(), options(elsewhere), &state).expect_err("another port");
    assert!(matches!(denied, ResumeError::Denied { address: found } if found == address("0.0.0.0:8080")));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
    let host = taken.local_addr().expect("bound");
    let refused = Host::resume(environment(), options(rules(&[&format!("0.0.0.0:8080={host}")])), &state);
    assert!(matches!(refused, Err(ResumeError::Bind { host: found, .. }) if found == host));
    let both = rules(&["0.0.0.0:8080=127.0.0.1:0", "[::]:49154=127.0.0.1:0"]);
    let mut resumed = Host::resume(environment(), options(both), &state).expect("allowed");
    assert_eq!(resumed.freeze().expect("nobody came"), state, "the guest sees its own addresses");
}

#[tokio::test]
async fn files_are_told_from_preopened_directories() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let directory = |guest: &str| crate::Directory {
        host: folder.path().to_owned(),
        guest: guest.to_owned(),
        access: crate::Access::ReadWrite,
    };
    let environment = || Environment { dirs: vec![directory("/one"), directory("/two")], ..Environment::default() };
    let mut host = Host::new(Arc::new(environment()), options(Inbound::Denied));
    host.freeze().expect("no call about files yet");
    host.wasi.files.context().expect("a folder").expect("directories");
    host.freeze().expect("nothing but preopened directories");
    let context = host.wasi.files.context().expect("a folder").expect("directories");
    let mut bytes = *b"new.....";
    let memory = &mut wiggle::GuestMemory::Unshared(&mut bytes);
    context.set_hostcall_fuel(64);
    let open = files::path_open(context, memory, 3, 0, 0, 3, CREATE, 64, 0, 0, 4).await;
    assert_eq!((open.expect("no trap"), bytes[4]), (0, 5));
    assert_eq!(host.freeze(), Err(vec![Unfreezable::File { fd: 5 }]));
    let context = host.wasi.files.context().expect("a folder").expect("directories");
    let memory = &mut wiggle::GuestMemory::Unshared(&mut []);
    assert_eq!(files::fd_close(context, memory, 4).await.expect("no trap"), 0);
    assert_eq!(files::fd_renumber(context, memory, 5, 3).await.expect("no trap"), 0);
    let moved = |fd, guest: &str| Unfreezable::Preopen { fd, guest: guest.to_owned() };
    assert_eq!(host.freeze(), Err(vec![moved(3, "/one"), moved(4, "/two")]));
}

fn valid() -> Value {
    let (mut lived_in, _connector) = lived_in();
    let state = lived_in.freeze().expect("nothing speaks against it");
    serde_json::to_value(Frozen::new("accept".to_owned(), state)).expect("JSON")
}

fn parse(value: &Value) -> Result<Frozen, FrozenError> {
    Frozen::parse(value.to_string().as_bytes())
}

#[test]
fn a_host_state_that_cannot_be_is_refused() {
    parse(&valid()).expect("valid");
    for (pointer, bad) in [
        ("/until", json!(7)),
        ("/host/monotonic", json!(u64::MAX)),
        ("/host/monotonic", json!(-1)),
        ("/host/closedStdio", json!([3])),
        ("/host/closedStdio", json!([-1])),
        ("/host/closedStdio", json!([1, 1])),
        ("/host/closedStdio", json!([2, 0])),
        ("/host/sockets/0/fd", json!(511)),
        ("/host/sockets/0/fd", json!(1024)),
        ("/host/sockets/0/fd", json!(-2_147_483_648)),
        ("/host/sockets/0/fd", json!(2_147_483_647)),
        ("/host/sockets/0/fd", json!(514)),
        ("/host/sockets/0/fd", json!(600)),
        ("/host/sockets/0/family", json!("inet6")),
        ("/host/sockets/0/family", json!("unix")),
        ("/host/sockets/0/kind", json!("datagram")),
        ("/host/sockets/0/role", json!("listener")),
        ("/host/sockets/0/role", json!({"listener": "0.0.0.0:0"})),
        ("/host/sockets/0/role", json!({"listener": "example.com:80"})),
        ("/host/sockets/0/role", json!({"connected": "127.0.0.1:80"})),
        ("/host/sockets/0/options/numbers", json!({"bindToDevice": 1})),
        ("/host/sockets/0/options/numbers", json!({"reuseAddress": 1u64 << 40})),
        ("/host/sockets/0/options/receiveTimeout", json!({"secs": u64::MAX, "nanos": u32::MAX})),
    ] {
        let mut value = valid();
        *value.pointer_mut(pointer).expect("there") = bad.clone();
        assert!(matches!(parse(&value), Err(FrozenError::Malformed(_))), "{pointer} {bad}");
    }
    for pointer in ["", "/host", "/host/sockets/0", "/host/sockets/0/options"] {
        let mut value = valid();
        let object = value.pointer_mut(pointer).and_then(Value::as_object_mut).expect("an object");
        object.insert("surprise".to_owned(), json!(1));
        assert!(matches!(parse(&value), Err(FrozenError::Malformed(_))), "{pointer}");
    }
    let mut crowd = valid();
    let one = crowd["host"]["sockets"][3].clone();
    crowd["host"]["sockets"] = Value::Array(vec![one; 100_000]);
    assert!(matches!(parse(&crowd), Err(FrozenError::Malformed(_))));
}

#[test]
fn another_version_is_told_by_its_number() {
    let mut value = valid();
    value["schemaVersion"] = json!(2);
    value["reseed"] = json!([]);
    assert!(matches!(parse(&value), Err(FrozenError::Version { found: 2 })));
    for garbage in [b"".as_slice(), b"{}", b"[", b"null", b"\xff\xfe", &[b'['; 100_000]] {
        assert!(matches!(Frozen::parse(garbage), Err(FrozenError::Malformed(_))));
    }
}

#[test]
fn the_extremes_of_what_is_allowed_resume() {
    let mut value = valid();
    let mut socket = value["host"]["sockets"][3].clone();
    let sockets = (512..1024).map(|fd| {
        socket["fd"] = json!(fd);
        socket["options"]["receiveTimeout"] = json!({"secs": u64::MAX, "nanos": 999_999_999});
        socket["options"]["numbers"] = json!({"sendBuffer": i32::MIN, "receiveBuffer": i32::MAX});
        socket.clone()
    });
    value["host"]["sockets"] = sockets.collect();
    value["host"]["monotonic"] = json!(LATEST_MONOTONIC);
    value["host"]["closedStdio"] = json!([0, 1, 2]);
    let frozen = parse(&value).expect("valid");
    for clock in [Clock::Fixed(0), Clock::System] {
        let environment = Arc::new(Environment { clock, ..Environment::default() });
        let mut host = Host::resume(environment, options(in_memory().0), &frozen.host).expect("nothing to bind");
        assert!(host.wasi.clock.now(1).expect("a clock") > LATEST_MONOTONIC);
        assert_eq!(host.freeze().expect("nothing is open"), frozen.host, "kept within bounds");
        assert!(host.sockets.open(Family::Inet4, Kind::Stream).is_err(), "no room");
    }
}
