//! A `wasi:http` 0.3 component: hello, streams both ways, outgoing requests, and ways to fail.
//!
//! It exists to test serving of such components, and the gateway's limits on them.
//!
//! | Path | Answer |
//! |---|---|
//! | `GET /` | hello |
//! | `POST /echo` | the body, as it comes, with its trailers |
//! | `GET /count` | how many requests this instance has served, this one included |
//! | `GET /fetch?HOST` | what `http://HOST/` answers |
//! | `/trap`, `/exit` | none: it traps, or ends itself |
//! | `/error` | none: it reports an internal error |
//! | `/loop` | none: it computes for ever |
//! | `/silence` | none: it waits for ever |
//! | `/alloc` | none: it asks for more and more memory |
//! | `/partial` | a body that breaks off |
//! | `/flood` | a body without end |
//! | `/log` | hello, after a long line on standard error |

use std::cell::Cell;

use wasip3::{
    http::{
        client,
        types::{ErrorCode, Fields, Method, Request, Response, Scheme, Trailers},
    },
    wit_bindgen::{self, FutureReader, StreamReader},
    wit_future, wit_stream,
};

wasip3::http::service::export!(Component);

struct Component;

thread_local! {
    static SERVED: Cell<u32> = const { Cell::new(0) };
}

type End = Result<Option<Trailers>, ErrorCode>;

impl wasip3::exports::http::handler::Guest for Component {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        SERVED.set(SERVED.get() + 1);
        let target = request.get_path_with_query().unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        match (request.get_method(), path) {
            (Method::Get | Method::Head, "/") => Ok(text(200, "hello\n")),
            (Method::Post, "/echo") => Ok(echo(request)),
            (Method::Get, "/count") => Ok(text(200, &format!("{}\n", SERVED.get()))),
            (Method::Get, "/fetch") => fetch(query).await,
            (_, "/trap") => core::arch::wasm32::unreachable(),
            (_, "/exit") => std::process::exit(3),
            (_, "/error") => Err(ErrorCode::InternalError(Some("as asked".to_owned()))),
            (_, "/loop") => compute(),
            (_, "/silence") => std::future::pending().await,
            (_, "/alloc") => allocate(),
            (_, "/partial") => Ok(partial()),
            (_, "/flood") => Ok(flood()),
            (_, "/log") => {
                eprintln!("{}", "x".repeat(1 << 20));
                Ok(text(200, "hello\n"))
            }
            _ => Ok(text(404, "not found\n")),
        }
    }
}

fn text(status: u16, text: &str) -> Response {
    let (mut sender, body) = wit_stream::new();
    let bytes = text.as_bytes().to_vec();
    wit_bindgen::spawn_local(async move {
        sender.write_all(bytes).await;
    });
    answer(status, body, no_trailers())
}

fn no_trailers() -> FutureReader<End> {
    // Dropped unwritten, the other end gets this.
    wit_future::new(|| Ok(None)).1
}

fn answer(status: u16, body: StreamReader<u8>, end: FutureReader<End>) -> Response {
    let fields = Fields::new();
    fields.append("content-type", b"text/plain").expect("a valid field");
    let (response, _sent) = Response::new(fields, Some(body), end);
    response.set_status_code(status).expect("a valid status");
    response
}

fn echo(request: Request) -> Response {
    let (body, trailers) = Request::consume_body(request, wit_future::new(|| Ok(())).1);
    answer(200, body, trailers)
}

async fn fetch(host: &str) -> Result<Response, ErrorCode> {
    let (request, _sent) = Request::new(Fields::new(), None, no_trailers(), None);
    request.set_scheme(Some(&Scheme::Http)).expect("a scheme");
    request.set_authority(Some(host)).map_err(|()| ErrorCode::HttpRequestUriInvalid)?;
    let response = client::send(request).await?;
    let status = response.get_status_code();
    let (body, trailers) = Response::consume_body(response, wit_future::new(|| Ok(())).1);
    Ok(answer(status, body, trailers))
}

fn compute() -> ! {
    let mut i = 0u64;
    loop {
        i = std::hint::black_box(i + 1);
    }
}

fn allocate() -> ! {
    let mut all = Vec::new();
    loop {
        all.push(vec![1u8; 1 << 20]);
    }
}

fn partial() -> Response {
    let (mut sender, body) = wit_stream::new();
    wit_bindgen::spawn_local(async move {
        sender.write_all(b"the beginning".to_vec()).await;
        core::arch::wasm32::unreachable();
    });
    answer(200, body, no_trailers())
}

fn flood() -> Response {
    let (mut sender, body) = wit_stream::new();
    wit_bindgen::spawn_local(async move {
        // Until the other end is gone.
        while sender.write_all(vec![b'x'; 64 * 1024]).await.is_empty() {}
    });
    answer(200, body, no_trailers())
}
