//! An order of functions in which alike ones are neighbours.
//!
//! What gzip and the like compress must repeat within a window, of 32 KiB for gzip, and code is larger than that. So the
//! functions are split in halves which have as little in common as can be, and these again, down to pairs:
//! balanced partitioning, after Dhulipala and others, "Compressing Graphs and Indexes with Recursive Graph Bisection"
//! (KDD 2016), as Hoag and others use it for native code in "Optimizing Function Layout for Mobile Applications" (2022).
//!
//! All arithmetic is with integers: the same functions have the same order on every machine.

use std::cmp::Reverse;

use rayon::{
    iter::{IndexedParallelIterator as _, IntoParallelRefIterator as _, ParallelIterator as _},
    slice::ParallelSliceMut as _,
};

/// What functions have in common is told by runs of this many bytes.
const RUN: usize = 6;
/// One run of so many is looked at, always the same ones.
const SAMPLE: u64 = 4;
/// So many runs are looked at, roughly: of more code, fewer of them.
const MAX_RUNS: u64 = 1 << 20;
/// How often functions change places at each split.
const ROUNDS: u64 = 10;
/// One pair of so many keeps its place, whatever it would gain: else all could change sides for ever, and nothing would.
const KEEPING: u64 = 16;
/// After so many splits there is work for many cores: each that goes on beside another has counts of its own.
const PARALLEL_SPLITS: u32 = 4;

/// The functions with these bodies, in their new order.
pub(super) fn order(bodies: &[&[u8]]) -> Vec<usize> {
    let (runs, count) = runs(bodies);
    let costs: Vec<i64> = (0..bodies.len() as u64 + 2).map(cost).collect();
    let mut order: Vec<usize> = (0..bodies.len()).collect();
    Split { runs: &runs, costs: &costs, counts: vec![(0, 0); count] }.bisect(&mut order, 0);
    order
}

/// The runs of each function, by number, and how many there are.
fn runs(bodies: &[&[u8]]) -> (Vec<Vec<u32>>, usize) {
    let bytes: u64 = bodies.iter().map(|body| body.len() as u64).sum();
    let sample = SAMPLE.max(bytes / MAX_RUNS);
    let hashes = bodies
        .par_iter()
        .enumerate()
        .flat_map_iter(|(function, body)| hashes(body, sample).into_iter().map(move |hash| (hash, function)));
    let mut hashes: Vec<(u64, usize)> = hashes.collect();
    hashes.par_sort_unstable();
    let mut runs = vec![Vec::new(); bodies.len()];
    // What only one function has, and what very many have, tells nothing.
    let telling = hashes.chunk_by(|a, b| a.0 == b.0).filter(|same| (2..=bodies.len() / 4).contains(&same.len()));
    let mut count = 0;
    for (number, same) in (0..).zip(telling) {
        for (_, function) in same {
            runs[*function].push(number);
        }
        count += 1;
    }
    (runs, count)
}

/// The runs of a function, each once, by a hash (FNV-1a).
fn hashes(body: &[u8], sample: u64) -> Vec<u64> {
    let hash = |run: &[u8]| {
        let add = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        let hash = run.iter().fold(0xcbf2_9ce4_8422_2325, add);
        hash ^ (hash >> 29)
    };
    let mut hashes: Vec<u64> = body.windows(RUN).map(hash).filter(|hash| (hash >> 8).is_multiple_of(sample)).collect();
    hashes.sort_unstable();
    hashes.dedup();
    // Whoever knows the hash can have more than one of so many; the smallest are still the same in functions alike.
    let most = 2 * body.len() as u64 / sample + 8;
    hashes.truncate(usize::try_from(most).unwrap_or(usize::MAX));
    hashes
}

/// What a run costs on a side where so many functions have it: the more have it, the less does each add.
fn cost(functions: u64) -> i64 {
    -functions.cast_signed() * binary_logarithm(functions + 1)
}

/// In units of 2^-16; between powers of two, on a straight line.
fn binary_logarithm(number: u64) -> i64 {
    let whole = number.ilog2();
    let rest = ((number - (1 << whole)) << 16) >> whole;
    (i64::from(whole) << 16) + rest.cast_signed()
}

/// By chance, as it were: Fibonacci hashing.
fn keeps_its_place(function: usize, round: u64) -> bool {
    let mixed = ((function as u64) << 8 | round).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> 32).is_multiple_of(KEEPING)
}

