//! A `wasi:http` 0.2 component that fails in many ways, to test the gateway's limits.
//!
//! | Path | Answer |
//! |---|---|
//! | `/trap`, `/exit` | none: it traps, or ends itself |
//! | `/error` | none: it reports an internal error |
//! | `/loop` | none: it computes for ever |
//! | `/silence` | none: it returns without one |
//! | `/alloc` | none: it asks for more and more memory |
//! | `/partial` | a body that breaks off |
//! | `/flood` | a body without end |
//! | `/log` | hello, after a long line on standard error |
//! | any other | hello |

use std::io::Write;

use wasi::exports::http::incoming_handler::Guest;
use wasi::http::types::{ErrorCode, Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};
use wasi::io::streams::OutputStream;

struct Misbehave;

wasi::http::proxy::export!(Misbehave);

impl Guest for Misbehave {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        match path.as_str() {
            "/trap" => core::arch::wasm32::unreachable(),
            "/exit" => std::process::exit(3),
            "/error" => ResponseOutparam::set(out, Err(ErrorCode::InternalError(Some("as asked".to_owned())))),
            "/loop" => compute(),
            "/silence" => {}
            "/alloc" => allocate(),
            "/partial" => {
                let body = start(out);
                write(&mut stream(&body), b"the beginning");
                core::arch::wasm32::unreachable();
            }
            "/flood" => {
                let body = start(out);
                let mut stream = stream(&body);
                loop {
                    write(&mut stream, &[b'x'; 64 * 1024]);
                }
            }
            "/log" => {
                eprintln!("{}", "x".repeat(1 << 20));
                hello(out);
            }
            _ => hello(out),
        }
    }
}

fn hello(out: ResponseOutparam) {
    let body = start(out);
    let mut stream = stream(&body);
    write(&mut stream, b"hello\n");
    // A stream is a child of its body and has to go first.
    drop(stream);
    OutgoingBody::finish(body, None).expect("all that was announced is written");
}

/// Sends the head, and returns the body to write.
fn start(out: ResponseOutparam) -> OutgoingBody {
    let response = OutgoingResponse::new(Fields::new());
    let body = response.body().expect("the first body asked for");
    ResponseOutparam::set(out, Ok(response));
    body
}

fn stream(body: &OutgoingBody) -> OutputStream {
    body.write().expect("the first stream asked for")
}

fn write(stream: &mut OutputStream, bytes: &[u8]) {
    stream.write_all(bytes).expect("somebody reads");
    stream.blocking_flush().expect("somebody reads");
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
