//! Every row of the table of host calls is called with success at least once: a row without a test fails this one.

#[path = "harness/guest.rs"]
mod guest;

use std::{
    collections::BTreeSet,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    thread,
};

use prewasm_ext_http::{
    Access, Authorities, Directory, Environment, HostOptions, Inbound, Network, Outbound, OutboundPolicy, imports,
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{ServerConfig, ServerConnection, pki_types::PrivateKeyDer};

use guest::{FREE, Guest, OUT, OUT2, OUT3, Template, key};

/// What calls answer that wasmtime-wasi does not do: signals, changes of rights, preallocation.
const NOTSUP: i32 = 58;
/// `read_raw` before there is anything to read.
const CODEC_WOULD_BLOCK: i32 = -25;

const STREAM: i64 = 2;
const DGRAM: i64 = 1;

/// A server which answers each HTTPS request with `pong`, and its authority.
struct Https {
    address: SocketAddr,
    authority: String,
}

impl Https {
    fn start() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("valid");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("random bytes");
        let authority = params.self_signed(&key).expect("valid").pem();
        let issuer = Issuer::new(params, key);
        let key = KeyPair::generate().expect("random bytes");
        let leaf = CertificateParams::new(vec!["api.test".to_owned()]).expect("valid");
        let certificate = leaf.signed_by(&key, &issuer).expect("valid").der().clone();
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("supported")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .expect("they fit");
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = listener.local_addr().expect("bound");
        // Ends with the process.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let config = Arc::clone(&config);
                thread::spawn(move || answer(&config, stream.expect("loopback")));
            }
        });
        Self { address, authority }
    }
}

/// Connections end when the client ends them, so errors are no failure.
fn answer(config: &Arc<ServerConfig>, mut stream: TcpStream) {
    let mut connection = ServerConnection::new(Arc::clone(config)).expect("valid");
    let mut tls = rustls::Stream::new(&mut connection, &mut stream);
    let mut buffer = [0; 4096];
    while matches!(tls.read(&mut buffer), Ok(1..)) {
        if tls.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\npong").is_err() {
            break;
        }
    }
}

async fn guest(https: &Https, directory: &std::path::Path) -> Guest {
    let mut authorities = Authorities::default();
    let file = directory.join("authority.pem");
    std::fs::write(&file, &https.authority).expect("writable");
    authorities.add_file(&file).expect("an authority");
    let policy = OutboundPolicy {
        allow: ["*://127.0.0.1:*", "*://api.test:*"].map(|pattern| pattern.parse().expect("a pattern")).into(),
        resolve: [("api.test".to_owned(), "127.0.0.1".parse().expect("an address"))].into(),
        authorities,
        ..OutboundPolicy::default()
    };
    let inbound = Inbound::Real(vec!["0.0.0.0:0=127.0.0.1:0".parse().expect("a rule")]);
    let network = Network { inbound, outbound: Arc::new(Outbound::new(Arc::new(policy))) };
    let environment = Environment {
        args: vec!["guest".to_owned()],
        env: vec![("NAME".to_owned(), "value".to_owned())],
        dirs: vec![Directory { host: directory.to_owned(), guest: "/".to_owned(), access: Access::ReadWrite }],
        ..Environment::default()
    };
    Template::new().guest(environment, HostOptions::silent(network)).await
}

#[tokio::test]
async fn every_call_of_the_table_succeeds_at_least_once() {
    let (https, directory) = (Https::start(), tempfile::tempdir().expect("a temporary folder"));
    let mut guest = guest(&https, directory.path()).await;
    surroundings(&mut guest).await;
    descriptors(&mut guest).await;
    files(&mut guest).await;
    paths(&mut guest).await;
    streams(&mut guest).await;
    datagrams(&mut guest).await;
    names(&mut guest).await;
    plugin(&mut guest, https.address.port()).await;
    codec(&mut guest).await;
    refused(&mut guest).await;
    // At last, for nothing runs after it.
    let exit = guest.try_call("proc_exit/1", &[7]).await.expect_err("it ends the guest");
    assert_eq!(exit.downcast_ref::<wasmtime_wasi::I32Exit>().map(|exit| exit.0), Some(7), "{exit:?}");
    guest.succeeded.insert("proc_exit/1".to_owned());

    let all: BTreeSet<_> = imports::entries().iter().map(key).collect();
    let missing: Vec<_> = all.difference(&guest.succeeded).collect();
    assert!(missing.is_empty(), "calls without a successful test: {missing:?}");
}

