//! Requests to a site, without a connection.

use std::path::Path;

use bytes::Bytes;
use http::{HeaderMap, StatusCode, uri::Scheme};
use http_body_util::{BodyExt as _, Full};
use prewasm_artifact::Artifact;
use prewasm_ext_http::OutboundPolicy;
use tokio::{sync::mpsc, task::LocalSet};

use super::*;
use crate::{
    app::{App, Limits},
    cache::CodeCache,
    prepared::Process,
    spec::{RouteSpec, SiteSpec, StaticResponse, TargetSpec},
};

fn sample(name: &str) -> Artifact {
    let prebuilt = Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples/prebuilt");
    Artifact::read(&prebuilt.join(name).with_extension("wasm")).expect("a sample")
}

fn app(name: &str, guest: &str) -> App {
    App { name: name.into(), ..App::new(sample(guest)) }
}

fn to_app(hosts: &str, route: &str, app: &str) -> RouteSpec {
    to(hosts, route, TargetSpec::App(app.to_owned()))
}

fn to(hosts: &str, route: &str, target: TargetSpec) -> RouteSpec {
    let hosts = hosts.split_whitespace().map(|host| host.parse().expect("a host")).collect();
    RouteSpec { hosts, route: route.parse().expect("a route"), target }
}

struct Asked {
    site: Arc<Site>,
    _process: Process,
}

impl Asked {
    fn new(apps: Vec<App>, routes: Vec<RouteSpec>) -> Self {
        let process = Process::new(16, 1, Vec::new()).expect("a way to reset");
        let site = Site::prepare(SiteSpec { apps, routes }, &process, &CodeCache::disabled(), None);
        Self { site: Arc::new(site.unwrap_or_else(|errors| panic!("{errors}"))), _process: process }
    }

    /// Asks, with the worker's other task running beside.
    fn ask(&self, request: http::request::Builder) -> (StatusCode, HeaderMap, String) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        LocalSet::new().block_on(&runtime, async {
            let (sender, calls) = mpsc::unbounded_channel();
            let turns = Rc::<Turns>::default();
            let filled = Rc::clone(&turns);
            tokio::task::spawn_local(async move { filled.run().await });
            tokio::task::spawn_local(chain::serve(calls, 0, Rc::clone(&turns)));
            let desk = Desk { worker: 0, chain: sender, turns };
            let peer = Peer {
                client: "192.0.2.1:5".parse().expect("an address"),
                local: "127.0.0.1:80".parse().expect("an address"),
                scheme: Scheme::HTTP,
            };
            let request = request.body(Full::new(Bytes::new())).expect("valid");
            let (head, body) = call(&self.site, request, &peer, &desk).await.into_parts();
            let body = body.collect().await.map(|body| String::from_utf8_lossy(&body.to_bytes()).into_owned());
            (head.status, head.headers, body.unwrap_or_else(|_| "broken off".to_owned()))
        })
    }

    fn get(&self, host: &str, path: &str) -> (u16, String) {
        let (status, _, body) = self.ask(Request::get(path).header("host", host));
        (status.as_u16(), body)
    }
}

fn fixed(text: &'static str) -> TargetSpec {
    TargetSpec::Respond(StaticResponse { status: StatusCode::OK, headers: HeaderMap::new(), body: text.into() })
}

#[test]
fn requests_reach_the_app_of_their_host_and_path() {
    let folder = tempfile::tempdir().expect("writable");
    std::fs::write(folder.path().join("a.txt"), "file").expect("writable");
    let site = Asked::new(
        vec![app("cgi", "cgi-echo"), app("hello", "component-hello")],
        vec![
            to_app("", "/cgi/...", "cgi"),
            to_app("shop.example", "GET /", "hello"),
            to("", "/...", fixed("default")),
            to("", "/files/...", TargetSpec::Files(crate::files::FilesSpec::new(folder.path().to_owned()))),
            to("", "/hidden/...", TargetSpec::NotFound),
        ],
    );
    assert_eq!(site.get("a", "/"), (200, "default".into()));
    assert_eq!(site.get("shop.example:8080", "/"), (200, "hello\n".into()));
    assert_eq!(site.get("a", "/files/a.txt"), (200, "file".into()));
    assert_eq!(site.get("a", "/hidden/x").0, 404);
    let (status, variables) = site.get("a", "/cgi/env?x=%20y");
    assert_eq!(status, 200);
    for line in [
        "SCRIPT_NAME=/cgi",
        "PATH_INFO=/env",
        "X_MATCHED_ROUTE=/cgi/...",
        "QUERY_STRING=x=%20y",
        "REMOTE_ADDR=192.0.2.1",
    ] {
        assert!(variables.lines().any(|found| found == line), "{line}: {variables}");
    }
}

#[test]
fn an_ambiguous_path_is_refused_before_it_is_routed() {
    let site =
        Asked::new(vec![app("cgi", "cgi-echo")], vec![to_app("", "/cgi/...", "cgi"), to("", "/...", fixed("all"))]);
    assert_eq!(site.get("a", "/x/../cgi/args").0, 200, "plain dots are followed");
    for path in ["/x/%2e%2e/cgi/args", "/../cgi", "/cgi/%00", "/cgi/a%2fb", "/%zz"] {
        assert_eq!(site.get("a", path).0, 400, "{path}");
    }
    assert_eq!(
        site.get("a", "/a%2fb"),
        (200, "all".into()),
        "an encoded slash is part of a segment where nobody decodes it"
    );
}

