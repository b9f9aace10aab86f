//! `prewasm serve`: every kind of guest, its limits, and its failures, seen by a client.

#[path = "harness/frozen.rs"]
#[allow(dead_code, reason = "no test program uses all of it")]
mod frozen;
#[path = "harness/gateway.rs"]
mod gateway;

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use gateway::{answer, sample, serve};
use reqwest::{Body, Method};

/// A guest in text format, in a file which lives as long as the result.
fn guest(wat: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::Builder::new().suffix(".wat").tempfile().expect("a temporary file");
    file.write_all(wat.as_bytes()).expect("writable");
    file
}

/// A body in chunks, so that no length is announced.
fn chunked(bytes: &[u8], size: usize) -> Body {
    let chunks: Vec<_> = bytes.chunks(size).map(|chunk| Ok::<_, std::io::Error>(chunk.to_vec())).collect();
    Body::wrap_stream(futures_util::stream::iter(chunks))
}

/// Bytes which do not repeat soon, so that a mix-up shows.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|i| b'a' + u8::try_from(i * 7 % 26 + i / 1000 % 2).expect("small") % 26).collect()
}

async fn answers_like_the_hyper_server(gateway: &gateway::Gateway) {
    let (status, body) = gateway.get("/").await;
    assert_eq!(status, 200);
    assert!(body.contains("/echo"), "{body}");
    assert_eq!(gateway.post("/echo", "hello").await, (200, "hello".to_owned()));
    assert_eq!(gateway.post("/echo/reversed", "hello").await, (200, "olleh".to_owned()));
    assert_eq!(gateway.get("/nothing").await.0, 404);
    let big = pattern(3 << 20);
    let (status, body) = gateway.post("/echo", chunked(&big, 50_000)).await;
    assert_eq!((status, body.as_bytes() == big), (200, true), "3 MB, chunked");
    let (status, body) = gateway.post("/echo/reversed", big.clone()).await;
    let reversed: Vec<u8> = big.iter().rev().copied().collect();
    assert_eq!((status, body.as_bytes() == reversed), (200, true), "3 MB, reversed");
}

#[tokio::test]
async fn an_unmodified_hyper_server_is_served_isolated() {
    answers_like_the_hyper_server(&serve(sample("hyper-server")).start()).await;
}

#[tokio::test]
async fn an_unmodified_hyper_server_is_served_resident() {
    answers_like_the_hyper_server(&serve(sample("hyper-server")).args(["--mode", "resident"]).start()).await;
}

#[tokio::test]
async fn a_frozen_server_goes_on_where_it_accepts() {
    let mut file = tempfile::Builder::new().suffix(".wasm").tempfile().expect("a temporary file");
    file.write_all(&frozen::server()).expect("writable");
    for mode in ["isolated", "resident"] {
        let gateway = serve(file.path()).args(["--mode", mode]).start();
        for _ in 0..3 {
            assert_eq!(gateway.get("/").await, (200, "frozen and back".to_owned()), "{mode}");
        }
        assert!(!gateway.log().contains("trapped"), "{}", gateway.log());
    }
}