/// Calls which have no other answer.
async fn refused(guest: &mut Guest) {
    let file = open(guest, "third").await;
    let calls =
        [("proc_raise/1", vec![9]), ("fd_fdstat_set_rights/3", vec![file, 0, 0]), ("fd_allocate/3", vec![file, 0, 1])];
    for (name, args) in calls {
        assert_eq!(guest.call(name, &args).await, NOTSUP, "{name}");
        guest.succeeded.insert(name.to_owned());
    }
}

async fn surroundings(guest: &mut Guest) {
    let (out, out2, text) = (OUT.into(), OUT2.into(), FREE.into());
    guest.ok("args_sizes_get/2", &[out, out2]).await;
    assert_eq!((guest.u32(OUT), guest.u32(OUT2)), (1, 6));
    guest.ok("args_get/2", &[out, text]).await;
    assert_eq!(guest.read(FREE, 6), b"guest\0");
    guest.ok("environ_sizes_get/2", &[out, out2]).await;
    assert_eq!((guest.u32(OUT), guest.u32(OUT2)), (1, 11));
    guest.ok("environ_get/2", &[out, text]).await;
    assert_eq!(guest.read(FREE, 11), b"NAME=value\0");
    guest.ok("clock_res_get/2", &[1, out]).await;
    guest.ok("clock_time_get/3", &[0, 1, out]).await;
    assert_ne!(guest.read(OUT, 8), [0; 8]);
    guest.ok("random_get/2", &[text, 32]).await;
    guest.ok("sched_yield/0", &[]).await;
    guest.ok("prewasm:marker.here", &[]).await;
    for name in ["poll_oneoff/4", "epoll_oneoff/4"] {
        // A relative monotonic clock which is due at once.
        guest.write(FREE, &[0; 48]);
        guest.write(FREE + 16, &[1]);
        guest.ok(name, &[text, (FREE + 64).into(), 1, out]).await;
        assert_eq!(guest.u32(OUT), 1);
    }
}

async fn descriptors(guest: &mut Guest) {
    let iovec = guest.iovec(FREE, 8);
    guest.ok("fd_write/4", &[1, iovec, 1, OUT.into()]).await;
    assert_eq!(guest.u32(OUT), 8);
    guest.ok("fd_read/4", &[0, iovec, 1, OUT.into()]).await;
    assert_eq!(guest.u32(OUT), 0, "at its end");
    guest.ok("fd_fdstat_get/2", &[1, FREE.into()]).await;
    guest.ok("fd_filestat_get/2", &[1, FREE.into()]).await;
    guest.ok("fd_fdstat_set_flags/2", &[1, 4]).await;
    guest.ok("fd_close/1", &[0]).await;
}

/// Stores a path, and tells where and how long it is.
fn path(guest: &mut Guest, at: i32, path: &str) -> [i64; 2] {
    guest.write(at, path.as_bytes());
    [at.into(), i64::try_from(path.len()).expect("short")]
}

async fn open(guest: &mut Guest, name: &str) -> i64 {
    const CREATE: i64 = 1;
    const ALL_RIGHTS: i64 = 0x1fff_ffff;
    let [at, length] = path(guest, FREE, name);
    guest.ok("path_open/9", &[3, 0, at, length, CREATE, ALL_RIGHTS, ALL_RIGHTS, 0, OUT.into()]).await;
    guest.u32(OUT).into()
}

async fn files(guest: &mut Guest) {
    let out = OUT.into();
    guest.ok("fd_prestat_get/2", &[3, out]).await;
    guest.ok("fd_prestat_dir_name/3", &[3, FREE.into(), 1]).await;
    assert_eq!(guest.read(FREE, 1), b"/");
    let fd = open(guest, "file").await;
    guest.write(FREE, b"contents");
    let iovec = guest.iovec(FREE, 8);
    guest.ok("fd_pwrite/5", &[fd, iovec, 1, 2, out]).await;
    guest.ok("fd_pread/5", &[fd, iovec, 1, 0, out]).await;
    assert_eq!(guest.read(FREE, 8), b"\0\0conten");
    guest.ok("fd_seek/4", &[fd, 4, 0, out]).await;
    guest.ok("fd_tell/2", &[fd, out]).await;
    assert_eq!(guest.u32(OUT), 4);
    guest.ok("fd_advise/4", &[fd, 0, 4, 0]).await;
    guest.ok("fd_datasync/1", &[fd]).await;
    guest.ok("fd_sync/1", &[fd]).await;
    guest.ok("fd_filestat_set_size/2", &[fd, 3]).await;
    guest.ok("fd_filestat_set_times/4", &[fd, 1, 1, 1 | 4]).await;
    let other = open(guest, "other").await;
    guest.ok("fd_renumber/2", &[fd, other]).await;
    guest.ok("fd_readdir/5", &[3, FREE.into(), 512, 0, out]).await;
    assert!(guest.u32(OUT) > 0);
}

