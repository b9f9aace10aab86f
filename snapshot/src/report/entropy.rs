//! What of a snapshot depends on random bytes and on the time.

use std::fmt;

use serde::Serialize;

use crate::{
    assemble::Assembled,
    entropy::{Dependence, Fate, Origin},
    state::Place,
};

/// What depends on random bytes and on the time.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct EntropyReport {
    /// Calls for random bytes; 0 for a component, where nobody counts.
    pub draws: u64,
    /// Hash keys: each instance fills them with random bytes of its own.
    pub reseeded: Vec<Part>,
    /// What was made with the hash keys of the build, such as maps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash_keys: Option<Dependent>,
    /// Other random bytes, and what was made of them; only if that was allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frozen: Option<Dependent>,
    /// What was made of the realtime clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<Dependent>,
}

/// What depends on something.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Dependent {
    /// Whether it is known at all: a run which may change something outside is not made twice.
    pub known: bool,
    /// Bytes of memory.
    pub bytes: u64,
    /// In how many places they are.
    pub places: u64,
    /// The largest of these places.
    pub largest: Vec<Part>,
    /// Globals.
    pub globals: u64,
    /// Values in functions which wait for a call to return.
    pub stack_values: u64,
}

/// A part of a memory.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Part {
    /// Where it starts.
    pub offset: u64,
    /// In bytes.
    pub length: u64,
    /// What it belongs to.
    pub region: String,
}

impl EntropyReport {
    pub(super) fn of(assembled: &Assembled, region: &impl Fn(&Place) -> String) -> Self {
        let mut report = Self::default();
        for reseed in &assembled.reseeded {
            let place = Place { memory: 0, offset: reseed.offset, length: u64::from(reseed.length) };
            report.reseeded.push(Part::of(&place, region));
        }
        for drawn in &assembled.entropy.drawn {
            if let Origin::Calls { count, .. } = drawn.from {
                report.draws += count;
            }
            let (kind, dependence) = match &drawn.fate {
                Fate::Gone => continue,
                Fate::HashKeys { derived, .. } => (&mut report.hash_keys, derived),
                Fate::Kept(dependence) => (&mut report.frozen, dependence),
            };
            kind.get_or_insert_with(Dependent::nothing).add(dependence, region);
        }
        if let Some(dependence) = assembled.entropy.time.as_ref().filter(|time| !time.is_none()) {
            let mut dependent = Dependent::nothing();
            dependent.add(dependence, region);
            report.time = Some(dependent);
        }
        report
    }
}

impl Dependent {
    fn nothing() -> Self {
        Self { known: true, ..Self::default() }
    }

    fn add(&mut self, dependence: &Dependence, region: &impl Fn(&Place) -> String) {
        /// So many places are told one by one.
        const LARGEST: usize = 10;
        let Dependence::On(differences) = dependence else {
            self.known = false;
            return;
        };
        self.bytes += differences.bytes();
        self.places += differences.places.len() as u64;
        self.globals += differences.globals.len() as u64;
        self.stack_values += differences.stack;
        let mut places: Vec<_> = differences.places.iter().collect();
        places.sort_by_key(|place| (std::cmp::Reverse(place.length), place.offset));
        self.largest.extend(places.into_iter().take(LARGEST).map(|place| Part::of(place, region)));
        self.largest.sort_by_key(|part| (std::cmp::Reverse(part.length), part.offset));
        self.largest.truncate(LARGEST);
    }
}

impl Part {
    fn of(place: &Place, region: &impl Fn(&Place) -> String) -> Self {
        Self { offset: place.offset, length: place.length, region: region(place) }
    }
}

/// Lines of the summary.
impl fmt::Display for EntropyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in &self.reseeded {
            writeln!(f, "  hash keys    {} are drawn anew in each instance", part.region)?;
        }
        if let Some(derived) = &self.hash_keys {
            writeln!(f, "  hash keys    of this build stay in {derived}")?;
        }
        if let Some(frozen) = &self.frozen {
            writeln!(f, "  random bytes the same in every instance: {frozen}")?;
        }
        if let Some(time) = &self.time {
            writeln!(f, "  time         of the build, SOURCE_DATE_EPOCH or 0, is in {time}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Dependent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.known {
            return f.write_str("parts which are unknown, since the program ran differently or cannot be run twice");
        }
        write!(f, "{} bytes in {} places", self.bytes, self.places)?;
        if let Some(largest) = self.largest.first() {
            write!(f, ", the largest {} at {}", largest.length, largest.region)?;
        }
        if self.globals + self.stack_values > 0 {
            write!(f, ", and in {} globals and {} values on the stack", self.globals, self.stack_values)?;
        }
        Ok(())
    }
}
