//! What of a program's state depends on random bytes which it drew, or on the time at which it ran.
//!
//! Nothing of the program is analysed. It is run again, and one thing is other than before: what differs in the end
//! depends on it. Of the random bytes, one use is harmless and common: Rust's standard library draws 16 of them and
//! keeps them in a cell of each thread, as the keys of its hash maps. They are told by their value, whatever the
//! program's names:
//!
//! ```text
//! drawn      k0 k1            two numbers of 8 bytes, little-endian
//! cell       k0+n k1          after n hash maps; each got the keys of its turn, k0+0 … k0+n-1
//! ```
//!
//! (`std::hash::random::RandomState::new` in Rust 1.95, and since 1.16.) The cell is filled anew in each instance, so
//! maps made there have keys which nobody knows. Maps made before keep theirs, which are in the file.

use std::fmt;

use prewasm_ext_http::{Draw, Reseed, Varied};

use crate::{
    options::EntropyPolicy,
    state::{Differences, Place, State},
};

/// What is other in a further run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Variation {
    /// These calls get other random bytes.
    pub(crate) draws: Varied,
    /// The realtime clock is ahead by this many seconds.
    pub(crate) realtime_ahead: u64,
    /// Random bytes come from this block of their stream on.
    pub(crate) random_start: u64,
}

impl Variation {
    /// As the first run.
    pub(crate) const NONE: Self = Self { draws: Varied::Nothing, realtime_ahead: 0, random_start: 0 };

    /// Other random bytes.
    pub(crate) fn draws(draws: Varied) -> Self {
        Self { draws, ..Self::NONE }
    }

    /// Some year, month, day, hour, minute and second later.
    pub(crate) fn time() -> Self {
        const LATER: u64 = 34_567_890;
        Self { realtime_ahead: LATER, ..Self::NONE }
    }
}

/// What came of a further run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Dependence {
    /// It came to the same place, with these differences.
    On(Differences),
    /// It did not come to the same place: anything may depend on what was varied.
    Unknown,
}

impl Dependence {
    /// What differs between the modules of two snapshots of the same program; `None` where nobody can tell.
    pub(crate) fn between(states: Option<&[State]>, others: Option<&[State]>) -> Self {
        let (Some(states), Some(others)) = (states, others) else { return Self::Unknown };
        let mut all = Differences::default();
        for differences in states.iter().zip(others).map(|(a, b)| a.differences(b)) {
            all.places.extend(differences.places);
            all.globals.extend(differences.globals);
        }
        Self::On(all)
    }

    pub(crate) fn is_none(&self) -> bool {
        matches!(self, Self::On(differences) if differences.is_empty())
    }
}

/// Some random bytes which a program drew, and what became of them.
#[derive(Clone, Debug)]
pub(crate) struct Drawn {
    pub(crate) from: Origin,
    pub(crate) fate: Fate,
}

/// How a program came by random bytes.
#[derive(Clone, Debug)]
pub(crate) enum Origin {
    /// By calls of `random_get`.
    Calls {
        /// The number of the first, from 1.
        first: u64,
        /// How many are told together.
        count: u64,
        /// How many bytes were drawn.
        bytes: u64,
        /// From where the first was made.
        backtrace: Option<String>,
    },
    /// By the interfaces `wasi:random`.
    Interfaces,
}

/// What became of random bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Nothing depends on them any more.
    Gone,
    /// They are hash keys, and kept in these cells. What else depends on them was made with earlier keys.
    HashKeys { cells: Vec<Place>, derived: Dependence },
    /// They, or what was made of them, are in the state.
    Kept(Dependence),
}

/// What depends on what was drawn and read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Entropy {
    pub(crate) drawn: Vec<Drawn>,
    /// What depends on the realtime clock; `None` if it was not read.
    pub(crate) time: Option<Dependence>,
}

