//! How big a snapshot is, as a file and on its way.

use std::io::Write as _;

use anyhow::Context as _;
use brotli::enc::BrotliEncoderParams;
use flate2::{Compression, write::GzEncoder};
use wasmparser::{Parser, Payload, Validator, WasmFeatures};

/// Sizes in bytes, and how many data segments with content there are.
pub(crate) struct Size {
    pub(crate) raw: usize,
    /// By `gzip -9`.
    pub(crate) gzip: usize,
    /// With quality 11, as for files which are compressed once and sent often.
    pub(crate) brotli: usize,
    pub(crate) data_segments: usize,
}

impl Size {
    /// Measures a module, which must be valid.
    pub(crate) fn of(wasm: &[u8]) -> anyhow::Result<Self> {
        Validator::new_with_features(WasmFeatures::default()).validate_all(wasm).context("not valid")?;
        let (gzip, brotli) = (gzip(wasm)?, brotli(wasm)?);
        Ok(Self { raw: wasm.len(), gzip, brotli, data_segments: data_segments(wasm)? })
    }
}

fn gzip(bytes: &[u8]) -> anyhow::Result<usize> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?.len())
}

fn brotli(mut bytes: &[u8]) -> anyhow::Result<usize> {
    let params = BrotliEncoderParams { quality: 11, lgwin: 22, ..BrotliEncoderParams::default() };
    let mut compressed = Vec::new();
    brotli::BrotliCompress(&mut bytes, &mut compressed, &params)?;
    Ok(compressed.len())
}

fn data_segments(wasm: &[u8]) -> anyhow::Result<usize> {
    let mut count = 0;
    for payload in Parser::new(0).parse_all(wasm) {
        if let Payload::DataSection(section) = payload? {
            for segment in section {
                count += usize::from(!segment?.data.is_empty());
            }
        }
    }
    Ok(count)
}
