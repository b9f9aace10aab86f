//! A program which reads its surroundings when it starts: two variables and a file.
//!
//! It exists to show what becomes of them in a snapshot: what a program has read is part of its memory, and so is the C
//! library's copy of all variables, from which later reads are answered. A secret which was at hand during the build
//! would be in the file. It keeps its names, so that a finding can tell whose memory it is in.
//!
//! The reading is done either by `main` or by the exported `read-surroundings`, which is called so that a snapshot tool
//! does not take it for an init function by itself. The variables are read before the file: opening it is the program's
//! first effect, writing comes after.
//!
//! A CGI program. Whatever is asked, it answers what it read at the start, and the variables as they are now; what is
//! missing is empty:
//!
//! ```text
//! MODE at-start=strict now=strict
//! API_TOKEN at-start=abc now=abc
//! /data/secret.txt at-start=what is in the file
//! ```

use std::io::{self, Write};
use std::sync::OnceLock;
use std::{env, fs};

const MODE: &str = "MODE";
const TOKEN: &str = "API_TOKEN";
const SECRET: &str = "/data/secret.txt";

static AT_START: OnceLock<Surroundings> = OnceLock::new();

/// What was there at the start.
struct Surroundings {
    mode: String,
    token: String,
    secret: String,
}

// SAFETY: no other symbol here, nor in the libraries linked, has this name.
#[unsafe(export_name = "read-surroundings")]
extern "C" fn initialize() {
    AT_START.get_or_init(Surroundings::read);
}

fn main() -> io::Result<()> {
    let Surroundings { mode, token, secret } = AT_START.get_or_init(Surroundings::read);
    let mut stdout = io::stdout().lock();
    stdout.write_all(b"Content-Type: text/plain\n\n")?;
    stdout.flush()?;

    writeln!(stdout, "{MODE} at-start={mode} now={}", variable(MODE))?;
    writeln!(stdout, "{TOKEN} at-start={token} now={}", variable(TOKEN))?;
    writeln!(stdout, "{SECRET} at-start={}", secret.trim_end())?;
    stdout.flush()
}

impl Surroundings {
    #[inline(never)]
    fn read() -> Self {
        let (mode, token) = (variable(MODE), variable(TOKEN));
        // Without the file the variables are still of interest.
        let secret = fs::read_to_string(SECRET).unwrap_or_default();
        Self { mode, token, secret }
    }
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_default()
}
