//! The guests, and what is done with each.

use std::{
    net::{Ipv4Addr, SocketAddr},
    slice,
};

use crate::{
    engine::{Engine, Running},
    observation::{Observation, Wire},
    outside::{Peer, datagrams, nobody},
    talk::Talk,
};

/// A guest and a script.
pub struct Case {
    pub guest: &'static str,
    pub script: &'static str,
    act: Act,
}

/// What the script does.
enum Act {
    /// Runs the guest, whose peers are its own, with these arguments.
    Alone(&'static [&'static str]),
    /// Runs a client, whose peer is an HTTP server of the test's. `ADDRESS` in arguments stands for that.
    Client { args: &'static [&'static str], permission: Permission },
    /// Runs a client whose peer is not there.
    Refused { args: &'static [&'static str] },
    /// Talks to a server on this port, which goes on for ever.
    Server { port: u16, env: &'static [(&'static str, &'static str)], talk: fn(&mut Talk) },
    /// The same with one that ends.
    EndingServer { port: u16, args: &'static [&'static str], talk: fn(&mut Talk) },
    /// Sends datagrams to `udp-echo` from a socket on this port.
    Datagrams { from: u16, replies_to: &'static [u16] },
}

/// What ours needs to be told, which WasmEdge allows anyway.
enum Permission {
    /// The peer's address may be called.
    Address,
    /// `localhost` may be called, and is where the peer is.
    Name,
    Nothing,
}

use Act::{Alone, Client, Datagrams, EndingServer, Refused, Server};

const UDP_ECHO_PORT: u16 = 3000;

/// The scripts of `socket-calls`.
static SOCKET_CALLS: [&str; 10] =
    ["tcp", "udp", "modes", "polls", "errors", "options", "odd-lengths", "lookup", "any-kind", "descriptors"];

pub fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |guest, script, act| cases.push(Case { guest, script, act });

    let server = |port, talk| Server { port, env: &[], talk };
    add(
        "hyper-server",
        "get",
        server(8080, |talk| talk.exchange(&["GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"])),
    );
    add(
        "hyper-server",
        "two requests on a connection",
        server(8080, |talk| {
            let first = "POST /echo/reversed HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello";
            let second = "GET /missing HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
            talk.exchange(&[first, second]);
        }),
    );
    add(
        "hyper-server",
        "a body in pieces",
        server(8080, |talk| {
            let head = "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
            talk.exchange(&[head, "5\r\nhello\r\n", "6\r\n world\r\n", "0\r\n\r\n"]);
        }),
    );
    add(
        "hyper-server",
        "not HTTP",
        server(8080, |talk| {
            talk.exchange(&["hello there\r\n\r\n"]);
            talk.await_complaint();
        }),
    );
    add(
        "hyper-server",
        "a client that leaves",
        server(8080, |talk| {
            talk.leave("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 50\r\n\r\nhel");
            talk.await_complaint();
            talk.exchange(&["GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"]);
        }),
    );
    add("blocking-server", "get", server(1234, |talk| talk.exchange(&["GET / HTTP/1.1\r\nHost: h\r\n\r\n"])));
    add(
        "blocking-server",
        "post",
        server(1234, |talk| {
            talk.exchange(&["POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\n", "hello", " world"]);
        }),
    );
    add("blocking-server", "not HTTP", server(1234, |talk| talk.exchange(&["hello there\r\n\r\n"])));
    for (script, env) in [("via std", &[("VIA", "std")] as &[_]), ("via wasmedge", &[])] {
        let talk: fn(&mut Talk) = |talk| talk.exchange(&["GET / HTTP/1.1\r\nHost: h\r\n\r\n"]);
        add("mixed-accept", script, Server { port: 1237, env, talk });
    }
    add(
        "poll-http-server",
        "two requests on a connection",
        server(1239, |talk| {
            let first = "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello";
            let second = "GET /count HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
            talk.exchange(&[first, second]);
        }),
    );
    add(
        "poll-server",
        "one client",
        EndingServer {
            port: 1238,
            args: &[],
            talk: |talk| {
                let client = talk.connect();
                talk.say(client, "hello");
                talk.say(client, "again");
                talk.hang_up(client);
            },
        },
    );
    add(
        "poll-server",
        "three clients in turn",
        EndingServer {
            port: 1238,
            args: &["3"],
            talk: |talk| {
                let (one, two) = (talk.connect(), talk.connect());
                talk.say(two, "second");
                talk.say(one, "first");
                talk.hang_up(one);
                let three = talk.connect();
                talk.say(three, "third");
                talk.hang_up(two);
                talk.hang_up(three);
            },
        },
    );

    // 0x2a2a, the same in both byte orders, and 0x2a2b, where 0x2b2a may be answered.
    add("udp-echo", "from a port that reads both ways", Datagrams { from: 10794, replies_to: &[10794] });
    add("udp-echo", "from another port", Datagrams { from: 10795, replies_to: &[10795, 11050] });

    let http = |args| Client { args, permission: Permission::Address };
    add("http-client", "get", http(&["http://ADDRESS/page"]));
    add("http-client", "post", http(&["http://ADDRESS/page", "some text"]));
    add("http-client", "by name", Client { args: &["http://localhost:PORT/page"], permission: Permission::Name });
    add("http-client", "nobody listens", Refused { args: &["http://ADDRESS/"] });
    add("http-client", "without permission", Client { args: &["http://ADDRESS/"], permission: Permission::Nothing });
    add("plugin-client", "get", http(&["http://ADDRESS/page"]));
    add("nonblocking-client", "get", http(&["ADDRESS"]));
    add("nonblocking-client", "nobody listens", Refused { args: &["ADDRESS"] });
    add("legacy-client", "get", http(&["http://ADDRESS/page"]));
    add("reqwest-client", "get twice", http(&["http://ADDRESS/page"]));
    add("reqwest-client", "post", http(&["http://ADDRESS/page", "some text"]));
    add("reqwest-client", "by name", Client { args: &["http://localhost:PORT/page"], permission: Permission::Name });
    add("reqwest-client", "nobody listens", Refused { args: &["http://ADDRESS/"] });
    add("hyper-client", "two requests", http(&["ADDRESS", "some text"]));
    add("hyper-client", "nobody listens", Refused { args: &["ADDRESS"] });

    add("lookup-client", "an address", Alone(&["127.0.0.1", "80"]));
    add("lookup-client", "a name", Alone(&["localhost", "http"]));
    add("lookup-client", "an unknown name", Alone(&["name.invalid"]));
    for script in &SOCKET_CALLS {
        add("socket-calls", script, Alone(slice::from_ref(script)));
    }
    cases
}

