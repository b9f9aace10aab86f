//! A rolling restart of three gateways behind HAProxy, under load: no request fails.
//!
//! Skipped without HAProxy; with `PREWASM_REQUIRE_HAPROXY=1`, that is a failure.

#![cfg(unix)]

#[path = "harness/gateway.rs"]
#[allow(dead_code, reason = "no test program uses all of it")]
mod gateway;

use std::{
    env, fs,
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use gateway::{Gateway, sample, serve};

/// Ended when dropped.
struct Proxy(Child);

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An address that was free a moment ago.
fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("loopback")
}

fn is_missing() -> bool {
    let found = Command::new("haproxy").arg("-v").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let is_missing = !found.is_ok_and(|status| status.success());
    assert!(!is_missing || env::var_os("PREWASM_REQUIRE_HAPROXY").is_none(), "haproxy is not installed");
    is_missing
}

/// A gateway on these addresses, which is ready when this returns.
fn start(listen: SocketAddr, admin: SocketAddr) -> Gateway {
    let (listen, admin) = (listen.to_string(), admin.to_string());
    serve(sample("cgi-hello")).args(["--admin", &admin, "--drain-delay", "2s"]).listen(&listen).start()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_fails_no_request() {
    if is_missing() {
        println!("skipped: haproxy is not installed");
        return;
    }
    let addresses: Vec<_> = (0..3).map(|_| (free(), free())).collect();
    let mut gateways: Vec<_> = addresses.iter().map(|(listen, admin)| Some(start(*listen, *admin))).collect();
    let front = free();
    let folder = tempfile::tempdir().expect("writable");
    let servers: String = addresses
        .iter()
        .enumerate()
        .map(|(i, (listen, admin))| {
            format!("  server s{i} {listen} check addr 127.0.0.1 port {} inter 200ms fall 1 rise 1\n", admin.port())
        })
        .collect();
    let config = format!(
        "defaults\n  mode http\n  timeout connect 2s\n  timeout client 10s\n  timeout server 10s\n  retries 3\n  option redispatch\n\
         frontend front\n  bind {front}\n  default_backend back\n\
         backend back\n  balance roundrobin\n  option httpchk GET /readyz\n  http-check expect status 200\n{servers}"
    );
    let file = folder.path().join("haproxy.cfg");
    fs::write(&file, config).expect("writable");
    let started = Command::new("haproxy").arg("-db").arg("-f").arg(&file).stderr(Stdio::null()).spawn();
    let _proxy = Proxy(started.expect("haproxy starts"));
    while TcpStream::connect(front).is_err() {
        thread::sleep(Duration::from_millis(20));
    }
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    // Until its checks have found the gateways.
    while !client.get(format!("http://{front}/")).send().await.is_ok_and(|answer| answer.status() == 200) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let (client, stop) = (client.clone(), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut answered = 0;
                while !stop.load(Ordering::Relaxed) {
                    let answer = client.get(format!("http://{front}/")).send().await.expect("an answer");
                    assert_eq!(answer.status(), 200);
                    assert!(answer.bytes().await.expect("whole").starts_with(b"hello"));
                    answered += 1;
                }
                answered
            })
        })
        .collect();
    for (gateway, (listen, admin)) in gateways.iter_mut().zip(&addresses) {
        let old = gateway.take().expect("running");
        let sent = Command::new("kill").args(["-TERM", &old.id().to_string()]).status().expect("kill is there");
        assert!(sent.success());
        assert_eq!(tokio::task::spawn_blocking(move || old.exit_code()).await.expect("no panic"), Some(0));
        *gateway = Some(start(*listen, *admin));
        // Until the checks have found it.
        tokio::time::sleep(Duration::from_millis(600)).await;
    }
    stop.store(true, Ordering::Relaxed);
    let mut answered = 0;
    for client in clients {
        answered += client.await.expect("no request failed");
    }
    assert!(answered > 100, "{answered}");
}
