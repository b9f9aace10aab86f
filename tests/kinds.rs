//! One table: what every kind of guest answers to the same requests, and what becomes of those that fail.

#[path = "harness/gateway.rs"]
#[allow(dead_code, reason = "no test program uses all of it")]
mod gateway;

use std::{
    fmt,
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::Arc,
    time::Duration,
};

use gateway::{Gateway, configured, sample};
use reqwest::{Body, Method, StatusCode};

/// A kind of guest, with a program that behaves and one that does not.
struct Kind {
    name: &'static str,
    good: &'static str,
    bad: &'static str,
    reuse: bool,
    /// What the bad one cannot do.
    cannot: &'static [&'static str],
}

const KINDS: [Kind; 5] = [
    Kind {
        name: "socket server",
        good: "hyper-server",
        bad: "misbehave",
        reuse: false,
        cannot: &["/error", "/flood", "/log", "/silence"],
    },
    Kind {
        name: "command",
        good: "cgi-echo",
        bad: "COMMAND",
        reuse: false,
        cannot: &["/error", "/exit", "/silence", "/log", "/partial"],
    },
    Kind { name: "component 0.2", good: "component-hello", bad: "component-misbehave", reuse: false, cannot: &[] },
    Kind { name: "component 0.3", good: "component-p3", bad: "component-p3", reuse: false, cannot: &[] },
    Kind { name: "component 0.3, reused", good: "component-p3", bad: "component-p3", reuse: true, cannot: &[] },
];

/// A command that traps, loops, asks for memory or writes for ever, by the first letter of its query.
const COMMAND: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "environ_sizes_get" (func $sizes (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "environ_get" (func $get (param i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 64) "Content-Type: text/plain\0a\0ahello\0a")
    (func $print
        (i32.store (i32.const 0) (i32.const 64)) (i32.store (i32.const 4) (i32.const 32))
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
    ;; Whether the environment has this byte behind `PATH_INFO=/`.
    (func $asked (param $letter i32) (result i32) (local $at i32)
        (drop (call $get (i32.const 1024) (i32.const 4096)))
        (local.set $at (i32.const 4096))
        (loop $next
            (if (i32.and
                    (i64.eq (i64.load (local.get $at)) (i64.const 0x464e495f48544150))
                    (i32.eq (i32.load8_u offset=11 (local.get $at)) (local.get $letter)))
                (then (return (i32.const 1))))
            (local.set $at (i32.add (local.get $at) (i32.const 1)))
            (br_if $next (i32.lt_u (local.get $at) (i32.const 60000))))
        (i32.const 0))
    (func (export "_start")
        (if (call $asked (i32.const 116)) (then unreachable))
        (if (call $asked (i32.const 108)) (then (loop $forever (br $forever))))
        (if (call $asked (i32.const 97))
            (then (loop $more
                (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))
                unreachable)))
        (call $print)
        (if (call $asked (i32.const 102)) (then (loop $forever (call $print) (br $forever))))))"#;

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// A gateway, and the folder of its configuration.
struct Served {
    gateway: Gateway,
    _folder: tempfile::TempDir,
}

impl Kind {
    fn serve(&self, program: &str, limits: &str) -> Served {
        let folder = tempfile::tempdir().expect("writable");
        let source = match program {
            "COMMAND" => {
                let file = folder.path().join("command.wat");
                std::fs::write(&file, COMMAND).expect("writable");
                file
            }
            name => sample(name),
        };
        let reuse = if self.reuse { "reuse = { requests = 8, concurrent = 4, idle = \"10s\" }" } else { "" };
        let config = format!(
            "[[app]]\nname = \"app\"\nsource = {source:?}\nroutes = [\"/...\"]\n{reuse}\nlimits = {{ {limits} }}\n"
        );
        std::fs::write(folder.path().join("prewasm.toml"), config).expect("writable");
        Served { gateway: configured(folder.path(), "prewasm.toml").start(), _folder: folder }
    }

    fn good(&self, limits: &str) -> Served {
        self.serve(self.good, limits)
    }

    fn bad(&self, limits: &str) -> Served {
        self.serve(self.bad, limits)
    }

    /// The path at which the good program says hello.
    fn hello(&self) -> &'static str {
        if self.good == "cgi-echo" { "/env" } else { "/" }
    }
}

fn chunked(bytes: &[u8]) -> Body {
    let chunks: Vec<_> = bytes.chunks(10_000).map(|chunk| Ok::<_, std::io::Error>(chunk.to_vec())).collect();
    Body::wrap_stream(futures_util::stream::iter(chunks))
}

#[tokio::test]
async fn what_behaves_is_answered_alike() {
    for kind in &KINDS {
        let served = kind.good("");
        let gateway = &served.gateway;
        let hello = kind.hello();
        assert_eq!(gateway.get(hello).await.0, 200, "{kind}");
        let head = gateway.request(Method::HEAD, hello).send().await.expect("an answer");
        assert_eq!(head.bytes().await.expect("none").len(), 0, "{kind}");
        assert_eq!(gateway.get("/nothing").await.0, 404, "{kind}: the guest's own");
        assert_eq!(gateway.post("/echo", "hello").await, (200, "hello".to_owned()), "{kind}");
        let big: Vec<u8> = (0..1 << 20).map(|i: u32| b'a' + (i * 7 % 26) as u8).collect();
        let (status, body) = gateway.post("/echo", big.clone()).await;
        assert_eq!((status, body.as_bytes() == big), (200, true), "{kind}");
        let (status, body) = gateway.post("/echo", chunked(&big)).await;
        assert_eq!((status, body.as_bytes() == big), (200, true), "{kind}, in chunks");
    }
}

