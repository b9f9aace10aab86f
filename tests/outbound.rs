//! Calls out of guests over TLS: whom they trust, and that nothing on the way is taken from the environment.

#[path = "harness/gateway.rs"]
#[allow(dead_code, reason = "no test program uses all of it")]
mod gateway;
#[path = "harness/program.rs"]
mod program;
#[path = "harness/tls.rs"]
mod tls;

use std::net::SocketAddr;

use program::{Folder, Run, finish, sample};
use tls::{Authority, Certificate};

/// Guests which speak HTTPS, each in its way: through the HTTP plugin, and through the TLS codec over its own socket.
const CLIENTS: [&str; 2] = ["plugin-client", "tls-client"];

/// Fetches `https://NAME/page` from `server`, trusting what is in `ca.pem`.
fn fetch(folder: &Folder, client: &str, name: &str, server: SocketAddr, flags: &[&str]) -> Run {
    let port = server.port();
    let mut command = folder.command(["run", "--tls-ca=ca.pem", "--timeout=60s"]);
    command.arg(format!("--allow-outbound=https://{name}:{port}")).arg(format!("--resolve={name}=127.0.0.1"));
    command.args(flags).arg(sample(client)).arg(format!("https://{name}:{port}/page"));
    // A proxy that is not there: whoever asked it would fail.
    for variable in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"] {
        command.env(variable, "http://127.0.0.1:9");
    }
    finish(&mut command, b"")
}

#[test]
fn https_works_with_an_authority_of_ones_own() {
    let authority = Authority::new("ours");
    let server = authority.serve("good.test", Certificate::Valid);
    let folder = Folder::new().with("ca.pem", authority.pem());
    for client in CLIENTS {
        let run = fetch(&folder, client, "good.test", server, &[]);
        assert_eq!(run.succeeds().text(), "200\nGET /page HTTP/1.1", "{client}");
    }
}

#[test]
fn certificates_which_are_not_to_be_trusted_are_told_apart() {
    let authority = Authority::new("ours");
    let folder = Folder::new().with("ca.pem", authority.pem());
    let valid = authority.serve("good.test", Certificate::Valid);
    let expired = authority.serve("good.test", Certificate::Expired);
    let unknown = Authority::new("theirs").serve("good.test", Certificate::Valid);
    // The plugin has no error codes, so it traps; the codec's guest gets one, and ends as it likes.
    for (client, code) in [(CLIENTS[0], 134), (CLIENTS[1], 1)] {
        fetch(&folder, client, "other.test", valid, &[]).fails(code, ["`other.test` failed", "not valid for name"]);
        fetch(&folder, client, "good.test", expired, &[]).fails(code, ["`good.test` failed", "expired"]);
        fetch(&folder, client, "good.test", unknown, &[]).fails(code, ["UnknownIssuer", "hint: ", "`--tls-ca`"]);
    }
}

#[test]
fn a_file_of_authorities_must_hold_some() {
    let folder = Folder::new().with("empty.pem", "").with("app.wat", r#"(module (func (export "_start")))"#);
    for verb in ["run", "serve"] {
        folder.run([verb, "--tls-ca=missing.pem", "app.wat"]).fails(2, ["`missing.pem`"]);
        folder.run([verb, "--tls-ca=empty.pem", "app.wat"]).fails(2, ["`empty.pem` holds no certificate"]);
    }
}

#[tokio::test]
async fn a_served_component_trusts_the_same_authorities() {
    let authority = Authority::new("ours");
    let server = authority.serve("good.test", Certificate::Valid);
    let unknown = Authority::new("theirs").serve("good.test", Certificate::Valid);
    let folder = Folder::new().with("ca.pem", authority.pem());
    let ca = folder.path("ca.pem");
    let serve = gateway::serve(sample("component-hello"));
    let gateway = serve
        .args(["--allow-outbound=https://good.test:*", "--resolve=good.test=127.0.0.1"])
        .args(["--tls-ca", ca.to_str().expect("UTF-8")])
        .start();
    let url = |server: SocketAddr| format!("/fetch?url=https%3A%2F%2Fgood.test%3A{}%2Fpage", server.port());
    assert_eq!(gateway.get(&url(server)).await, (200, "GET /page HTTP/1.1".to_owned()));
    let (status, text) = gateway.get(&url(unknown)).await;
    assert_eq!(status, 502, "{text}");
    gateway.wait_for_log("`--tls-ca`");
}

#[tokio::test]
async fn a_guest_does_not_come_back_through_our_own_front_door_unless_that_is_named() {
    let closed = gateway::serve(sample("component-hello")).args(["--allow-outbound=*://*:*"]).start();
    let port = closed.address().port();
    for host in ["127.0.0.1", "0.0.0.0", "localhost", "2130706433", "[::ffff:127.0.0.1]", "x@127.0.0.1"] {
        let (_, text) = closed.get(&format!("/fetch?url=http%3A%2F%2F{host}%3A{port}%2F")).await;
        assert!(text.contains("HttpRequestDenied"), "{host}: {text}");
    }
    let open = gateway::serve(sample("component-hello")).args(["--allow-outbound=http://127.0.0.1:*"]).start();
    let port = open.address().port();
    let path = format!("/fetch?url=http%3A%2F%2F127.0.0.1%3A{port}%2F");
    assert_eq!(open.get(&path).await, (200, "hello\n".to_owned()));
}
