//! Programs made up from seeds: a few thousand places to freeze in every test run, and as many as are asked for.
//!
//! `PREWASM_CASES` tells how many places in all, `PREWASM_SEED` the first seed, and `PREWASM_PROFILE` the only profile
//! to run.

use std::env;

use super::{
    generator,
    harness::{Checked, Harness, Points},
    smith::{self, Language},
};
use crate::random::Random;

/// Places to freeze in a usual test run: some ten seconds.
const CASES: usize = 3000;
/// Places in one program.
const PER_PROGRAM: usize = 6;

/// Where programs come from.
struct Profile {
    name: &'static str,
    program: fn(u64) -> Option<Vec<u8>>,
    /// How many in a hundred of all places are of this profile.
    share: usize,
    /// How many refusals there may be for a hundred places that can be frozen. More is a regression.
    refused: usize,
}

#[test]
fn of_the_generator() {
    holds(&Profile { name: "generator", program: |seed| Some(generator::program(seed)), share: 50, refused: 2 });
}

#[test]
fn of_wasm_smith() {
    let program = |seed| smith::program(Language::Basic, seed);
    holds(&Profile { name: "smith", program, share: 14, refused: 1 });
}

#[test]
fn of_wasm_smith_with_references() {
    let program = |seed| smith::program(Language::References, seed);
    holds(&Profile { name: "references", program, share: 14, refused: 5 });
}

#[test]
fn of_wasm_smith_with_exceptions() {
    let program = |seed| smith::program(Language::Exceptions, seed);
    holds(&Profile { name: "exceptions", program, share: 14, refused: 10 });
}

#[test]
fn of_wasm_smith_with_everything() {
    let program = |seed| smith::program(Language::Everything, seed);
    holds(&Profile { name: "everything", program, share: 8, refused: 120 });
}

fn holds(profile: &Profile) {
    if env::var("PREWASM_PROFILE").is_ok_and(|wanted| wanted != profile.name) {
        return;
    }
    let cases = number("PREWASM_CASES", CASES as u64) as usize;
    let wanted = (cases * profile.share).div_ceil(100);
    let harness = Harness::new();
    let mut checked = Checked::default();
    let mut programs = 0;
    for seed in number("PREWASM_SEED", 0).. {
        if checked.points >= wanted {
            break;
        }
        let Some(wasm) = (profile.program)(seed) else {
            checked.skip("no program");
            continue;
        };
        programs += 1;
        let mut random = Random::new(seed);
        let points = Points::Some { count: PER_PROGRAM, random: &mut random };
        if let Err(error) = harness.check(&wasm, "_start", points, &mut checked) {
            let name = profile.name;
            panic!("PREWASM_PROFILE={name} PREWASM_SEED={seed} PREWASM_CASES=1: {error}");
        }
    }
    report(profile, programs, &checked);
    assert!(!checked.skipped.contains_key("not compiled"), "the generator has made invalid modules: {checked:?}");
    let refused: usize = checked.refused.values().sum();
    assert!(
        refused * 100 <= profile.refused * wanted.max(100),
        "{refused} refusals for {wanted} places: {:?}",
        checked.refused
    );
}

fn number(variable: &str, default: u64) -> u64 {
    env::var(variable).map_or(default, |value| value.parse().expect("a number"))
}

/// Shown with `--nocapture`: how much was covered.
fn report(profile: &Profile, programs: usize, checked: &Checked) {
    let Checked { points, calls, frames, operands, constructs, refused, skipped } = checked;
    let mean = |sum: usize, of: usize| sum as f64 / of.max(1) as f64;
    println!(
        "{}: {points} places in {programs} programs, which make {:.1} host calls; at each {:.1} frames and {:.1} \
         operands, in {constructs:?}; refused {refused:?}; skipped {skipped:?}",
        profile.name,
        mean(*calls, programs),
        mean(*frames, *points),
        mean(*operands, *points),
    );
}
