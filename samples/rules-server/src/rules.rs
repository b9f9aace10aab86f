//! The rules, compiled.

use regex::bytes::{RegexSet, RegexSetBuilder};

use crate::patterns;

/// What a text is checked against. Compiling it is the slow start this program is about.
pub struct Rules {
    patterns: RegexSet,
    /// For every pair of bytes, how often it occurs in attacks rather than in prose, from -128 to 127.
    pairs: Vec<i8>,
}

impl Rules {
    /// Compiles the patterns into one set, and learns the table from the samples.
    pub fn compile() -> Self {
        let mut usable = patterns::all();
        usable.retain(|pattern| is_small(pattern));
        let patterns =
            set(&usable).build().expect("each of these patterns has been compiled alone, and all are known to fit");
        let mut pairs = vec![0; 256 * 256];
        for (samples, weight) in [(patterns::ATTACKS, 4), (patterns::PROSE, -4)] {
            for sample in samples {
                learn(&mut pairs, sample.as_bytes(), weight);
            }
        }
        Self { patterns, pairs }
    }

    /// How many rules there are.
    pub fn len(&self) -> usize {
        self.patterns.len() + 1
    }

    /// How many rules `text` matches.
    pub fn matches(&self, text: &[u8]) -> usize {
        self.patterns.matches(text).iter().count() + usize::from(self.looks_odd(text))
    }

    /// The one rule which is no pattern: most pairs of bytes are such as attacks have.
    fn looks_odd(&self, text: &[u8]) -> bool {
        let score: i32 = pairs_of(text).map(|pair| i32::from(self.pairs[pair])).sum();
        // An average of one sample's weight per pair.
        score > 4 * i32::try_from(text.len()).unwrap_or(i32::MAX / 4)
    }
}

/// Whether a rule is small enough to be used: a set is as slow as its biggest rule makes it. Compiling each rule alone
/// for this is most of the slow start.
fn is_small(pattern: &str) -> bool {
    set(&[pattern]).size_limit(256 * 1024).build().is_ok()
}

/// Always a set, even of one, and nothing is matched at the start: captures and the matchers' caches are hash maps with
/// random keys, and what a snapshot tool records should be the same every time.
fn set(patterns: &[impl AsRef<str>]) -> RegexSetBuilder {
    let mut set = RegexSetBuilder::new(patterns);
    set.case_insensitive(true).unicode(false);
    set
}

fn learn(pairs: &mut [i8], sample: &[u8], weight: i8) {
    for pair in pairs_of(sample) {
        pairs[pair] = pairs[pair].saturating_add(weight);
    }
}

fn pairs_of(text: &[u8]) -> impl Iterator<Item = usize> {
    text.windows(2).map(|pair| usize::from(pair[0]) * 256 + usize::from(pair[1]))
}