async fn paths(guest: &mut Guest) {
    let [one, one_length] = path(guest, FREE, "file");
    let [two, two_length] = path(guest, FREE + 0x100, "link");
    let [folder, folder_length] = path(guest, FREE + 0x200, "folder");
    guest.ok("path_create_directory/3", &[3, folder, folder_length]).await;
    guest.ok("path_filestat_get/5", &[3, 0, folder, folder_length, OUT.into()]).await;
    guest.ok("path_filestat_set_times/7", &[3, 0, folder, folder_length, 1, 1, 1 | 4]).await;
    guest.ok("path_link/7", &[3, 0, one, one_length, 3, two, two_length]).await;
    guest.ok("path_unlink_file/3", &[3, two, two_length]).await;
    guest.ok("path_symlink/5", &[one, one_length, 3, two, two_length]).await;
    guest.ok("path_readlink/6", &[3, two, two_length, FREE.into(), 64, OUT.into()]).await;
    assert_eq!(guest.u32(OUT), 4);
    guest.ok("path_rename/6", &[3, two, two_length, 3, one, one_length]).await;
    guest.ok("path_remove_directory/3", &[3, folder, folder_length]).await;
}

/// A guest that talks to itself, in each generation of the calls.
async fn streams(guest: &mut Guest) {
    let out = OUT.into();
    for (suffix, accept, getters) in
        [("", "sock_accept/2", 4), ("", "sock_accept/3", 3), ("_v2", "sock_accept_v2/3", 3)]
    {
        let name = |call: &str, arity: usize| format!("sock_{call}{suffix}/{arity}");
        guest.ok(&name("open", 3), &[1, STREAM, out]).await;
        let listener = i64::from(guest.u32(OUT));
        guest.write_u32(FREE, 1);
        guest.ok("sock_setsockopt/5", &[listener, 0, 0, FREE.into(), 4]).await;
        let any = guest.address(&[0; 4]);
        guest.ok(&name("bind", 3), &[listener, any, 0]).await;
        guest.ok(&name("listen", 2), &[listener, 128]).await;
        let port = guest.local_port(listener).await;
        let client = guest.open(STREAM).await;
        let loopback = guest.address(&[127, 0, 0, 1]);
        guest.ok(&name("connect", 3), &[client, loopback, port.into()]).await;
        match accept {
            "sock_accept/2" => guest.ok(accept, &[listener, out]).await,
            _ => guest.ok(accept, &[listener, 0, out]).await,
        }
        let accepted = i64::from(guest.u32(OUT));
        for call in ["getlocaladdr", "getpeeraddr"] {
            let address = guest.address(&[0; 128]);
            match getters {
                4 => guest.ok(&name(call, 4), &[client, address, OUT2.into(), out]).await,
                _ => guest.ok(&name(call, 3), &[client, address, out]).await,
            }
            assert_eq!(guest.address_bytes(6), [1, 0, 127, 0, 0, 1]);
        }
        guest.write(FREE, b"ping");
        let iovec = guest.iovec(FREE, 4);
        guest.ok(&name("send", 5), &[client, iovec, 1, 0, out]).await;
        guest.write(FREE, b"....");
        guest.ok(&name("recv", 6), &[accepted, iovec, 1, 2, out, OUT2.into()]).await;
        assert_eq!((guest.u32(OUT), guest.read(FREE, 4)), (4, b"ping".to_vec()));
        guest.write_u32(OUT2, 4);
        guest.ok("sock_getsockopt/5", &[listener, 0, 13, out, OUT2.into()]).await;
        assert_eq!(guest.u32(OUT), 1);
        guest.ok("sock_shutdown/2", &[client, 3]).await;
        for fd in [listener, client, accepted] {
            guest.ok("fd_close/1", &[fd]).await;
        }
    }
}

