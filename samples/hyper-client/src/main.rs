//! A client on `hyper_wasi` 0.15 and `tokio_wasi`, whose connection is a task of its own.
//!
//! It exists as the layer below `reqwest`: a connection which the program makes itself, two requests on it, and a body
//! that arrives in pieces.
//!
//! `hyper-client IP:PORT [BODY]` gets `/`, then posts BODY (default `hello`) to `/echo`, on one connection. It prints each
//! status code on a line of its own, then the body. A failure is a line on stderr and exit code 1.

use std::env;
use std::process::ExitCode;

use hyper::client::conn::{SendRequest, handshake};
use hyper::{Body, Request};
use tokio::net::TcpStream;

type Error = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    let Some(address) = arguments.next() else {
        eprintln!("usage: hyper-client IP:PORT [BODY]");
        return ExitCode::FAILURE;
    };
    let body = arguments.next().unwrap_or_else(|| "hello".to_owned());
    match exchange(&address, body).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hyper-client: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn exchange(address: &str, body: String) -> Result<(), Error> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = handshake(stream).await?;
    let connection = tokio::spawn(connection);
    show(&mut sender, Request::get("/").header("Host", address).body(Body::empty())?).await?;
    show(&mut sender, Request::post("/echo").header("Host", address).body(Body::from(body))?).await?;
    drop(sender);
    Ok(connection.await??)
}

async fn show(sender: &mut SendRequest<Body>, request: Request<Body>) -> Result<(), Error> {
    let response = sender.send_request(request).await?;
    println!("{}", response.status().as_u16());
    let body = hyper::body::to_bytes(response.into_body()).await?;
    println!("{}", String::from_utf8_lossy(&body));
    Ok(())
}
