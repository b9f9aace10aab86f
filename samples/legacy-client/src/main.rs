//! A client on `wasmedge_http_req` 0.8.1, from the time of WasmEdge 0.9: its numbers for address family and socket type
//! are one lower than today's, it looks at no error of a socket call, and hosts must be given as IP addresses.
//!
//! It exists because such programs are out there, and because a host has to stay calm when one goes on with a socket that
//! it never got.
//!
//! `legacy-client URL` prints the status code on a line of its own, then the body. A failure is a line on stderr and exit
//! code 1.

use std::env;
use std::error::Error as _;
use std::io::{self, Write};
use std::process::ExitCode;

use wasmedge_http_req::error::Error;
use wasmedge_http_req::request;

fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    let url = arguments.next().unwrap_or_else(|| "http://127.0.0.1:8000/".to_owned());
    let body = arguments.next();

    match exchange(&url, body.as_deref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprint!("legacy-client: `{url}`: {error}");
            // The library's own text for a socket's error is "IO error"; what happened is in the cause.
            match error.source() {
                Some(cause) => eprintln!(": {cause}"),
                None => eprintln!(),
            }
            ExitCode::FAILURE
        }
    }
}

fn exchange(url: &str, body: Option<&str>) -> Result<(), Error> {
    let mut received = Vec::new();
    let response = match body {
        None => request::get(url, &mut received)?,
        Some(body) => request::post(url, body.as_bytes(), &mut received)?,
    };

    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{}", u16::from(response.status_code()))?;
    stdout.write_all(&received)?;
    stdout.flush()?;
    Ok(())
}