async fn datagrams(guest: &mut Guest) {
    let out = OUT.into();
    for (send, receive) in [
        ("sock_send_to/7", "sock_recv_from/7"),
        ("sock_send_to/7", "sock_recv_from/8"),
        ("sock_send_to_v2/7", "sock_recv_from_v2/8"),
    ] {
        let (server, client) = (guest.open(DGRAM).await, guest.open(DGRAM).await);
        assert_eq!(guest.bind(server, 0).await, 0);
        let port = guest.local_port(server).await;
        guest.write(FREE, b"ping");
        let (iovec, address) = (guest.iovec(FREE, 4), guest.address(&[127, 0, 0, 1]));
        guest.ok(send, &[client, iovec, 1, address, port.into(), 0, out]).await;
        guest.write(FREE, b"....");
        let flags = OUT2.into();
        match receive {
            "sock_recv_from/7" => guest.ok(receive, &[server, iovec, 1, address, 0, out, flags]).await,
            _ => guest.ok(receive, &[server, iovec, 1, address, 0, OUT3.into(), out, flags]).await,
        }
        assert_eq!((guest.u32(OUT), guest.read(FREE, 4)), (4, b"ping".to_vec()));
    }
}

async fn names(guest: &mut Guest) {
    let [name, length] = path(guest, FREE, "api.test");
    guest.ok("sock_lookup_ip/6", &[name, length, 1, OUT2.into(), 8, OUT.into()]).await;
    assert_eq!((guest.u32(OUT), guest.read(OUT2, 4)), (1, vec![127, 0, 0, 1]));
    let (hints, result, entry, sockaddr, data) = (FREE + 64, FREE + 80, FREE + 96, FREE + 128, FREE + 160);
    guest.write(hints, &[0; 200]);
    guest.write_u32(result, entry.cast_unsigned());
    guest.write_u32(entry + 12, sockaddr.cast_unsigned());
    guest.write_u32(sockaddr + 8, data.cast_unsigned());
    let args = [name, length, 0, 0, hints.into(), result.into(), 1, OUT.into()];
    guest.ok("sock_getaddrinfo/8", &args).await;
    assert_eq!((guest.u32(OUT), guest.read(data + 2, 4)), (1, vec![127, 0, 0, 1]));
}

async fn plugin(guest: &mut Guest, port: u16) {
    for (module, prefix, tail) in [("wasmedge_httpsreq", "wasmedge_httpsreq_", ""), ("httpsreq", "", "\0not a request")]
    {
        let name = |call: &str| format!("{module}.{prefix}{call}");
        let [host, host_length] = path(guest, FREE, "api.test");
        let [body, length] = path(guest, FREE + 64, &format!("GET / HTTP/1.1\r\nHost: api.test\r\n\r\n{tail}"));
        guest.ok(&name("send_data"), &[host, host_length, port.into(), body, length]).await;
        let length = guest.call(&name("get_rcv_len"), &[]).await;
        guest.succeeded.insert(name("get_rcv_len"));
        guest.ok(&name("get_rcv"), &[FREE.into()]).await;
        let answer = guest.read(FREE, usize::try_from(length).expect("a length"));
        let answer = String::from_utf8(answer).expect("text");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\npong"), "{answer}");
    }
}

/// Without a peer: what goes over the wire is tested beside the codec.
async fn codec(guest: &mut Guest) {
    let [name, length] = path(guest, FREE, "api.test");
    let buffer = i64::from(FREE + 64);
    for (call, args, expected) in [
        ("default_config", vec![], 0..=0),
        ("new_codec", vec![0, name, length], 0..=0),
        ("codec_is_handshaking", vec![0], 1..=1),
        ("codec_wants", vec![0], 2..=3),
        ("write_raw", vec![0, name, length], 8..=8),
        ("write_tls", vec![0, buffer, 4096], 64..=4096),
        ("process_new_packets", vec![0, buffer], 0..=0),
        ("read_raw", vec![0, buffer, 64], CODEC_WOULD_BLOCK..=CODEC_WOULD_BLOCK),
        ("read_tls", vec![0, buffer, 5], 1..=5),
        ("send_close_notify", vec![0], 0..=0),
        ("delete_codec", vec![0], 0..=0),
    ] {
        let name = format!("rustls_client.{call}");
        let result = guest.call(&name, &args).await;
        assert!(expected.contains(&result), "{call}: {result}");
        guest.succeeded.insert(name);
    }
}
