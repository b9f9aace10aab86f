//! A client on `http_req_wasi` 0.11.1, whose `https` goes through WasmEdge's TLS codec (`rustls_client`).
//!
//! It exists because WasmEdge removed the codec in 0.14.1, and programs built on it have had no host since. The guest
//! moves the encrypted bytes over a socket of its own; ten of the codec's eleven functions are imported.
//!
//! `tls-client URL` prints the status code on a line of its own, then the body. A failure is a line on stderr and exit
//! code 1.

use std::env;
use std::error::Error as _;
use std::io::{self, Write};
use std::process::ExitCode;

use http_req::error::Error;
use http_req::request;

fn main() -> ExitCode {
    let Some(url) = env::args().nth(1) else {
        eprintln!("usage: tls-client URL");
        return ExitCode::FAILURE;
    };

    match fetch(&url) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprint!("tls-client: `{url}`: {error}");
            // The library's own text for a socket's error is "IO error"; what happened is in the cause.
            match error.source() {
                Some(cause) => eprintln!(": {cause}"),
                None => eprintln!(),
            }
            ExitCode::FAILURE
        }
    }
}

fn fetch(url: &str) -> Result<(), Error> {
    let mut received = Vec::new();
    let response = request::get(url, &mut received)?;

    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{}", u16::from(response.status_code()))?;
    stdout.write_all(&received)?;
    stdout.flush()?;
    Ok(())
}
