//! Clients that encrypt through WasmEdge's plugin or codec: ported, they leave that to the host, which does it.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use crate::{
    guests::Guests,
    host::Host,
    program::sample,
    report,
    tls::{Authority, Certificate},
};

#[test]
fn ported_clients_really_encrypt() {
    let (host, authority) = (Host::prewasm(), Authority::new("ours"));
    let guests = Guests::new().with("ca.pem", authority.pem());
    let ca = guests.path("ca.pem");
    for name in ["plugin-client", "tls-client"] {
        let ported = guests.ported(name);
        let tap = Tap::before(authority.serve("good.test", Certificate::Valid));
        let port = tap.address.port();
        let flags = [
            format!("--tls-ca={}", ca.display()),
            format!("--allow-outbound=https://good.test:{port}"),
            "--resolve=good.test=127.0.0.1".to_owned(),
        ];
        let args = [format!("https://good.test:{port}/page-that-nobody-sees")];
        let original = host.run(&sample(name), &flags, &args);
        assert_eq!((original.code, original.stdout.as_str()), (0, "200\nGET /page-that-nobody-sees HTTP/1.1"));
        let found = host.run(&ported, &flags, &args);
        assert_eq!((found.code, &found.stdout), (0, &original.stdout), "{name}: {found:?}");
        let mut seen = tap.seen.lock().expect("no panic").clone();
        // The plugin's library connects a socket before it turns to the plugin.
        seen.retain(|bytes| !bytes.is_empty());
        // Each begins with a record of a handshake: the original's and the ported one's.
        assert!(seen.len() == 2 && seen.iter().all(|bytes| bytes.starts_with(&[0x16, 3])), "{name}: {seen:02x?}");
        let clear = |bytes: &Vec<u8>| bytes.windows(6).any(|text| text == b"nobody");
        assert!(!seen.iter().any(clear), "{name} says it in the clear");
        report(&host, None, name, "same output over TLS");

        // Whom the host does not trust, the program does not hear.
        let stranger = Tap::before(Authority::new("theirs").serve("good.test", Certificate::Valid));
        let port = stranger.address.port();
        let allow = [flags[0].clone(), format!("--allow-outbound=https://good.test:{port}"), flags[2].clone()];
        let found = host.run(&ported, &allow, &[format!("https://good.test:{port}/page")]);
        assert!(found.code != 0 && found.stdout.is_empty(), "{name}: {found:?}");
    }
}

/// Passes everything on to a server, and keeps what clients send.
struct Tap {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Tap {
    fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let (address, seen) = (listener.local_addr().expect("bound"), Arc::new(Mutex::new(Vec::new())));
        let kept = Arc::clone(&seen);
        thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.expect("a client");
                let server = TcpStream::connect(server).expect("it listens");
                let number = {
                    let mut kept = kept.lock().expect("no panic");
                    kept.push(Vec::new());
                    kept.len() - 1
                };
                let (from, to) = (client.try_clone().expect("open"), server.try_clone().expect("open"));
                let kept = Arc::clone(&kept);
                thread::spawn(move || pass(&from, &to, |bytes| kept.lock().expect("no panic")[number].extend(bytes)));
                thread::spawn(move || pass(&server, &client, |_| ()));
            }
        });
        Self { address, seen }
    }
}

/// Passes bytes on until one side ends.
fn pass(mut from: &TcpStream, mut to: &TcpStream, mut keep: impl FnMut(&[u8])) {
    let mut piece = [0; 4096];
    while let Ok(length @ 1..) = from.read(&mut piece) {
        keep(&piece[..length]);
        if to.write_all(&piece[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Write);
}
