//! Hash maps made before and after a snapshot.
//!
//! It exists to show two things at once: a map which was filled before the snapshot still finds what is in it, as it
//! keeps the keys of its time; and a map made afterwards has keys of its own, which nobody who knows the snapshot can
//! tell. The old map is filled either by the exported `wizer-initialize` or by `main`.
//!
//! A CGI program. Whatever is asked, it answers three lines:
//!
//! ```text
//! old 71 12 40 …      the numbers 0 to 99 in the order of the old map
//! new 5 88 23 …       the same in the order of a map made after the first write
//! found 100           how many of them the old map finds
//! ```

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::OnceLock;

type Squares = HashMap<u32, u32>;

const ENTRIES: u32 = 100;

static OLD: OnceLock<Squares> = OnceLock::new();

// SAFETY: no other symbol here, nor in the libraries linked, has this name.
#[unsafe(export_name = "wizer-initialize")]
extern "C" fn initialize() {
    OLD.get_or_init(squares);
}

fn main() -> io::Result<()> {
    let old = OLD.get_or_init(squares);
    // The first effect: what is frozen before it has the old map only.
    let mut stdout = io::stdout().lock();
    stdout.write_all(b"Content-Type: text/plain\n\n")?;
    stdout.flush()?;

    let new = squares();
    writeln!(stdout, "old {}", order(old))?;
    writeln!(stdout, "new {}", order(&new))?;
    let found = (0..ENTRIES).filter(|number| old.get(number) == Some(&(number * number))).count();
    writeln!(stdout, "found {found}")?;
    stdout.flush()
}

/// A number and its square, a hundred times. Each map has a hasher of its own.
fn squares() -> Squares {
    (0..ENTRIES).map(|number| (number, number * number)).collect()
}

/// The keys in the order in which the map has them.
fn order(map: &Squares) -> String {
    map.keys().map(u32::to_string).collect::<Vec<_>>().join(" ")
}
