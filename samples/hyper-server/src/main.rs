//! An HTTP server as people write them for WasmEdge with `hyper` and `tokio`: one task per connection on a
//! current-thread runtime, address fixed in the source, nothing read from the environment.
//!
//! It exists because it is the program prewasm promises to run, freeze and port without a change: non-blocking sockets,
//! `poll_oneoff`, keep-alive, streamed bodies, and a scheduler that is alive while the program waits in `accept`.
//!
//! `GET /` says what to do, `POST /echo` streams the body back, `POST /echo/reversed` answers it back to front.

use hyper::server::conn::Http;
use hyper::service::service_fn;
use hyper::{Body, Method, Request, Response, StatusCode};
use tokio::net::{TcpListener, TcpStream};

type Error = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let listener = TcpListener::bind("0.0.0.0:8080").await?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::task::spawn(serve(stream));
    }
}

async fn serve(stream: TcpStream) {
    if let Err(error) = Http::new().serve_connection(stream, service_fn(answer)).await {
        eprintln!("connection ended early: {error}");
    }
}

async fn answer(request: Request<Body>) -> Result<Response<Body>, hyper::Error> {
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/") => Ok(Response::new(Body::from("POST something to /echo\n"))),
        // Not collected: the first bytes go back while the client still sends the last ones.
        (&Method::POST, "/echo") => Ok(Response::new(request.into_body())),
        (&Method::POST, "/echo/reversed") => {
            let body = hyper::body::to_bytes(request.into_body()).await?;
            let reversed: Vec<u8> = body.iter().rev().copied().collect();
            Ok(Response::new(Body::from(reversed)))
        }
        _ => {
            let mut response = Response::new(Body::from("not found\n"));
            *response.status_mut() = StatusCode::NOT_FOUND;
            Ok(response)
        }
    }
}