impl Case {
    pub fn observe(&self, engine: &Engine) -> Observation {
        let start = |flags: &[&str], env, args: &[&str], address: SocketAddr| {
            let fill = |text: &&str| {
                text.replace("ADDRESS", &address.to_string()).replace("PORT", &address.port().to_string())
            };
            let flags: Vec<_> = flags.iter().map(fill).collect();
            engine.start(self.guest, &flags, env, &args.iter().map(fill).collect::<Vec<_>>())
        };
        let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        match &self.act {
            Alone(args) => {
                let flags = [
                    "--allow-inbound=127.0.0.1:0",
                    // Names port 0: a datagram socket that asks for any port may hear everybody.
                    "--allow-inbound=127.0.0.1:0=127.0.0.1:0",
                    "--allow-outbound=*://127.0.0.1:*",
                    "--allow-outbound=*://localhost:*",
                    "--allow-outbound=*://name.invalid:*",
                ];
                Observation::new(start(&flags, &[], args, nowhere).finish(), &Wire::new(), &[])
            }
            Client { args, permission } => {
                let peer = Peer::start();
                let address = peer.address;
                let flags: &[_] = match permission {
                    Permission::Address => &["--allow-outbound=*://ADDRESS"],
                    Permission::Name => &["--allow-outbound=*://localhost:PORT"],
                    Permission::Nothing => &[],
                };
                let ended = start(flags, &[], args, address).finish();
                Observation::new(ended, &peer.finish(), &[address.port()])
            }
            Refused { args } => {
                let address = nobody();
                let ended = start(&["--allow-outbound=*://ADDRESS"], &[], args, address).finish();
                Observation::new(ended, &Wire::new(), &[address.port()])
            }
            Server { port, env, talk } => {
                engine.await_port(*port);
                let mut running = start(&["--allow-inbound=127.0.0.1:0"], env, &[], nowhere);
                let wire = Talk::with(engine, &mut running, *port, *talk);
                Observation::new(running.stop(), &wire, &[])
            }
            EndingServer { port, args, talk } => {
                engine.await_port(*port);
                let mut running = start(&["--allow-inbound=127.0.0.1:0"], &[], args, nowhere);
                let wire = Talk::with(engine, &mut running, *port, *talk);
                Observation::new(running.finish(), &wire, &[])
            }
            Datagrams { from, replies_to } => {
                engine.await_port(UDP_ECHO_PORT);
                // Its library reads a buffer that it has declared constant, so that, optimized, it believes every
                // datagram to come from 0.0.0.0; which leads to this machine.
                let flags = ["--allow-inbound=127.0.0.1:0", "--allow-outbound=udp://0.0.0.0:*"];
                let mut running = start(&flags, &[], &["1"], nowhere);
                let wire = exchange_datagrams(engine, &mut running, *from, replies_to);
                Observation::new(running.finish(), &wire, &[])
            }
        }
    }
}

/// Sends one datagram and looks at which of the ports the answer arrives.
fn exchange_datagrams(engine: &Engine, running: &mut Running, from: u16, replies_to: &[u16]) -> Wire {
    let sockets: Vec<_> = replies_to.iter().map(|&port| datagrams(port)).collect();
    let sender = replies_to.iter().position(|&port| port == from).expect("the sender may be answered");
    let address = engine.address(running, UDP_ECHO_PORT);
    running.stdout.wait_for(|line| line == "ready");
    sockets[sender].send_to(b"datagram", address).expect("sendable");
    // Its last line, which the answer follows before the guest ends.
    running.stdout.wait_for(|line| line.contains("bytes from"));
    while !running.has_ended() {
        std::thread::yield_now();
    }
    let receive = |socket: &std::net::UdpSocket| {
        let mut buffer = [0; 128];
        socket.set_nonblocking(true).expect("an option");
        socket.recv(&mut buffer).map_or_else(|_| Vec::new(), |length| buffer[..length].to_vec())
    };
    sockets.iter().map(receive).collect()
}
