//! A CGI program that shows what it was given, and answers in the ways CGI allows.
//!
//! It exists to test the gateway's CGI side: meta-variables, streaming both ways, `Status`, `Location`, files.
//!
//! | Path | Answer |
//! |---|---|
//! | `GET /env` | all environment variables, sorted, one `NAME=value` per line |
//! | `POST /echo` | the body, streamed |
//! | `/args` | the arguments, one per line |
//! | `/status?CODE` | that status |
//! | `/stream` | five lines, each flushed, 20 ms apart |
//! | `/redirect` | a redirect the client has to follow |
//! | `/local` | a redirect the server has to follow |
//! | `/file` | what is in `/data/hello.txt` |

use std::io::{self, Read, Write};
use std::time::Duration;
use std::{env, fs, thread};

fn main() -> io::Result<()> {
    let path = variable("PATH_INFO");
    let method = variable("REQUEST_METHOD");
    let mut stdout = io::stdout().lock();

    match (method.as_str(), path.as_str()) {
        ("GET" | "HEAD", "/env") => environment(&mut stdout),
        ("POST", "/echo") => echo(&mut stdout),
        (_, "/echo") => fail(&mut stdout, "405 Method Not Allowed", "POST something\n"),
        (_, "/args") => arguments(&mut stdout),
        (_, "/status") => status(&mut stdout, &variable("QUERY_STRING")),
        (_, "/stream") => stream(&mut stdout),
        (_, "/redirect") => stdout.write_all(b"Location: https://example.com/\n\n"),
        (_, "/local") => stdout.write_all(b"Location: /env\n\n"),
        (_, "/file") => file(&mut stdout),
        _ => fail(&mut stdout, "404 Not Found", "not found\n"),
    }?;
    stdout.flush()
}

/// CGI has a variable unset where HTTP has nothing to say, so a missing one is empty here.
fn variable(name: &str) -> String {
    env::var_os(name).map(|value| value.to_string_lossy().into_owned()).unwrap_or_default()
}

fn environment(stdout: &mut impl Write) -> io::Result<()> {
    let mut variables: Vec<_> = env::vars_os().collect();
    variables.sort();
    stdout.write_all(b"Content-Type: text/plain\n\n")?;
    for (name, value) in variables {
        writeln!(stdout, "{}={}", name.to_string_lossy(), value.to_string_lossy())?;
    }
    Ok(())
}

fn echo(stdout: &mut impl Write) -> io::Result<()> {
    let kind = match variable("CONTENT_TYPE") {
        kind if kind.is_empty() => "application/octet-stream".to_owned(),
        kind => kind,
    };
    write!(stdout, "Content-Type: {kind}\n\n")?;
    stdout.flush()?;

    let mut stdin = io::stdin().lock();
    let mut piece = vec![0; 16 * 1024];
    loop {
        let length = stdin.read(&mut piece)?;
        if length == 0 {
            return Ok(());
        }
        stdout.write_all(&piece[..length])?;
        // Or the line buffer would keep a piece back which the client may be waiting for.
        stdout.flush()?;
    }
}

fn arguments(stdout: &mut impl Write) -> io::Result<()> {
    stdout.write_all(b"Content-Type: text/plain\n\n")?;
    for argument in env::args_os() {
        writeln!(stdout, "{}", argument.to_string_lossy())?;
    }
    Ok(())
}

fn status(stdout: &mut impl Write, query: &str) -> io::Result<()> {
    match query {
        "404" => fail(stdout, "404 Not Found", "not found\n"),
        "503" => fail(stdout, "503 Service Unavailable", "not now\n"),
        // No phrase of our own for the rest: a server has to cope with a bare code, too.
        code => match code.parse::<u16>() {
            Ok(code @ 100..=999) => fail(stdout, &code.to_string(), ""),
            _ => fail(stdout, "400 Bad Request", "ask for /status?CODE\n"),
        },
    }
}

fn stream(stdout: &mut impl Write) -> io::Result<()> {
    stdout.write_all(b"Content-Type: text/plain\n\n")?;
    for line in 1..=5 {
        if line > 1 {
            thread::sleep(Duration::from_millis(20));
        }
        writeln!(stdout, "line {line}")?;
        stdout.flush()?;
    }
    Ok(())
}

fn file(stdout: &mut impl Write) -> io::Result<()> {
    match fs::read("/data/hello.txt") {
        Ok(content) => {
            stdout.write_all(b"Content-Type: text/plain\n\n")?;
            stdout.write_all(&content)
        }
        Err(error) => fail(stdout, "500 Internal Server Error", &format!("/data/hello.txt: {error}\n")),
    }
}

fn fail(stdout: &mut impl Write, status: &str, body: &str) -> io::Result<()> {
    write!(stdout, "Status: {status}\nContent-Type: text/plain\n\n{body}")
}
