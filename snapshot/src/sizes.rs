//! What a snapshot weighs: the file, in transit, and what its memories start with.

mod data;

use std::{
    io::{self, Write},
    thread,
};

use brotli::CompressorWriter;
use flate2::{Compression, write::GzEncoder};
use serde::Serialize;

pub use data::{InitialData, InitialMemory, InitialRange};

/// Registries and servers which compress once use gzip's best.
const GZIP_LEVEL: u32 = 9;
/// 10 MB take about a second, as with gzip. Quality 4 is a fifth larger on the heap of a rules engine, 9 a hundredth
/// smaller in more than twice the time.
const BROTLI_QUALITY: u32 = 5;
/// A window of 4 MiB, the largest which servers use unasked.
const BROTLI_WINDOW_LOG2: u32 = 22;
/// What brotli collects before it works, in bytes.
const BUFFER: usize = 64 * 1024;

/// The size of a file as it is and compressed, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct FileSizes {
    /// As it is.
    pub raw: u64,
    /// With gzip, level 9.
    pub gzip: u64,
    /// With brotli, quality 5, in a window of 4 MiB.
    pub brotli: u64,
}

impl FileSizes {
    /// Compresses `bytes` in two ways at once, and keeps nothing but the sizes.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let (gzip, brotli) = thread::scope(|scope| {
            let gzip = thread::Builder::new().spawn_scoped(scope, || gzip(bytes));
            let brotli = brotli(bytes);
            let gzip = gzip.ok().and_then(|thread| thread.join().ok()).unwrap_or_else(|| self::gzip(bytes));
            (gzip, brotli)
        });
        Self { raw: bytes.len() as u64, gzip, brotli }
    }
}

fn gzip(bytes: &[u8]) -> u64 {
    let mut encoder = GzEncoder::new(Length(0), Compression::new(GZIP_LEVEL));
    encoder.write_all(bytes).expect("counting does not fail");
    encoder.finish().expect("counting does not fail").0
}

fn brotli(bytes: &[u8]) -> u64 {
    let mut encoder = CompressorWriter::new(Length(0), BUFFER, BROTLI_QUALITY, BROTLI_WINDOW_LOG2);
    encoder.write_all(bytes).expect("counting does not fail");
    encoder.into_inner().0
}

/// Counts what is written to it.
struct Length(u64);

impl Write for Length {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn sizes_are_those_of_files_which_can_be_unpacked() {
        let bytes: Vec<u8> = (0..300_000_u32).map(|number| (u64::from(number).pow(2) >> 7) as u8).collect();
        let sizes = FileSizes::of(&bytes);
        assert_eq!(sizes, FileSizes::of(&bytes));

        let mut gzip = Vec::new();
        flate2::read::GzEncoder::new(&bytes[..], Compression::best()).read_to_end(&mut gzip).expect("in memory");
        let mut brotli = Vec::new();
        let mut reader = brotli::CompressorReader::new(&bytes[..], BUFFER, BROTLI_QUALITY, BROTLI_WINDOW_LOG2);
        reader.read_to_end(&mut brotli).expect("in memory");
        let expected = FileSizes { raw: 300_000, gzip: gzip.len() as u64, brotli: brotli.len() as u64 };
        assert_eq!(sizes, expected);
        assert!(sizes.gzip < sizes.raw && sizes.brotli < sizes.raw);
    }

    #[test]
    fn nothing_weighs_little() {
        let FileSizes { raw, gzip, brotli } = FileSizes::of(&[]);
        assert!(raw == 0 && gzip < 30 && brotli < 5);
    }
}
