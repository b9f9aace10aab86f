//! What is served of a folder, and what is not.

use std::{fs, path::Path, sync::LazyLock};

use http::{Request, request::Builder};
use http_body_util::BodyExt as _;
use proptest::prelude::*;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::*;
use crate::target;

/// A folder `public`, and a secret beside it.
fn site() -> (TempDir, StaticFiles) {
    let folder = tempfile::tempdir().expect("writable");
    let write = |name: &str, content: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("writable");
        fs::write(path, content).expect("writable");
    };
    write("secret", "SECRET");
    write("public/index.html", "home");
    write("public/a.txt", "0123456789");
    write("public/sub/index.html", "sub");
    write("public/empty/.keep", "hidden");
    write("public/.env", "SECRET");
    write("public/.well-known/x", "known");
    write("public/with space.css", "css");
    let files = open(folder.path());
    (folder, files)
}

fn open(folder: &Path) -> StaticFiles {
    let spec = FilesSpec { cache_control: Some("max-age=60".into()), ..FilesSpec::new(folder.join("public")) };
    StaticFiles::open(&spec).expect("a folder")
}

async fn ask(files: &StaticFiles, request: Builder) -> (StatusCode, http::HeaderMap, Result<String, ()>) {
    let mut head = request.body(()).expect("valid").into_parts().0;
    if target::normalize(&mut head).is_err() {
        return (StatusCode::BAD_REQUEST, http::HeaderMap::new(), Ok(String::new()));
    }
    let path = head.uri.path().to_owned();
    let response = files.respond(&head, &path).await.unwrap_or_else(|failure| failure.response());
    let (head, body) = response.into_parts();
    let body = body.collect().await.map_err(drop);
    (head.status, head.headers, body.map(|body| String::from_utf8_lossy(&body.to_bytes()).into_owned()))
}

async fn get(files: &StaticFiles, path: &str) -> (u16, String) {
    let (status, _, body) = ask(files, Request::get(path)).await;
    (status.as_u16(), body.expect("whole"))
}

#[tokio::test]
async fn files_and_folders_are_answered() {
    let (_folder, files) = site();
    assert_eq!(get(&files, "/").await, (200, "home".into()));
    assert_eq!(get(&files, "/a.txt").await, (200, "0123456789".into()));
    assert_eq!(get(&files, "/sub/").await, (200, "sub".into()));
    assert_eq!(get(&files, "/with%20space.css").await, (200, "css".into()));
    assert_eq!(get(&files, "/.well-known/x").await, (200, "known".into()));
    assert_eq!(get(&files, "/sub/../a.txt").await, (200, "0123456789".into()));
    for path in
        ["/none", "/empty/", "/a.txt/", "/a.txt/x", "/.env", "/%2eenv", "/empty/.keep", "//a.txt", "/sub//index.html"]
    {
        assert_eq!(get(&files, path).await.0, 404, "{path}");
    }
    let (status, headers, _) = ask(&files, Request::get("/a.txt")).await;
    assert_eq!(status, 200);
    assert_eq!(headers["content-type"], "text/plain; charset=utf-8");
    assert_eq!(headers["cache-control"], "max-age=60");
    assert_eq!(headers["x-content-type-options"], "nosniff");
    let (status, headers, body) = ask(&files, Request::head("/a.txt")).await;
    assert_eq!((status.as_u16(), body), (200, Ok(String::new())));
    assert_eq!(headers["content-length"], "10");
    let (status, headers, _) = ask(&files, Request::post("/a.txt")).await;
    assert_eq!(status, 405);
    assert_eq!(headers["allow"], "GET, HEAD");
}

#[tokio::test]
async fn a_folder_without_a_slash_is_redirected_to_itself() {
    let (_folder, files) = site();
    let head = Request::get("/static").body(()).expect("valid").into_parts().0;
    let root = files.respond(&head, "").await.expect("an answer");
    assert_eq!((root.status().as_u16(), &root.headers()["location"]), (308, &HeaderValue::from_static("/static/")));
    let (status, headers, _) = ask(&files, Request::get("/sub?x=1")).await;
    assert_eq!(status, 308);
    assert_eq!(headers["location"], "/sub/?x=1");
}