/// What a first run has shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Observed<'a> {
    /// What is in its memory; `None` if nobody can tell.
    pub(crate) state: Option<&'a State>,
    pub(crate) draws: &'a [Draw],
    pub(crate) backtraces: &'a [String],
    /// The first draws are the host's, who filled cells of a program which is frozen already.
    pub(crate) resumed: u64,
    /// Cells which an earlier snapshot of this program has found.
    pub(crate) known: &'a [Reseed],
    pub(crate) has_read_realtime: bool,
}

/// Each of this many draws gets a further run of its own; any more share one.
const MAX_SINGLE: u64 = 8;

/// Finds out what depends on random bytes and on the time. `rerun` runs the program again and compares; `None` if it
/// must not be run twice.
pub(crate) async fn analyse(
    observed: Observed<'_>,
    mut rerun: Option<impl AsyncFnMut(Variation) -> Dependence>,
) -> Entropy {
    let mut depends_on = async |variation| match &mut rerun {
        Some(rerun) => rerun(variation).await,
        None => Dependence::Unknown,
    };
    let mut entropy = Entropy::default();
    let count = observed.draws.len() as u64;
    let all = Varied::From { first: 0, except: None };
    if count > 1 && depends_on(Variation::draws(all)).await.is_none() {
        entropy.drawn.push(observed.drawn(0, count, Dependence::On(Differences::default())));
    } else {
        // Hash keys get a run of their own, whenever they were drawn.
        let keys = observed.keys();
        for call in (0..count.min(MAX_SINGLE)).chain(keys.filter(|call| *call >= MAX_SINGLE)) {
            let dependence = depends_on(Variation::draws(Varied::Only(call))).await;
            entropy.drawn.push(observed.drawn(call, 1, dependence));
        }
        if count > MAX_SINGLE {
            let rest = Varied::From { first: MAX_SINGLE, except: keys };
            let dependence = depends_on(Variation::draws(rest)).await;
            let mut drawn = observed.drawn(MAX_SINGLE, count - MAX_SINGLE, dependence);
            if let (Origin::Calls { count, bytes, .. }, Some(MAX_SINGLE..)) = (&mut drawn.from, keys) {
                // Told by itself.
                *count -= 1;
                *bytes -= u64::from(LENGTH);
            }
            entropy.drawn.push(drawn);
        }
    }
    if observed.has_read_realtime {
        entropy.time = Some(depends_on(Variation::time()).await);
    }
    entropy
}

impl Observed<'_> {
    /// The first call which has drawn hash keys, by what is in memory.
    fn keys(&self) -> Option<u64> {
        let is_key = |draw: &Draw| !self.key_cells(std::slice::from_ref(draw), &Dependence::Unknown).is_empty();
        let candidates = self.draws.iter().take(MAX_CANDIDATES);
        (0..).zip(candidates).find(|(_, draw)| draw.length == LENGTH && is_key(draw)).map(|(call, _)| call)
    }

    fn drawn(&self, call: u64, calls: u64, dependence: Dependence) -> Drawn {
        let at = |call: u64| usize::try_from(call).unwrap_or(usize::MAX);
        let draws = &self.draws[at(call)..at(call + calls)];
        let backtrace = call.checked_sub(self.resumed).and_then(|call| self.backtraces.get(at(call))).cloned();
        let fate = match dependence {
            dependence if dependence.is_none() => Fate::Gone,
            dependence => match self.key_cells(draws, &dependence) {
                cells if cells.is_empty() => Fate::Kept(dependence),
                cells => Fate::HashKeys { derived: dependence.without(&cells), cells },
            },
        };
        let bytes = draws.iter().map(|draw| u64::from(draw.length)).sum();
        Drawn { from: Origin::Calls { first: call + 1, count: calls, bytes, backtrace }, fate }
    }

    /// The cells which hold the keys drawn by one call, counted up by the number of maps made.
    fn key_cells(&self, draws: &[Draw], dependence: &Dependence) -> Vec<Place> {
        let [Draw { length: LENGTH, head }] = draws else { return Vec::new() };
        let (Some(memory), Ok(head)) =
            (self.state.and_then(|state| state.memories.first()), <[u8; Draw::HEAD]>::try_from(head.as_slice()))
        else {
            return Vec::new();
        };
        let (first, second) = keys(head);
        let mut found: Vec<(u64, Place)> = Vec::new();
        // Keys are numbers of 8 bytes, and stand where such numbers do.
        for (offset, _) in memory.words().filter(|(offset, word)| *word == second && *offset >= 8) {
            let offset = offset - 8;
            let mut cell = [0; Draw::HEAD];
            memory.copy_to(offset, &mut cell);
            let maps = keys(cell).0.wrapping_sub(first);
            let is_known = self.known.iter().any(|part| part.offset == offset);
            let cell = Place { memory: 0, offset, length: u64::from(LENGTH) };
            if ((1..MAX_MAPS).contains(&maps) || (maps == 0 && is_known)) && dependence.may_be_on(&cell) {
                found.push((maps, cell));
                // Keys of that many maps are in the way of finding the cell only if somebody has put them there.
                if found.len() > MAX_FOUND {
                    return Vec::new();
                }
            }
        }
        // Keys of maps have smaller numbers than the cell, which has those of the next map.
        let newest = found.iter().map(|(maps, _)| *maps).max();
        let cells: Vec<_> =
            found.into_iter().filter(|(maps, _)| Some(*maps) == newest).map(|(_, place)| place).collect();
        if cells.len() > MAX_CELLS { Vec::new() } else { cells }
    }
}

