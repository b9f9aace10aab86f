//! `prewasm serve` over time: reloads, and the end.

#![cfg(unix)]

#[path = "harness/gateway.rs"]
#[allow(dead_code, reason = "no test program uses all of it")]
mod gateway;

use std::{
    fs,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use gateway::{Gateway, serve};

/// A command that answers with `text`.
fn answering(text: &str) -> String {
    let output = format!("Content-Type: text/plain\\n\\n{text}");
    let length = output.len() - output.matches("\\n").count();
    format!(
        r#"(module
            (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (data (i32.const 0) "\10\00\00\00\{length:02x}\00\00\00")
            (data (i32.const 16) "{output}")
            (func (export "_start") (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#
    )
}

fn signal(gateway: &Gateway, name: &str) {
    let sent = Command::new("kill").args([name, &gateway.id().to_string()]).status().expect("kill is there");
    assert!(sent.success());
}

fn replace(file: &Path, content: &str) {
    let new = file.with_extension("new");
    fs::write(&new, content).expect("writable");
    fs::rename(&new, file).expect("same folder");
}

async fn until_answered(gateway: &Gateway, text: &str) {
    for _ in 0..200 {
        if gateway.get("/").await == (200, text.to_owned()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("`{text}` is never answered: {}", gateway.log());
}

#[tokio::test]
async fn a_changed_file_is_served_without_a_restart() {
    let folder = tempfile::tempdir().expect("writable");
    let file = folder.path().join("app.wat");
    fs::write(&file, answering("one")).expect("writable");
    let gateway = serve(&file).start();
    assert_eq!(gateway.get("/").await, (200, "one".to_owned()));
    replace(&file, &answering("two"));
    until_answered(&gateway, "two").await;
    // Told, it does not wait for a look at the files.
    replace(&file, &answering("three"));
    signal(&gateway, "-HUP");
    until_answered(&gateway, "three").await;
}

#[tokio::test]
async fn what_cannot_be_served_leaves_what_is_served() {
    let folder = tempfile::tempdir().expect("writable");
    let file = folder.path().join("app.wat");
    fs::write(&file, answering("one")).expect("writable");
    let gateway = serve(&file).start();
    replace(&file, "(module (func (export \"wrong\")))");
    signal(&gateway, "-HUP");
    gateway.wait_for_log("the earlier state stays");
    assert!(gateway.log().contains("is a reactor"), "{}", gateway.log());
    assert_eq!(gateway.get("/").await, (200, "one".to_owned()));
    replace(&file, "(module");
    signal(&gateway, "-HUP");
    gateway.wait_for_log("neither a wasm binary nor valid text format");
    assert_eq!(gateway.get("/").await, (200, "one".to_owned()));
    // Repaired, it is taken without being told.
    replace(&file, &answering("two"));
    until_answered(&gateway, "two").await;
}

#[tokio::test]
async fn a_gateway_that_leaves_goes_on_for_a_while_and_sends_clients_away() {
    let folder = tempfile::tempdir().expect("writable");
    let file = folder.path().join("app.wat");
    fs::write(&file, answering("one")).expect("writable");
    let gateway = serve(&file).args(["--drain-delay", "2s"]).start();
    let before = gateway.request(reqwest::Method::GET, "/").send().await.expect("an answer");
    assert!(!before.headers().contains_key("connection"));
    drop(before);
    signal(&gateway, "-TERM");
    gateway.wait_for_log("leaving");
    let after = gateway.request(reqwest::Method::GET, "/").send().await.expect("new connections are still taken");
    assert_eq!(after.headers()["connection"], "close");
    assert_eq!(after.text().await.expect("whole"), "one");
    assert_eq!(gateway.exit_code(), Some(0));
}

#[tokio::test]
async fn reloads_under_load_fail_no_request() {
    let folder = tempfile::tempdir().expect("writable");
    let file = folder.path().join("app.wat");
    fs::write(&file, answering("one")).expect("writable");
    let gateway = Arc::new(serve(&file).start());
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let (gateway, stop) = (Arc::clone(&gateway), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut seen = [0; 2];
                while !stop.load(Ordering::Relaxed) {
                    let (status, body) = gateway.get("/").await;
                    assert_eq!(status, 200, "{body}");
                    seen[usize::from(body == "two")] += 1;
                }
                seen
            })
        })
        .collect();
    for round in 0..15 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        replace(&file, &answering(if round % 2 == 0 { "two" } else { "one" }));
        signal(&gateway, "-HUP");
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        let seen = client.await.expect("no request failed");
        assert!(seen.iter().all(|count| *count > 0), "both were served: {seen:?}");
    }
    assert!(!gateway.log().contains("ERROR"), "{}", gateway.log());
}
