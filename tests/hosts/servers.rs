//! Servers as handlers of requests. All that is asked of one is asked of the same process: starting takes longest.

use std::{
    net::{SocketAddr, TcpStream},
    thread,
};

use futures_util::{StreamExt as _, stream};

use crate::{
    engine::{Engine, PortLock},
    exchange::{self, Answer, Question},
    guests::Guests,
    host::{self, Host, Instances},
    program::sample,
    report, upstream, ways,
};

type Answers = Vec<(String, Answer)>;

async fn answers(address: SocketAddr, questions: &[Question]) -> Answers {
    let client = host::client();
    let mut answers = Vec::new();
    for question in questions {
        answers.push((question.name(), question.ask(&client, address).await));
    }
    answers
}

/// Those of the original, as ours serves it.
async fn original(name: &str, questions: &[Question]) -> Answers {
    let server = Host::prewasm().serve(&sample(name), Instances::Fresh);
    answers(server.address, questions).await
}

/// A table of two answers says more than one of all.
#[track_caller]
fn assert_same(expected: &[(String, Answer)], found: &[(String, Answer)], name: &str, host: &Host) {
    for ((question, expected), (_, found)) in expected.iter().zip(found) {
        assert_eq!(found, expected, "{question}: {name} on {:?}", host.kind());
    }
    assert_eq!(found.len(), expected.len());
}

#[tokio::test]
async fn an_async_server_answers_like_the_original() {
    compare("hyper-server", true).await;
}

#[tokio::test]
async fn a_blocking_server_answers_like_the_original() {
    compare("blocking-server", false).await;
}

#[tokio::test]
async fn a_polling_server_answers_like_the_original() {
    compare("poll-http-server", false).await;
}

/// Requests of all shapes, large ones, and many at a time. One that `streams` does not read a request to its end before
/// it answers.
async fn compare(name: &str, streams: bool) {
    let (hosts, guests, questions) = (Host::all(), Guests::new(), Question::all());
    let expected = original(name, &questions).await;
    let ported = guests.ported(name);
    for (host, instances) in ways(&hosts) {
        let server = host.serve(&ported, instances);
        assert_same(&expected, &answers(server.address, &questions).await, name, host);
        large_body(server.address, streams).await;
        many_at_a_time(server.address).await;
        let what = if streams { "same answers; 3 MB, streamed; 16 clients" } else { "same answers; 3 MB; 16 clients" };
        report(host, Some(instances), name, what);
    }
}

async fn large_body(address: SocketAddr, streams: bool) {
    // 3 MB. More than a host gathers before the guest sees anything is in the first piece.
    let pieces: Vec<Vec<u8>> = (0..30).map(|number| vec![b'a' + number % 26; 100_000]).collect();
    let url = format!("http://{address}/echo");
    let found = exchange::echo_in_pieces(&host::client(), url, pieces.clone(), streams).await;
    assert_eq!((found.len(), found == pieces.concat()), (3_000_000, true));
}

async fn many_at_a_time(address: SocketAddr) {
    const CLIENTS: usize = 16;
    const REQUESTS: usize = 200;
    let client = host::client();
    let ask = |number| {
        let (question, client) = (Question::post("/echo", format!("request {number}")), client.clone());
        async move { (number, question.ask(&client, address).await.text()) }
    };
    let mut answers = stream::iter((0..REQUESTS).map(ask)).buffer_unordered(CLIENTS);
    while let Some((number, answer)) = answers.next().await {
        assert_eq!(answer, (200, format!("request {number}")));
    }
}

#[tokio::test]
async fn a_server_calls_others_and_keeps_nothing_of_a_request() {
    let (hosts, guests) = (Host::all(), Guests::new());
    let (name, upstream, nobody) = ("poll-http-server", upstream::start(), host::free_port());
    let mut questions = vec![
        Question::get(&format!("/via/{upstream}/page?a=b")),
        Question::get(&format!("/via/127.0.0.1:{nobody}/page")),
    ];
    questions.extend((0..3).map(|_| Question::get("/count")));
    let expected = original(name, &questions).await;
    let texts: Vec<_> = expected.iter().map(|(_, answer)| answer.text()).collect();
    assert_eq!(texts[0], (200, "GET /page?a=b, with \"\"\n".to_owned()));
    assert_eq!(texts[1], (502, "Connection refused (os error 14)\n".to_owned()));
    assert!(texts[2..].iter().all(|text| *text == (200, "1".to_owned())), "{texts:?}");
    let ported = guests.ported(name);
    for (host, instances) in ways(&hosts) {
        let server = host.serve(&ported, instances);
        assert_same(&expected, &answers(server.address, &questions).await, name, host);
        report(host, Some(instances), name, "calls others; no state survives");
    }
}

#[tokio::test]
async fn a_server_is_ported_with_what_a_snapshot_holds() {
    let (hosts, guests, questions) = (Host::all(), Guests::new(), Question::all());
    let name = "hyper-server";
    let expected = original(name, &questions).await;
    let frozen = guests.snapshotted_and_ported(name, &["--warm-up", "GET /", "--warm-up", "POST /echo"]);
    for (host, instances) in ways(&hosts) {
        let server = host.serve(&frozen, instances);
        assert_same(&expected, &answers(server.address, &questions).await, name, host);
        report(host, Some(instances), "hyper-server, frozen", "same answers");
    }
}

#[tokio::test]
async fn a_server_is_ported_with_what_its_init_function_has_done() {
    let (hosts, guests) = (Host::all(), Guests::new());
    let questions = ["/check?q=hello", "/rules", "/missing"].map(Question::get);
    let name = "rules-server";
    let mut expected = original(name, &questions).await;
    let warm = guests.snapshotted_and_ported(name, &["--until", "init"]);
    for (_, answer) in &mut expected {
        let before = answer.fields.insert("rules-ready".to_owned(), "before-start".to_owned());
        assert_eq!(before.as_deref(), Some("at-start"));
    }
    for (host, instances) in ways(&hosts) {
        let server = host.serve(&warm, instances);
        assert_same(&expected, &answers(server.address, &questions).await, name, host);
        report(host, Some(instances), "rules-server, initialized", "same answers");
    }
}

#[tokio::test]
async fn a_server_answers_like_the_original_on_wasmedge() {
    let Some(wasmedge) = Engine::wasmedge() else { return };
    let (hosts, guests, questions) = (Host::all(), Guests::new(), Question::all());
    let (name, port) = ("hyper-server", 8080);
    let mut expected = {
        let _lock = PortLock::take();
        wasmedge.await_port(port);
        let mut running = wasmedge.start(name, &[], &[], &[]);
        let address = wasmedge.address(&mut running, port);
        // It cannot be asked before.
        while TcpStream::connect(address).is_err() {
            assert!(!running.has_ended(), "WasmEdge has ended");
            thread::yield_now();
        }
        answers(address, &questions).await
    };
    // A short body comes whole to a ported program, even one that was sent in chunks: then its echo has a length.
    let forget_length = |answers: &mut Answers| answers.iter_mut().for_each(|(_, answer)| answer.length = None);
    forget_length(&mut expected);
    let ported = guests.ported(name);
    for host in &hosts {
        let server = host.serve(&ported, Instances::Fresh);
        let mut found = answers(server.address, &questions).await;
        forget_length(&mut found);
        assert_same(&expected, &found, name, host);
        report(host, Some(Instances::Fresh), name, "as on WasmEdge");
    }
}