#[tokio::test]
async fn what_fails_gets_the_same_status() {
    for kind in &KINDS {
        let served = kind.bad("timeout = \"1s\", memory = \"32MiB\"");
        let gateway = &served.gateway;
        for (path, status, reason) in [
            ("/trap", 502, "trapped"),
            ("/exit", 502, "before it answered"),
            ("/error", 502, "not valid"),
            ("/loop", 504, "did not answer within"),
            ("/alloc", 502, "out of memory"),
        ] {
            if kind.cannot.contains(&path) {
                continue;
            }
            let (found, text) = gateway.get(path).await;
            assert_eq!(found, status, "{kind} {path}: {text}");
            assert!(text.contains(reason), "{kind} {path}: {text}");
        }
        if !kind.cannot.contains(&"/silence") {
            assert_eq!(gateway.get("/silence").await.0, 502, "{kind}");
        }
        // What comes after is served as if nothing had been.
        assert_ne!(gateway.get("/").await.0, 502, "{kind}");
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_does_not_pass_for_a_whole_one() {
    for kind in KINDS.iter().filter(|kind| !kind.cannot.contains(&"/partial")) {
        let served = kind.bad("");
        let answer = served.gateway.request(Method::GET, "/partial").send().await;
        let whole = match answer {
            // Where the head was not sent yet, the failure has a status of its own.
            Ok(answer) => answer.status() == StatusCode::OK && answer.bytes().await.is_ok(),
            Err(_) => false,
        };
        assert!(!whole, "{kind}");
    }
}

#[tokio::test]
async fn a_flood_ends_with_its_client() {
    for kind in KINDS.iter().filter(|kind| !kind.cannot.contains(&"/flood")) {
        // One instance: if the flood did not end, nobody else would be answered.
        let served = kind.bad("instances = 1, timeout = \"60s\"");
        let mut stream = TcpStream::connect(served.gateway.address()).expect("listening");
        stream.write_all(b"GET /flood HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
        let mut bytes = vec![0; 1 << 20];
        stream.read_exact(&mut bytes).unwrap_or_else(|error| panic!("{kind}: {error}: {}", served.gateway.log()));
        drop(stream);
        let next = tokio::time::timeout(Duration::from_secs(20), served.gateway.get("/hello")).await;
        let (status, _) = next.unwrap_or_else(|_| panic!("{kind}: the flood goes on"));
        assert!(status == 200 || status == 404, "{kind}: {status}");
    }
}

#[tokio::test]
async fn a_log_is_bounded() {
    for kind in KINDS.iter().filter(|kind| !kind.cannot.contains(&"/log")) {
        let served = kind.bad("log = \"16KiB\"");
        assert_eq!(served.gateway.get("/log").await, (200, "hello\n".to_owned()), "{kind}");
        served.gateway.wait_for_log("log limit is reached");
        assert!(served.gateway.log().len() < 100_000, "{kind}");
    }
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused() {
    for kind in &KINDS {
        let served = kind.good("body = \"1KiB\"");
        assert_eq!(served.gateway.post("/echo", "x".repeat(1024)).await.0, 200, "{kind}");
        assert_eq!(served.gateway.post("/echo", "x".repeat(1025)).await.0, 413, "{kind}");
    }
}

#[tokio::test]
async fn a_guest_out_of_fuel_is_not_asked_again() {
    for kind in &KINDS {
        let served = kind.bad("fuel = 1_000_000");
        let (status, text) = served.gateway.get("/loop").await;
        assert_eq!(status, 503, "{kind}: {text}");
        assert!(text.contains("fuel"), "{kind}: {text}");
    }
}

#[tokio::test]
async fn a_full_queue_is_told_with_the_time_to_wait() {
    for kind in &KINDS {
        let served = Arc::new(kind.bad("instances = 1, queue = 0, timeout = \"30s\""));
        let busy = Arc::clone(&served);
        let looping = tokio::spawn(async move { busy.gateway.get("/loop").await });
        let refused = loop {
            let answer = served.gateway.request(Method::GET, "/hello").send().await.expect("an answer");
            // Until the loop has the instance.
            if answer.status() == StatusCode::SERVICE_UNAVAILABLE {
                break answer;
            }
        };
        assert_eq!(refused.headers()["retry-after"], "1", "{kind}");
        looping.abort();
    }
}

#[tokio::test]
async fn a_reused_instance_keeps_its_state_for_as_long_as_it_is_told() {
    let served = KINDS[4].good("");
    let mut counts = Vec::new();
    // Of one connection, so of one worker.
    for _ in 0..20 {
        counts.push(served.gateway.get("/count").await.1.trim().parse::<u32>().expect("a number"));
    }
    assert!(counts.iter().any(|count| *count > 1), "{counts:?}");
    assert!(counts.iter().all(|count| *count <= 8), "{counts:?}");
    let fresh = KINDS[3].good("");
    for _ in 0..5 {
        assert_eq!(fresh.gateway.get("/count").await, (200, "1\n".to_owned()));
    }
}