/// Maps, and what is left of them, which are looked at.
const MAX_FOUND: usize = 100_000;
/// A program has one cell, and perhaps copies of it: more are something else.
const MAX_CELLS: usize = 16;
/// Memory is searched for so many draws at most.
const MAX_CANDIDATES: usize = 256;
/// The size of a pair of keys.
const LENGTH: u32 = Draw::HEAD as u32;
/// No program makes more hash maps: by chance, two numbers are this close once in four billion times.
const MAX_MAPS: u64 = 1 << 32;

fn keys(bytes: [u8; Draw::HEAD]) -> (u64, u64) {
    let (words, _) = bytes.as_chunks();
    (u64::from_le_bytes(words[0]), u64::from_le_bytes(words[1]))
}

impl Dependence {
    /// Whether this place may depend on what was varied.
    fn may_be_on(&self, place: &Place) -> bool {
        match self {
            Self::On(differences) => differences.places.iter().any(|other| other.overlaps(place)),
            Self::Unknown => true,
        }
    }

    /// What remains beside these places.
    fn without(self, cells: &[Place]) -> Self {
        match self {
            Self::On(mut differences) => {
                for cell in cells {
                    differences.places = differences.places.iter().flat_map(|place| place.without(cell)).collect();
                }
                Self::On(differences)
            }
            Self::Unknown => Self::Unknown,
        }
    }
}

impl Entropy {
    /// Cells with hash keys, in order.
    pub(crate) fn reseed(&self, known: &[Reseed]) -> Vec<Reseed> {
        let cells = self.drawn.iter().flat_map(|drawn| match &drawn.fate {
            Fate::HashKeys { cells, .. } => cells.as_slice(),
            Fate::Gone | Fate::Kept(_) => &[],
        });
        let found = cells.map(|cell| Reseed { offset: cell.offset, length: u32::try_from(cell.length).unwrap_or(0) });
        let mut reseed: Vec<_> = known.iter().copied().chain(found).collect();
        reseed.sort_by_key(|part| part.offset);
        reseed.dedup_by_key(|part| part.offset);
        reseed
    }
}