#[tokio::test]
async fn many_concurrent_requests_are_never_mixed_up() {
    let gateway = std::sync::Arc::new(serve(sample("hyper-server")).start());
    let tasks: Vec<_> = (0..16)
        .map(|client| {
            let gateway = std::sync::Arc::clone(&gateway);
            tokio::spawn(async move {
                for round in 0..50 {
                    let body = format!("client {client}, round {round}");
                    assert_eq!(gateway.post("/echo", body.clone()).await, (200, body));
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("no panic");
    }
}

#[tokio::test]
async fn each_request_gets_a_fresh_instance_unless_resident() {
    let isolated = serve(sample("misbehave")).start();
    for _ in 0..5 {
        assert_eq!(isolated.get("/count").await.1.trim(), "1");
    }
    let resident = serve(sample("misbehave")).args(["--mode", "resident"]).start();
    for expected in ["1", "2", "3"] {
        assert_eq!(resident.get("/count").await.1.trim(), expected);
    }
}

#[tokio::test]
async fn blocking_servers_and_mixed_generations_of_accept_work() {
    let blocking = serve(sample("blocking-server")).start();
    assert_eq!(blocking.post("/", "from a blocking guest").await, (200, "from a blocking guest".to_owned()));
    for via in ["std", "wasmedge"] {
        let mixed = serve(sample("mixed-accept")).args(["--env", &format!("VIA={via}")]).start();
        assert_eq!(mixed.get("/").await, (200, format!("hello via {via}\n")), "sock_accept has two types here");
    }
}

#[tokio::test]
async fn a_guest_that_fails_gets_a_status_with_a_reason() {
    let gateway = serve(sample("misbehave")).args(["--timeout", "1s", "--max-memory", "16MiB"]).start();
    let cases = [
        ("/loop", 504, "did not answer within"),
        ("/silent", 504, "did not answer within"),
        ("/trap", 502, "trapped"),
        ("/panic", 502, "trapped"),
        ("/exit", 502, "exited with code 3"),
        ("/close", 502, "closed the connection"),
        ("/garbage", 502, "not valid"),
        ("/alloc", 502, "out of memory"),
        ("/ok", 200, "ok"),
    ];
    for (path, status, reason) in cases {
        let (found, body) = gateway.get(path).await;
        assert_eq!(found, status, "{path}: {body}");
        assert!(body.contains(reason), "{path}: {body}");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_never_taken_for_complete() {
    let gateway = serve(sample("misbehave")).start();
    for _ in 0..20 {
        let response = gateway.request(Method::GET, "/partial").send().await;
        // It depends on time whether the head is sent before the guest traps.
        if let Ok(response) = response {
            let status = response.status();
            assert!(status == 502 || response.bytes().await.is_err(), "{status}");
        }
    }
    gateway.wait_for_log("trapped");
}

#[tokio::test]
async fn framing_is_kept_for_every_kind_of_answer() {
    let gateway = serve(sample("misbehave")).start();
    for path in ["/big", "/chunked"] {
        let (status, body) = gateway.get(path).await;
        assert_eq!((status, body.len()), (200, 3_000_000.max(body.len())), "{path}");
        assert!(body.len() >= 3_000_000, "{path}: {}", body.len());
    }
    assert_eq!(gateway.get("/204").await, (204, String::new()));
    assert_eq!(gateway.get("/304").await, (304, String::new()));
    let head = gateway.request(Method::HEAD, "/big").send().await.expect("an answer");
    assert_eq!(head.status(), 200);
    assert!(head.bytes().await.expect("nothing").is_empty());
    assert_eq!(answer(gateway.request(Method::POST, "/early").body(pattern(1 << 20))).await.0, 200);
}

#[tokio::test]
async fn what_a_guest_prints_goes_to_the_log() {
    let gateway = serve(sample("misbehave")).start();
    let (_, body) = gateway.get("/log").await;
    assert_eq!(body.trim(), "ok", "and not to the client");
    gateway.wait_for_log("stdout");
    gateway.wait_for_log("stderr");
}

#[tokio::test]
async fn a_resident_guest_that_dies_or_hangs_is_started_again() {
    let gateway = serve(sample("misbehave")).args(["--mode", "resident", "--timeout", "1s"]).start();
    assert_eq!(gateway.get("/trap").await.0, 502);
    gateway.wait_for_log("trapped");
    assert_eq!(gateway.get("/loop").await.0, 504);
    gateway.wait_for_log("hangs");
    assert_eq!(gateway.get("/ok").await.0, 200);
}

#[tokio::test]
async fn commands_are_served_as_cgi() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("hello.txt"), "from a file\n").expect("writable");
    let dir = format!("{}::/data", folder.path().display());
    let gateway = serve(sample("cgi-echo")).args(["--env", "COLOUR=blue", "--dir", &dir]).start();
    let (status, env) =
        answer(gateway.request(Method::GET, "/env?a=b").header("x-probe", "42").header("proxy", "evil")).await;
    assert_eq!(status, 200);
    for line in [
        "COLOUR=blue",
        "GATEWAY_INTERFACE=CGI/1.1",
        "REQUEST_METHOD=GET",
        "PATH_INFO=/env",
        "QUERY_STRING=a=b",
        "HTTP_X_PROBE=42",
    ] {
        assert!(env.lines().any(|found| found == line), "{line} is missing in\n{env}");
    }
    assert!(!env.contains("HTTP_PROXY") && !env.contains("CARGO"), "nothing of the host enters:\n{env}");
    let big = pattern(2 << 20);
    let (status, body) = gateway.post("/echo", big.clone()).await;
    assert_eq!((status, body.as_bytes() == big), (200, true));
    let (status, body) = gateway.post("/echo", chunked(&big, 70_000)).await;
    assert_eq!((status, body.as_bytes() == big), (200, true), "chunked");
    assert_eq!(gateway.get("/status?404").await.0, 404);
    assert_eq!(gateway.get("/stream").await.1.lines().count(), 5);
    assert_eq!(gateway.get("/redirect").await.0, 302);
    assert!(gateway.get("/local").await.1.contains("PATH_INFO=/env"), "a local redirect is followed by the gateway");
    assert_eq!(gateway.get("/file").await, (200, "from a file\n".to_owned()));
}

#[tokio::test]
async fn components_are_served() {
    let gateway = serve(sample("component-hello")).start();
    let (status, body) = gateway.get("/").await;
    assert_eq!(status, 200, "{body}");
    let big = pattern(3 << 20);
    let (status, body) = gateway.post("/echo", chunked(&big, 50_000)).await;
    assert_eq!((status, body.as_bytes() == big), (200, true), "3 MB, chunked");
    assert_eq!(gateway.get("/nothing").await.0, 404);
}

#[tokio::test]
async fn calls_out_of_a_component_are_denied_unless_allowed() {
    let upstream = serve(sample("cgi-hello")).start();
    let path = format!("/fetch?url=http://{}/", upstream.address());
    let denied = serve(sample("component-hello")).start();
    assert_eq!(denied.get(&path).await.0, 502);
    denied.wait_for_log("--allow-outbound");
    let pattern = format!("http://{}", upstream.address());
    let allowed = serve(sample("component-hello")).args(["--allow-outbound", &pattern]).start();
    assert_eq!(allowed.get(&path).await, (200, "hello\n".to_owned()));
}

#[tokio::test]
async fn request_bodies_are_bounded() {
    for name in ["hyper-server", "cgi-echo", "component-hello"] {
        let gateway = serve(sample(name)).args(["--max-body", "100KiB"]).start();
        assert_eq!(gateway.post("/echo", pattern(50_000)).await.0, 200, "{name}");
        let (status, _) = gateway.post("/echo", pattern(200_000)).await;
        assert_eq!(status, 413, "{name}, with a length");
    }
}

#[tokio::test]
async fn a_full_queue_is_told_at_once() {
    let gateway = std::sync::Arc::new(
        serve(sample("misbehave")).args(["--timeout", "3s", "--instances", "1", "--queue", "0"]).start(),
    );
    let busy = {
        let gateway = std::sync::Arc::clone(&gateway);
        // It may itself find the only place taken, by one of the requests below.
        tokio::spawn(async move {
            loop {
                let (status, _) = gateway.get("/silent").await;
                if status != 503 {
                    return status;
                }
            }
        })
    };
    let refused = loop {
        let response = gateway.request(Method::GET, "/ok").send().await.expect("an answer");
        if response.status() != 200 {
            break response;
        }
    };
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));
    assert_eq!(busy.await.expect("no panic"), 504);
    assert_eq!(gateway.get("/ok").await.0, 200, "the place is free again");
}

#[tokio::test]
async fn fuel_is_a_limit_too() {
    let gateway = serve(sample("misbehave")).args(["--fuel", "50000000"]).start();
    assert_eq!(gateway.get("/ok").await.0, 200);
    let (status, body) = gateway.get("/loop").await;
    assert_eq!(status, 503, "{body}");
    assert!(body.contains("fuel"), "{body}");
}

#[cfg(unix)]
#[tokio::test]
async fn a_running_request_survives_sigterm() {
    let gateway = serve(sample("cgi-echo")).start();
    let mut stream = TcpStream::connect(gateway.address()).expect("listening");
    stream.write_all(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n").expect("open");
    let mut first = [0; 64];
    let length = stream.read(&mut first).expect("the head");
    assert!(length > 0);
    let killed = std::process::Command::new("kill").arg(gateway.id().to_string()).status().expect("kill runs");
    assert!(killed.success());
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).expect("a clean end");
    assert!(rest.ends_with(b"0\r\n\r\n"), "the answer is complete: {}", rest.escape_ascii());
    assert_eq!(gateway.exit_code(), Some(0));
}

#[tokio::test]
async fn a_client_that_leaves_ends_its_guest() {
    let gateway = serve(sample("misbehave")).args(["--instances", "1", "--queue", "0", "--timeout", "60s"]).start();
    let mut clients = Vec::new();
    // There is no queue: a silent client which comes while the other is served is refused, so the next one tries.
    while gateway.get("/ok").await.0 == 200 {
        let mut client = TcpStream::connect(gateway.address()).expect("listening");
        client.write_all(b"GET /silent HTTP/1.1\r\nHost: x\r\n\r\n").expect("open");
        clients.push(client);
    }
    drop(clients);
    // The only instance is free again long before the deadline.
    while gateway.get("/ok").await.0 != 200 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn raw_requests_of_every_shape_get_an_answer() {
    let gateway = serve(sample("hyper-server")).start();
    let exchange = |request: &[u8]| {
        let mut stream = TcpStream::connect(gateway.address()).expect("listening");
        stream.write_all(request).expect("open");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("text");
        answer
    };
    assert!(exchange(b"GET / HTTP/1.0\r\n\r\n").starts_with("HTTP/1.0 200"), "no Host in HTTP/1.0");
    assert!(
        exchange(b"GET http://a.example/ HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n").starts_with("HTTP/1.1 200")
    );
    assert!(exchange(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").starts_with("HTTP/1.1 400"));
    let long = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "y".repeat(1 << 20));
    assert!(exchange(long.as_bytes()).starts_with("HTTP/1.1 431"));
    let expecting =
        b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\nConnection: close\r\n\r\nhi";
    let answer = exchange(expecting);
    assert!(answer.contains("HTTP/1.1 200") && answer.ends_with("hi"), "{answer}");
}

/// A command which writes `text`.
fn writes(text: &str) -> String {
    format!(
        r#"(module
            (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (data (i32.const 0) "\10\00\00\00")
            (data (i32.const 16) "{}")
            (func (export "_start")
                (i32.store (i32.const 4) (i32.const {}))
                (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#,
        text.replace('\n', "\\n"),
        text.len()
    )
}

#[tokio::test]
async fn a_command_that_lies_about_its_length_is_a_bad_gateway() {
    let honest = guest(&writes("Content-Length: 2\n\nhi"));
    assert_eq!(serve(honest.path()).start().get("/").await, (200, "hi".to_owned()));
    for text in ["Content-Length: 100\n\nhi", "Content-Length: 1\n\nhi", "Content-Length: 1\nContent-Length: 2\n\nhi"] {
        let liar = guest(&writes(text));
        let (status, body) = serve(liar.path()).start().get("/").await;
        assert_eq!((status, body.contains("Content-Length")), (502, true), "{body}");
    }
}

#[tokio::test]
async fn a_command_without_a_head_is_a_bad_gateway() {
    let silent = guest("(module (memory (export \"memory\") 1) (func (export \"_start\")))");
    let gateway = serve(silent.path()).start();
    let (status, body) = gateway.get("/").await;
    assert_eq!((status, body.contains("ended before it answered")), (502, true), "{body}");
}

#[tokio::test]
async fn guests_that_compute_do_not_stop_the_others() {
    let gateway = std::sync::Arc::new(
        serve(sample("misbehave")).args(["--workers", "1", "--timeout", "60s", "--instances", "12"]).start(),
    );
    let loops: Vec<_> = (0..8)
        .map(|_| {
            let gateway = std::sync::Arc::clone(&gateway);
            tokio::spawn(async move { gateway.request(Method::GET, "/loop").send().await.map(drop) })
        })
        .collect();
    for _ in 0..200 {
        assert_eq!(gateway.get("/nothing").await.0, 404);
    }
    assert!(
        loops.iter().all(|task| !task.is_finished()),
        "they compute until their deadline, and hold their instances"
    );
    // Four instances are left, as long as the eight are not given back.
    for task in &loops {
        task.abort();
    }
    // A client that leaves ends its guest, on whichever thread it is: then all twelve can be had again.
    let again: Vec<_> = (0..12)
        .map(|_| {
            let gateway = std::sync::Arc::clone(&gateway);
            tokio::spawn(async move { gateway.get("/nothing").await.0 })
        })
        .collect();
    for task in again {
        assert_eq!(task.await.expect("no panic"), 404);
    }
}
