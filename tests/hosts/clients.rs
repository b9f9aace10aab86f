//! Clients as commands.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener},
    thread,
};

use crate::{
    engine::Engine,
    exchange,
    guests::Guests,
    host::{self, Host},
    process::Ended,
    program::sample,
    report,
    socket_client::client,
    upstream,
};

/// Clients, and their arguments: `ADDRESS` stands for whom they call.
const CALLS: [(&str, &[&str]); 8] = [
    ("http-client", &["http://ADDRESS/page"]),
    ("hyper-client", &["ADDRESS", "some text"]),
    ("reqwest-client", &["http://ADDRESS/page"]),
    ("plugin-client", &["http://ADDRESS/page"]),
    ("nonblocking-client", &["ADDRESS"]),
    ("tls-client", &["http://ADDRESS/page"]),
    // The same as above, with a body.
    ("http-client", &["http://ADDRESS/page", "some text"]),
    ("reqwest-client", &["http://ADDRESS/page", "some text"]),
];
const CLIENTS: usize = 6;

#[test]
fn clients_print_what_the_originals_print() {
    compare(&CALLS, &upstream::start().to_string(), |found, expected| {
        assert_eq!((expected.code, found.code), (0, 0));
    });
}

#[test]
fn clients_are_told_that_nobody_listens() {
    let nobody = format!("127.0.0.1:{}", host::free_port());
    compare(&CALLS[..CLIENTS], &nobody, |found, expected| {
        assert_eq!((expected.code, found.code), (1, 1));
        // In words of their own: a ported client hears of it later.
        assert!(found.stderr.contains("Connection refused (os error 14)"), "{found:?}");
    });
}

/// Runs originals and ported ones, and holds their standard output against each other.
fn compare(calls: &[(&str, &[&str])], address: &str, check: impl Fn(&Ended, &Ended)) {
    let (hosts, guests) = (Host::all(), Guests::new());
    let allow = [format!("--allow-outbound=*://{address}")];
    for (name, args) in calls {
        let ported = guests.ported(name);
        let args: Vec<_> = args.iter().map(|arg| arg.replace("ADDRESS", address)).collect();
        let expected = Host::prewasm().run(&sample(name), &allow, &args);
        for host in &hosts {
            let found = host.run(&ported, &allow, &args);
            assert_eq!(printed(&found), printed(&expected), "{name} {args:?} on {:?}: {found:?}", host.kind());
            check(&found, &expected);
            report(host, None, name, &format!("same output, code {}", found.code));
        }
    }
}

/// The lines of standard output. One client prints the head of the answer, whose fields are the host's, and how it came to
/// be connected, which a ported one is at once.
fn printed(ended: &Ended) -> Vec<String> {
    let of_the_host = |line: &&str| {
        let name = line.split_once(": ").map_or("", |(name, _)| name);
        exchange::OF_THE_HOST.contains(&name.to_lowercase().as_str())
    };
    let lines = ended.stdout.lines().filter(|line| !of_the_host(line) && !line.starts_with("connect"));
    lines.map(|line| line.replace("HTTP/1.0 ", "HTTP/1.1 ")).collect()
}

#[test]
fn a_client_prints_what_the_original_prints_on_wasmedge() {
    let Some(wasmedge) = Engine::wasmedge() else { return };
    let (hosts, guests, address) = (Host::all(), Guests::new(), upstream::start());
    let allow = [format!("--allow-outbound=http://{address}")];
    let ported = guests.ported("http-client");
    for args in [vec![format!("http://{address}/page")], vec![format!("http://{address}/page"), "some text".to_owned()]]
    {
        let original = wasmedge.start("http-client", &[], &[], &args).finish();
        for host in &hosts {
            let found = host.run(&ported, &allow, &args);
            assert_eq!((Some(found.code), printed(&found)), (original.status, original.stdout.clone()), "{found:?}");
            report(host, None, "http-client", "as on WasmEdge");
        }
    }
}

#[test]
fn what_is_not_http_goes_over_sockets() {
    let (hosts, address) = (Host::all(), repeat());
    for sent in ["not HTTP\n", "\u{16}\u{3}\u{1}\u{0}\u{5}hello\n"] {
        let guests = Guests::new().with("client.wat", &client(address.port(), sent, ""));
        let ported = guests.port(guests.path("client.wat"), "client.wasm", &["--with-sockets"]);
        for host in &hosts {
            let found = host.run(&ported, &[format!("--allow-outbound=tcp://{address}")], &[""; 0]);
            assert_eq!((found.code, found.stdout.as_str()), (0, sent), "{:?}: {found:?}", host.kind());
            report(host, None, "a client by hand", "raw TCP");
        }
    }
}

/// Starts a server which sends back the first thing it hears.
fn repeat() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("bound");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a client");
            let mut bytes = [0; 64];
            let length = stream.read(&mut bytes).unwrap_or(0);
            let _ = stream.write_all(&bytes[..length]);
        }
    });
    address
}