/// Random bytes which every instance would share.
#[derive(Debug, thiserror::Error)]
pub enum EntropyError {
    /// They are in the program's state, or what was made of them is.
    #[error(
        "its state holds random bytes, which every instance would share:{}\n  hint: draw them after the stop point; or accept it with `--allow-frozen-entropy`, if nobody relies on their being secret or different",
        list(kept)
    )]
    Kept {
        /// Each call, what depends on it, and from where it was made.
        kept: Vec<String>,
    },
    /// Something depends on hash keys, and not even that is allowed.
    #[error(
        "its state depends on hash keys, which every instance would share:{}\n  hint: leave out `--deny-hash-entropy`, if nobody can choose what is put into the maps made before the stop point",
        list(derived)
    )]
    HashKeys {
        /// Each call, what depends on it, and from where it was made.
        derived: Vec<String>,
    },
}

fn list(items: &[String]) -> String {
    items.iter().map(|item| format!("\n  {}", item.trim_end().replace('\n', "\n  "))).collect()
}

impl Entropy {
    /// Refuses what the policy does not allow; `region` names a place.
    pub(crate) fn judge(&self, policy: EntropyPolicy, region: &impl Fn(&Place) -> String) -> Result<(), EntropyError> {
        if policy == EntropyPolicy::Any {
            return Ok(());
        }
        let kept = self.drawn.iter().filter_map(|drawn| match &drawn.fate {
            Fate::Kept(dependence) => Some(drawn.explained(dependence, region)),
            Fate::Gone | Fate::HashKeys { .. } => None,
        });
        let kept: Vec<_> = kept.collect();
        if !kept.is_empty() {
            return Err(EntropyError::Kept { kept });
        }
        let derived = self.drawn.iter().filter_map(|drawn| match &drawn.fate {
            Fate::HashKeys { derived, .. } if !derived.is_none() => Some(drawn.explained(derived, region)),
            Fate::HashKeys { .. } | Fate::Gone | Fate::Kept(_) => None,
        });
        let derived: Vec<_> = derived.collect();
        if policy == EntropyPolicy::DenyHashKeys && !derived.is_empty() {
            return Err(EntropyError::HashKeys { derived });
        }
        Ok(())
    }
}

impl Drawn {
    fn explained(&self, dependence: &Dependence, region: &impl Fn(&Place) -> String) -> String {
        let backtrace = match &self.from {
            Origin::Calls { backtrace, .. } => backtrace.as_deref().unwrap_or_default(),
            Origin::Interfaces => "",
        };
        format!("{self}: {}\n{backtrace}", dependence.described(region))
    }
}

impl Dependence {
    /// In a few words.
    pub(crate) fn described(&self, region: &impl Fn(&Place) -> String) -> String {
        /// So many places are named, the largest first.
        const NAMED: usize = 3;
        let Self::On(differences) = self else { return "what depends on them is unknown".to_owned() };
        let Differences { places, globals, tables, stack } = differences;
        let mut parts = Vec::new();
        if !places.is_empty() {
            let mut largest: Vec<_> = places.iter().collect();
            largest.sort_by_key(|place| (std::cmp::Reverse(place.length), place.offset));
            let names: Vec<_> =
                largest.iter().take(NAMED).map(|place| format!("{} at {}", place.length, region(place))).collect();
            let more = if places.len() > NAMED { ", …" } else { "" };
            parts.push(format!(
                "{} bytes in {} places ({}{more})",
                differences.bytes(),
                places.len(),
                names.join(", ")
            ));
        }
        let mut count = |count: u64, what: &str| {
            if count > 0 {
                parts.push(format!("{count} {what}"));
            }
        };
        count(globals.len() as u64, "globals");
        count(tables.len() as u64, "tables");
        count(*stack, "values on the stack");
        format!("{} depend on them", parts.join(", "))
    }
}

impl fmt::Display for Drawn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.from {
            Origin::Calls { first, count: 1, bytes, .. } => {
                write!(f, "call {first} of `random_get`, for {bytes} bytes")
            }
            Origin::Calls { first, count, bytes, .. } => {
                write!(f, "{count} calls of `random_get`, from the {first}th on, for {bytes} bytes together")
            }
            Origin::Interfaces => f.write_str("random numbers by `wasi:random`"),
        }
    }
}
