//! A program with a random generator of its own, which it seeds when it starts.
//!
//! It exists to be refused: in a snapshot every instance would go on from the same state and give the same numbers.
//! Nothing can put that right from outside, as nobody but the program knows what the state is. It keeps its names, so
//! that a refusal can tell where the random bytes went: `seed_generator`.
//!
//! A CGI program. Whatever is asked, it answers ten numbers, one a line, which are others each time.

use std::io::{self, Write};
use std::sync::Mutex;

/// The state of the generator.
static GENERATOR: Mutex<Generator> = Mutex::new(Generator(1));

fn main() -> io::Result<()> {
    seed_generator();
    // The first effect: what is frozen before it has the state, and no number of it yet.
    let mut stdout = io::stdout().lock();
    stdout.write_all(b"Content-Type: text/plain\n\n")?;
    stdout.flush()?;

    for _ in 0..10 {
        writeln!(stdout, "{}", with_generator(Generator::next))?;
    }
    stdout.flush()
}

/// Takes the seed from the system. A function by itself, to be seen in a backtrace.
#[inline(never)]
fn seed_generator() {
    let seed = getrandom::u64().expect("the system has random bytes");
    with_generator(|generator| *generator = Generator::new(seed));
}

fn with_generator<T>(use_it: impl FnOnce(&mut Generator) -> T) -> T {
    use_it(&mut GENERATOR.lock().expect("no other thread is there to panic"))
}

/// Marsaglia's xorshift with 64 bits: fast, and of no use for secrets.
struct Generator(u64);

impl Generator {
    fn new(seed: u64) -> Self {
        // From 0 it would not come away.
        Self(seed.max(1))
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}