struct Split<'a> {
    runs: &'a [Vec<u32>],
    costs: &'a [i64],
    /// Of each run, how many functions of the left half have it, and how many of the right.
    counts: Vec<(u32, u32)>,
}

#[derive(Clone, Copy)]
enum Side {
    Left,
    Right,
}

impl Split<'_> {
    fn bisect(&mut self, functions: &mut [usize], splits: u32) {
        if functions.len() <= 2 {
            functions.sort_unstable();
            return;
        }
        let middle = functions.len() / 2;
        for round in 0..ROUNDS {
            if !self.exchange(functions, middle, round) {
                break;
            }
        }
        let (left, right) = functions.split_at_mut(middle);
        if splits < PARALLEL_SPLITS {
            let mut other = Split { counts: vec![(0, 0); self.counts.len()], ..*self };
            rayon::join(|| self.bisect(left, splits + 1), || other.bisect(right, splits + 1));
        } else {
            self.bisect(left, splits + 1);
            self.bisect(right, splits + 1);
        }
    }

    /// Lets those change sides who gain most by it; whether there were any.
    fn exchange(&mut self, functions: &mut [usize], middle: usize, round: u64) -> bool {
        self.count(functions, middle);
        let (left, right) = functions.split_at(middle);
        let (mut left, mut right) = rayon::join(|| self.by_gain(left, Side::Left), || self.by_gain(right, Side::Right));
        self.forget(functions);
        let pairs = left.iter().zip(&right);
        let changing = pairs.take_while(|((of_left, _), (of_right, _))| of_left + of_right > 0).count();
        for (of_left, of_right) in left.iter_mut().zip(&mut right).take(changing) {
            if !keeps_its_place(of_left.1, round) {
                std::mem::swap(of_left, of_right);
            }
        }
        for (place, (_, function)) in functions.iter_mut().zip(left.into_iter().chain(right)) {
            *place = function;
        }
        changing > 0
    }

    fn count(&mut self, functions: &[usize], middle: usize) {
        for (at, function) in functions.iter().enumerate() {
            for run in &self.runs[*function] {
                let (left, right) = &mut self.counts[*run as usize];
                *if at < middle { left } else { right } += 1;
            }
        }
    }

    fn forget(&mut self, functions: &[usize]) {
        for run in functions.iter().flat_map(|function| &self.runs[*function]) {
            self.counts[*run as usize] = (0, 0);
        }
    }

    fn by_gain(&self, functions: &[usize], side: Side) -> Vec<(i64, usize)> {
        let mut gains: Vec<_> = functions.iter().map(|function| (self.gain(*function, side), *function)).collect();
        gains.sort_unstable_by_key(|(gain, function)| (Reverse(*gain), *function));
        gains
    }

    /// What is gained if a function leaves its side.
    fn gain(&self, function: usize, side: Side) -> i64 {
        let cost = |functions: u32| self.costs[functions as usize];
        let gain = |run: &u32| {
            let (left, right) = self.counts[*run as usize];
            let after = match side {
                Side::Left => cost(left - 1) + cost(right + 1),
                Side::Right => cost(left + 1) + cost(right - 1),
            };
            cost(left) + cost(right) - after
        };
        self.runs[function].iter().map(gain).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn alike_functions_are_neighbours() {
        // 16 families of 8, which have half of their bytes in common; relatives are 16 apart.
        let families: Vec<Vec<u8>> = (0..16).map(|seed| Random::new(seed).bytes(400)).collect();
        let body = |at: u64| [families[(at % 16) as usize].clone(), Random::new(100 + at).bytes(400)].concat();
        let bodies: Vec<Vec<u8>> = (0..128).map(body).collect();
        let order = order(&bodies.iter().map(Vec::as_slice).collect::<Vec<_>>());
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..128).collect::<Vec<_>>());
        let together = order.windows(2).filter(|pair| pair[0] % 16 == pair[1] % 16).count();
        assert!(together > 100, "{together} of 127 neighbours are relatives: {order:?}");
    }

    #[test]
    fn few_or_empty_functions_are_ordered_too() {
        for count in 0..6 {
            assert_eq!(order(&vec![&[][..]; count]), (0..count).collect::<Vec<_>>());
        }
    }

    #[test]
    fn logarithms_are_close() {
        for number in [1, 2, 3, 5, 8, 1000, u64::from(u32::MAX) + 1] {
            let exact = (number as f64).log2();
            assert!((binary_logarithm(number) as f64 / 65536.0 - exact).abs() < 0.09, "{number}");
        }
    }
}
