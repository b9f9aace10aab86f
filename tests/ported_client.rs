//! What ported programs meet when they call out: each call by hand, so that what comes back is seen as it is.

#[path = "harness/plain.rs"]
mod plain;
#[path = "harness/program.rs"]
#[allow(dead_code, reason = "no test program uses all of it")]
mod program;
#[path = "harness/socket_client.rs"]
mod socket_client;

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener},
    thread,
};

use program::{Folder, Run};
use socket_client::client;

const RECEIVE_TIMEOUT: &str =
    "(call $check (call $set (i32.load (i32.const 32)) (i32.const 0) (i32.const 11) (i32.const 16) (i32.const 16)))";

/// Checks the errno that the program prints, and what standard error says.
#[track_caller]
fn fails<const N: usize>(run: &Run, errno: u8, named: [&str; N]) {
    run.fails(1, named);
    assert_eq!(run.stdout, [errno], "{run}");
}

/// Ports the program and runs it, with leave to call `server`.
fn run(text: &str, options: &[&str], server: SocketAddr) -> Run {
    let folder = Folder::new().with("app.wat", text);
    let mut port = vec!["-q", "port", "app.wat", "-o", "app.wasm"];
    port.extend(options);
    folder.run(port).succeeds();
    let http = format!("--allow-outbound=http://*:{}", server.port());
    let loopback = format!("--allow-outbound=*://127.0.0.1:{}", server.port());
    folder.run(["run", "--timeout=60s", "--resolve=named.test=127.0.0.1", &http, &loopback, "app.wasm"])
}

const ACCES: u8 = 2;
const AGAIN: u8 = 6;
const CONNREFUSED: u8 = 14;
const PROTONOSUPPORT: u8 = 66;

#[test]
fn a_request_is_for_whom_the_program_has_connected_to() {
    let server = plain::serve();
    let port = server.port();
    for host in [String::new(), format!("host: 127.0.0.1:{port}\r\n"), "Host: 127.0.0.1\r\n".to_owned()] {
        let run = run(&client(port, &format!("GET /x HTTP/1.1\r\n{host}\r\n"), ""), &[], server);
        assert!(run.succeeds().text().ends_with("GET /x HTTP/1.1"), "{run}");
    }
    let other = client(port, &format!("GET /x HTTP/1.1\r\nhost: named.test:{port}\r\n\r\n"), "");
    fails(
        &run(&other, &[], server),
        ACCES,
        ["127.0.0.1", "named.test", "`--authority host-header`", "`--with-sockets`"],
    );
    let named = run(&other, &["--authority", "host-header"], server);
    assert!(named.succeeds().text().ends_with("GET /x HTTP/1.1"), "{named}");
    // As it is, over a socket.
    let raw = run(&other, &["--with-sockets"], server);
    assert!(raw.succeeds().text().ends_with("GET /x HTTP/1.1"), "{raw}");
}

#[test]
fn what_is_not_http_is_refused_unless_there_are_sockets() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let server = listener.local_addr().expect("bound");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a client");
            let mut bytes = [0; 64];
            let length = stream.read(&mut bytes).expect("bytes");
            stream.write_all(&bytes[..length]).expect("taken");
        }
    });
    for (bytes, what) in [
        ("\u{16}\u{3}\u{1}\u{0}\u{5}hello", "encrypts"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/2"),
        ("hello\r\n", "`--with-sockets`"),
    ] {
        let text = client(server.port(), bytes, "");
        fails(&run(&text, &[], server), PROTONOSUPPORT, [what, "`--with-sockets`"]);
        assert_eq!(run(&text, &["--with-sockets"], server).succeeds().text(), bytes);
    }
}

#[test]
fn a_server_that_speaks_first_is_heard_over_sockets_only() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let server = listener.local_addr().expect("bound");
    thread::spawn(move || {
        for stream in listener.incoming() {
            stream.expect("a client").write_all(b"220 ready\r\n").expect("taken");
        }
    });
    let text = client(server.port(), "", "");
    fails(&run(&text, &[], server), PROTONOSUPPORT, ["`--with-sockets`"]);
    assert_eq!(run(&text, &["--with-sockets"], server).succeeds().text(), "220 ready\r\n");
}

#[test]
fn a_receive_timeout_ends_the_wait() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let server = listener.local_addr().expect("bound");
    // Accepted by the system, and never answered.
    let text = client(server.port(), "GET / HTTP/1.1\r\n\r\n", RECEIVE_TIMEOUT);
    fails(&run(&text, &[], server), AGAIN, []);
    drop(listener);
}

#[test]
fn a_refused_connection_is_told_by_the_first_read() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let server = listener.local_addr().expect("bound");
    drop(listener);
    let text = client(server.port(), "GET / HTTP/1.1\r\n\r\n", "");
    fails(&run(&text, &[], server), CONNREFUSED, []);
    fails(&run(&text, &["--with-sockets"], server), CONNREFUSED, []);
}
