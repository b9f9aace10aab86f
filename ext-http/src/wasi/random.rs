//! Random bytes: the system's, or a seeded stream for reproducible snapshots.

use prewasm_artifact::sha256;

use crate::{abi::errno::Errno, host::Host};

/// Where a guest's random bytes come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Random {
    /// The operating system.
    #[default]
    System,
    /// A stream which the seed determines. Not secret: for snapshots only.
    Seeded(Seed),
}

/// What determines a stream of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seed {
    /// Any number.
    pub number: u64,
    /// How many blocks of the stream are skipped: where another run has come to.
    pub start: u64,
    /// Calls of which each byte is another than the number gives them: what differs then depends on those calls.
    pub varied: Varied,
}

/// Some of the calls for random bytes, which are numbered from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Varied {
    /// None.
    #[default]
    Nothing,
    /// One.
    Only(u64),
    /// One, and all that follow, but for one of them.
    From {
        /// The first.
        first: u64,
        /// What stays as it is.
        except: Option<u64>,
    },
}

impl Varied {
    fn includes(self, call: u64) -> bool {
        match self {
            Self::Nothing => false,
            Self::Only(only) => call == only,
            Self::From { first, except } => call >= first && except != Some(call),
        }
    }
}

/// A call for random bytes which was answered from a seeded stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draw {
    /// How many bytes were asked for.
    pub length: u32,
    /// The first of them, at most [`Draw::HEAD`].
    pub head: Vec<u8>,
}

impl Draw {
    /// As many bytes as a pair of hash keys has.
    pub const HEAD: usize = 16;
    /// Calls beyond this many are answered and not noted.
    const MAX_NOTED: usize = 65_536;
}

/// The random source of one instance.
pub(crate) struct Source {
    random: Random,
    blocks: u64,
    calls: u64,
    draws: Vec<Draw>,
}

impl Source {
    pub(crate) fn new(random: Random) -> Self {
        let blocks = match random {
            Random::System => 0,
            Random::Seeded(seed) => seed.start,
        };
        Self { random, blocks, calls: 0, draws: Vec::new() }
    }

    /// A call for `length` bytes begins, which [`Source::fill`] will give in pieces.
    pub(crate) fn begin(&mut self, length: u32) {
        self.calls += 1;
        if matches!(self.random, Random::Seeded(_)) && self.draws.len() < Draw::MAX_NOTED {
            self.draws.push(Draw { length, head: Vec::new() });
        }
    }

    pub(crate) fn fill(&mut self, bytes: &mut [u8]) -> Result<(), Errno> {
        match self.random {
            Random::System => getrandom::fill(bytes).map_err(|_| Errno::Io),
            Random::Seeded(seed) => {
                self.fill_seeded(seed, bytes);
                Ok(())
            }
        }
    }

    /// SHA-256 in counter mode.
    fn fill_seeded(&mut self, seed: Seed, bytes: &mut [u8]) {
        let call = self.calls.saturating_sub(1);
        let is_varied = seed.varied.includes(call);
        for chunk in bytes.chunks_mut(32) {
            let block =
                |stream: &[u8]| sha256([seed.number.to_le_bytes().as_slice(), &self.blocks.to_le_bytes(), stream]);
            chunk.copy_from_slice(&block(b"").as_bytes()[..chunk.len()]);
            if is_varied {
                for (byte, other) in chunk.iter_mut().zip(block(b"varied").as_bytes()) {
                    // An odd difference: no byte stays, and its lowest bit is another.
                    *byte = byte.wrapping_add(other | 1);
                }
            }
            self.blocks += 1;
        }
        if let Some(draw) = self.draws.last_mut().filter(|_| self.calls <= Draw::MAX_NOTED as u64) {
            let missing = Draw::HEAD - draw.head.len();
            draw.head.extend(bytes.iter().take(missing));
        }
    }
}

impl Host {
    /// How far the seeded stream has been used, in blocks.
    pub fn random_position(&self) -> u64 {
        self.wasi.random.blocks
    }

    /// The calls for random bytes so far; none of those which the system has answered.
    pub fn draws(&self) -> &[Draw] {
        &self.wasi.random.draws
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three calls of 40 bytes.
    fn draw(number: u64, varied: Varied) -> (Vec<Vec<u8>>, Vec<Draw>) {
        let mut source = Source::new(Random::Seeded(Seed { number, varied, ..Seed::default() }));
        let calls = (0..3).map(|_| {
            let mut bytes = vec![0; 40];
            source.begin(40);
            source.fill(&mut bytes).expect("infallible");
            bytes
        });
        (calls.collect(), source.draws)
    }

    #[test]
    fn a_seed_determines_the_stream() {
        assert_eq!(draw(1, Varied::Nothing), draw(1, Varied::Nothing));
        assert_ne!(draw(1, Varied::Nothing).0[0], draw(2, Varied::Nothing).0[0]);
    }

    #[test]
    fn only_varied_calls_get_other_bytes() {
        let (base, noted) = draw(1, Varied::Nothing);
        let differing = |varied| -> Vec<bool> {
            let (calls, _) = draw(1, varied);
            calls.iter().zip(&base).map(|(call, base)| call != base).collect()
        };
        assert_eq!(differing(Varied::Only(1)), [false, true, false]);
        assert_eq!(differing(Varied::From { first: 1, except: None }), [false, true, true]);
        assert_eq!(differing(Varied::From { first: 0, except: Some(1) }), [true, false, true]);
        assert_eq!(noted[2], Draw { length: 40, head: base[2][..Draw::HEAD].to_vec() });
    }
}
