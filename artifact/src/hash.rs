//! Content hashes: names of cache entries and provenance.

use std::{
    fmt,
    io::{self, Read},
};

use sha2::Digest as _;

/// Files are read by this much: large enough that the system calls do not count.
const PIECE: usize = 128 * 1024;

/// A SHA-256 digest, printed as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sha256([u8; 32]);

/// Hashes the concatenation of `parts`.
pub fn sha256<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Sha256 {
    let mut hasher = sha2::Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    Sha256(hasher.finalize().into())
}

/// Hashes all that `reader` gives, a piece at a time: a file may be larger than the memory.
///
/// # Errors
/// What the reader says.
pub fn sha256_of(mut reader: impl Read) -> io::Result<Sha256> {
    let mut hasher = sha2::Sha256::new();
    let mut piece = vec![0; PIECE];
    loop {
        match reader.read(&mut piece) {
            Ok(0) => return Ok(Sha256(hasher.finalize().into())),
            Ok(length) => hasher.update(&piece[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

impl Sha256 {
    /// The 32 bytes of the digest.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_the_digest_of_the_empty_input() {
        // FIPS 180-4 example value for the empty message.
        assert_eq!(sha256([]).to_string(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }

    #[test]
    fn a_stream_has_the_hash_of_its_bytes() {
        let bytes = vec![7; 3 * PIECE + 5];
        assert_eq!(sha256_of(bytes.as_slice()).expect("readable"), sha256([bytes.as_slice()]));
    }
}