#[tokio::test]
async fn what_a_client_knows_is_not_sent_again() {
    let (folder, files) = site();
    let (_, headers, _) = ask(&files, Request::get("/a.txt")).await;
    let tag = headers["etag"].clone();
    let (status, _, body) = ask(&files, Request::get("/a.txt").header("if-none-match", &tag)).await;
    assert_eq!((status.as_u16(), body), (304, Ok(String::new())));
    let modified = headers["last-modified"].clone();
    assert_eq!(ask(&files, Request::get("/a.txt").header("if-modified-since", &modified)).await.0, 304);
    let both = Request::get("/a.txt").header("if-none-match", "\"other\"").header("if-modified-since", &modified);
    assert_eq!(ask(&files, both).await.0, 200, "the tag counts");
    fs::write(folder.path().join("public/a.txt"), "changed now").expect("writable");
    assert_eq!(ask(&files, Request::get("/a.txt").header("if-none-match", &tag)).await.0, 200);
    let partial = Request::get("/a.txt").header("range", "bytes=0-1").header("if-range", &tag);
    assert_eq!(ask(&files, partial).await.0, 200, "the part would be one of another file");
}

#[tokio::test]
async fn parts_are_sent_on_request() {
    let (_folder, files) = site();
    for (range, status, content_range, body) in [
        ("bytes=0-3", 206, "bytes 0-3/10", "0123"),
        ("bytes=7-", 206, "bytes 7-9/10", "789"),
        ("bytes=-2", 206, "bytes 8-9/10", "89"),
        ("bytes=-100", 206, "bytes 0-9/10", "0123456789"),
        ("bytes=5-100", 206, "bytes 5-9/10", "56789"),
        ("bytes=10-", 416, "bytes */10", ""),
        ("bytes=0-1,4-5", 200, "", "0123456789"),
        ("lines=1-2", 200, "", "0123456789"),
        ("bytes=3-2", 416, "bytes */10", ""),
    ] {
        let (found, headers, text) = ask(&files, Request::get("/a.txt").header("range", range)).await;
        assert_eq!((found.as_u16(), text), (status, Ok(body.to_owned())), "{range}");
        let told = headers.get("content-range").map_or("", |value| value.to_str().expect("ASCII"));
        assert_eq!(told, content_range, "{range}");
    }
}

#[tokio::test]
async fn a_single_page_application_answers_for_all_paths() {
    let (folder, _) = site();
    let spec = FilesSpec { fallback: Some("index.html".into()), ..FilesSpec::new(folder.path().join("public")) };
    let files = StaticFiles::open(&spec).expect("a folder");
    assert_eq!(get(&files, "/users/7").await, (200, "home".into()));
    assert_eq!(get(&files, "/a.txt").await, (200, "0123456789".into()));
}

#[cfg(unix)]
#[tokio::test]
async fn links_that_leave_and_things_that_are_no_files_are_not_there() {
    use std::os::unix::fs::symlink;

    let (folder, files) = site();
    let public = folder.path().join("public");
    symlink("../secret", public.join("out")).expect("writable");
    symlink(folder.path().join("secret"), public.join("absolute")).expect("writable");
    symlink("..", public.join("up")).expect("writable");
    symlink("a.txt", public.join("inside")).expect("writable");
    rustix::fs::mknodat(rustix::fs::CWD, public.join("pipe"), rustix::fs::FileType::Fifo, 0o600.into(), 0)
        .expect("a pipe");
    for path in ["/out", "/absolute", "/up/secret", "/up/", "/pipe"] {
        assert_eq!(get(&files, path).await.0, 404, "{path}");
    }
    assert_eq!(get(&files, "/inside").await, (200, "0123456789".into()));
}

#[tokio::test]
async fn a_file_that_shrinks_breaks_its_answer_off() {
    let (folder, files) = site();
    let path = folder.path().join("public/large");
    fs::write(&path, vec![b'x'; 1 << 20]).expect("writable");
    let head = Request::get("/large").body(()).expect("valid").into_parts().0;
    let mut body = files.respond(&head, "/large").await.expect("there").into_body();
    assert!(body.frame().await.expect("a piece").is_ok());
    fs::write(&path, "short").expect("writable");
    let rest = body.collect().await;
    assert!(rest.is_err(), "a short answer must not pass for the whole file");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]
    #[test]
    fn no_path_leads_to_the_secret(path in "/([a-c./\\\\%2eEfF5cC0]|secret|public|%2e|%2f|\\.\\.){0,12}") {
        static SITE: LazyLock<(TempDir, StaticFiles, Runtime)> = LazyLock::new(|| {
            let (folder, files) = site();
            (folder, files, tokio::runtime::Builder::new_current_thread().build().expect("a runtime"))
        });
        let (_, files, runtime) = &*SITE;
        if path.parse::<http::Uri>().is_ok() {
            let (_, body) = runtime.block_on(get(files, &path));
            prop_assert!(!body.contains("SECRET"), "{}", path);
        }
    }
}
