//! Hosts that reuse an instance do not grow with it.

use std::env;

use futures_util::{StreamExt as _, stream};

use crate::{
    exchange::Question,
    guests::Guests,
    host::{self, Host},
    report,
};

/// Enough to see that it works. `PREWASM_HOST_REQUESTS=10000` says something, and takes minutes.
const REQUESTS: usize = 200;
const CLIENTS: usize = 4;
/// An instance which kept a page of 64 KiB of every tenth request would grow by more in 10,000; garbage collectors and
/// allocators are not expected to be exact.
const SLACK: u64 = 48 << 20;

#[tokio::test]
async fn memory_does_not_grow_with_the_number_of_requests() {
    let requests = env::var("PREWASM_HOST_REQUESTS").map_or(REQUESTS, |value| value.parse().expect("a number"));
    let (hosts, guests) = (Host::all(), Guests::new());
    for name in ["hyper-server", "poll-http-server"] {
        let ported = guests.ported(name);
        for host in &hosts {
            let instances = *host.instances().last().expect("some");
            let server = host.serve(&ported, instances);
            // Until everything is there that is made once.
            load(&server, requests / 4).await;
            let before = server.process.resident_bytes();
            load(&server, requests).await;
            let after = server.process.resident_bytes();
            let megabytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
            let text = format!("{:.0} -> {:.0} MiB in {requests} requests", megabytes(before), megabytes(after));
            report(host, Some(instances), name, &text);
            assert!(after < before + SLACK, "{name} on {:?}: {text}", host.kind());
        }
    }
}

async fn load(server: &host::Server, requests: usize) {
    let client = host::client();
    let body = "0123456789abcdef".repeat(500);
    let ask = |_| Question::post("/echo", body.clone()).answer(client.clone(), server.address);
    let mut answers = stream::iter((0..requests).map(ask)).buffer_unordered(CLIENTS);
    while let Some(answer) = answers.next().await {
        assert!(answer.status == 200 && answer.body == body.as_bytes(), "{answer:?}");
    }
}
