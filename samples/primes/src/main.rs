//! A command which is slow to start: it sieves two million numbers before it reads anything.
//!
//! It exists to be frozen before its first effect: it exports no init function, and needs nothing beyond standard WASI,
//! so that the snapshot runs on every host.
//!
//! Reads numbers, one a line, and tells of each whether it is prime:
//!
//! ```text
//! 1999993
//! 1999993 is prime
//! 1999994
//! 1999994 is composite
//! ```
//!
//! The largest number it knows is 1,999,999. It answers at the end of its input, and exits with 1 if a line was no such
//! number.

use std::io::{self, Write};
use std::process::ExitCode;

const LIMIT: usize = 2_000_000;

fn main() -> io::Result<ExitCode> {
    let sieve = Sieve::new();
    let input = io::read_to_string(io::stdin())?;
    let mut answers = String::new();
    let mut code = ExitCode::SUCCESS;
    for line in input.lines() {
        let answer = match line.trim().parse() {
            Ok(number) if number < LIMIT => sieve.describe(number),
            _ => {
                code = ExitCode::FAILURE;
                "unknown"
            }
        };
        answers.push_str(&format!("{line} is {answer}\n"));
    }
    io::stdout().write_all(answers.as_bytes())?;
    Ok(code)
}

/// One bit per number: set if it has a divisor.
struct Sieve(Vec<u64>);

impl Sieve {
    fn new() -> Self {
        let mut sieve = Self(vec![0; LIMIT.div_ceil(64)]);
        for number in (2..).take_while(|number| number * number < LIMIT) {
            if !sieve.is_marked(number) {
                for multiple in (number * number..LIMIT).step_by(number) {
                    sieve.0[multiple / 64] |= 1 << (multiple % 64);
                }
            }
        }
        sieve
    }

    fn is_marked(&self, number: usize) -> bool {
        self.0[number / 64] >> (number % 64) & 1 == 1
    }

    fn describe(&self, number: usize) -> &'static str {
        match number {
            0 | 1 => "neither",
            _ if self.is_marked(number) => "composite",
            _ => "prime",
        }
    }
}
