//! A client on `reqwest_wasi` 0.11 and `tokio_wasi`: name lookup, a pool of connections, streamed answers.
//!
//! It exists because it is how WasmEdge programs with a runtime call HTTP services.
//!
//! `reqwest-client URL [BODY]` gets URL twice, or posts BODY to it once, and prints each status code on a line of its
//! own, then the body. A failure is a line on stderr and exit code 1.

use std::env;
use std::error::Error;
use std::process::ExitCode;

use reqwest::{Client, RequestBuilder};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    let Some(url) = arguments.next() else {
        eprintln!("usage: reqwest-client URL [BODY]");
        return ExitCode::FAILURE;
    };
    match exchange(&url, arguments.next()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprint!("reqwest-client: {error}");
            let mut source = error.source();
            while let Some(cause) = source {
                eprint!(": {cause}");
                source = cause.source();
            }
            eprintln!();
            ExitCode::FAILURE
        }
    }
}

async fn exchange(url: &str, body: Option<String>) -> reqwest::Result<()> {
    let client = Client::new();
    match body {
        Some(body) => show(client.post(url).body(body)).await,
        None => {
            show(client.get(url)).await?;
            show(client.get(url)).await
        }
    }
}

async fn show(request: RequestBuilder) -> reqwest::Result<()> {
    let response = request.send().await?;
    println!("{}", response.status().as_u16());
    println!("{}", response.text().await?);
    Ok(())
}