#[test]
fn a_local_redirect_is_routed_like_a_request() {
    let site = Asked::new(
        vec![app("cgi", "cgi-echo")],
        vec![to_app("", "/cgi/...", "cgi"), to("", "/env", fixed("elsewhere"))],
    );
    assert_eq!(site.get("a", "/cgi/local"), (200, "elsewhere".into()));
}

#[test]
fn methods_are_told_where_a_route_has_others() {
    let site = Asked::new(Vec::new(), vec![to("", "PUT,POST /form", fixed("form"))]);
    let (status, headers, _) = site.ask(Request::get("/form"));
    assert_eq!((status.as_u16(), headers["allow"].to_str().expect("ASCII")), (405, "POST, PUT"));
    assert_eq!(site.ask(Request::connect("a:1")).0, 405);
}

#[test]
fn what_keeps_a_site_from_being_served_is_reported_all_at_once() {
    let broken = App { limits: Limits { memory: 1, ..Limits::default() }, ..app("small", "cgi-echo") };
    let spec = SiteSpec {
        apps: vec![broken],
        routes: vec![
            to_app("", "/a", "small"),
            to_app("", "/b", "none"),
            to("", "/c", fixed("1")),
            to("", "/c", fixed("2")),
        ],
    };
    let process = Process::new(1, 1, Vec::new()).expect("a way to reset");
    let errors = Site::prepare(spec, &process, &CodeCache::disabled(), None).err().expect("refused").to_string();
    for part in ["app `small`", "the limit is 1", "`none`, which is not there", "routes `/c` and `/c`"] {
        assert!(errors.contains(part), "{part}: {errors}");
    }
}

#[test]
fn an_app_that_did_not_change_is_kept_by_the_next_site() {
    let process = Process::new(4, 1, Vec::new()).expect("a way to reset");
    let prepare = |timeout, previous: Option<&Site>| {
        let changed = App { limits: Limits { timeout, ..Limits::default() }, ..app("b", "cgi-hello") };
        let spec = SiteSpec { apps: vec![app("a", "cgi-hello"), changed], routes: Vec::new() };
        Site::prepare(spec, &process, &CodeCache::disabled(), previous).unwrap_or_else(|errors| panic!("{errors}"))
    };
    let seconds = std::time::Duration::from_secs;
    let first = prepare(seconds(1), None);
    let second = prepare(seconds(2), Some(&first));
    let is_kept = |name| {
        let [before, after] = [&first, &second].map(|site| &site.member(name).expect("there").app);
        Arc::ptr_eq(before, after)
    };
    assert_eq!((is_kept("a"), is_kept("b")), (true, false));
}

fn chained(allow: &str) -> Asked {
    let outbound = OutboundPolicy { allow: vec![allow.parse().expect("a pattern")], ..OutboundPolicy::default() };
    let front = App { injected: Injected::Spin, outbound: outbound.into(), ..app("front", "component-hello") };
    let back = App { injected: Injected::Spin, ..app("back", "cgi-echo") };
    // An app is called by name, whether a route leads to it or not.
    Asked::new(vec![front, back], vec![to_app("", "/...", "front")])
}

#[test]
fn an_app_calls_another_by_name() {
    let site = chained("http://*.spin.internal");
    let (status, variables) = site.get("a", "/fetch?url=http://back.spin.internal/env");
    assert_eq!(status, 200, "{variables}");
    for line in ["PATH_INFO=/env", "HTTP_HOST=back.spin.internal", "HTTP_SPIN_PATH_INFO=/env"] {
        assert!(variables.lines().any(|found| found == line), "{line}: {variables}");
    }
    assert_ne!(site.get("a", "/fetch?url=http://none.spin.internal/").0, 200);
}

#[test]
fn calls_of_other_apps_need_permission_and_end() {
    let denied = chained("http://other.spin.internal");
    assert_ne!(denied.get("a", "/fetch?url=http://back.spin.internal/env").0, 200);
    let site = chained("http://*.spin.internal");
    // `front` calls itself through its own `/fetch`.
    let nested = |depth: usize| {
        let mut url = "http://back.spin.internal/env".to_owned();
        for _ in 1..depth {
            let encoded: String = url.bytes().map(|byte| format!("%{byte:02X}")).collect();
            url = format!("http://front.spin.internal/fetch?url={encoded}");
        }
        site.get("a", &format!("/fetch?url={url}"))
    };
    assert_eq!(nested(3).0, 200);
    // A request that has come through eight apps goes no further.
    let peer = Peer { client: ([192, 0, 2, 1], 5).into(), local: ([127, 0, 0, 1], 80).into(), scheme: Scheme::HTTP };
    let chain = Chain::new(Arc::clone(&site.site), peer, 8, mpsc::unbounded_channel().0);
    let request = Request::new(RequestBody::empty());
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let refused = runtime.block_on(chain.call("back", request)).err().expect("a loop");
    assert!(matches!(refused, chain::ChainError::Loop), "{refused}");
}
