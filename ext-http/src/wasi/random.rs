//! Random bytes: the system's, or a seeded stream for reproducible snapshots.

use prewasm_artifact::sha256;

use crate::abi::errno::Errno;

/// Where a guest's random bytes come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Random {
    /// The operating system.
    #[default]
    System,
    /// A stream which the seed determines. Not secret: for snapshots only.
    Seeded(u64),
}

/// The random source of one instance.
pub(crate) struct Source {
    random: Random,
    blocks: u64,
}

impl Source {
    pub(crate) fn new(random: Random) -> Self {
        Self { random, blocks: 0 }
    }

    pub(crate) fn fill(&mut self, bytes: &mut [u8]) -> Result<(), Errno> {
        match self.random {
            Random::System => getrandom::fill(bytes).map_err(|_| Errno::Io),
            Random::Seeded(seed) => {
                for chunk in bytes.chunks_mut(32) {
                    // SHA-256 in counter mode.
                    let block = sha256([seed.to_le_bytes().as_slice(), &self.blocks.to_le_bytes()]);
                    chunk.copy_from_slice(&block.as_bytes()[..chunk.len()]);
                    self.blocks += 1;
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_determines_the_stream() {
        let draw = |seed| {
            let mut bytes = [0; 100];
            Source::new(Random::Seeded(seed)).fill(&mut bytes).expect("infallible");
            bytes
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }
}
