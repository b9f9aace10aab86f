//! Records which stand for plaintext: what the program carries between a TLS codec and a socket.
//!
//! They look like records of TLS, as a program may expect, but hold no more than whose bytes, and how many, they stand
//! for. The bytes stay here. So there is nothing in them that must not go over a wire, and none that a program makes up
//! can stand for bytes which it has not written to its own codec.

/// TLS's types of records: application data, and an alert for the farewell.
const TYPE_DATA: u8 = 0x17;
const TYPE_ALERT: u8 = 0x15;
/// TLS 1.2, as records of TLS 1.3 say too.
const VERSION: [u8; 2] = [3, 3];
const MAGIC: &[u8; 8] = b"prewasm\0";
const HEAD: usize = 5;
const PAYLOAD: u8 = 20;
/// Every record is as long.
pub(crate) const LENGTH: usize = HEAD + PAYLOAD as usize;

/// Which codec, and which of those that have had its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CodecId {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

/// A record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) codec: CodecId,
    pub(crate) content: Content,
}

/// What a record stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// The next so many bytes of plaintext; none at all only keeps the program waiting for room.
    Plaintext(u32),
    /// No more will come.
    Farewell,
}

impl Record {
    pub(crate) fn encode(&self) -> [u8; LENGTH] {
        let (kind, count) = match self.content {
            Content::Plaintext(count) => (TYPE_DATA, count),
            Content::Farewell => (TYPE_ALERT, 0),
        };
        let mut bytes = [0; LENGTH];
        bytes[0] = kind;
        bytes[1..3].copy_from_slice(&VERSION);
        bytes[4] = PAYLOAD;
        bytes[5..13].copy_from_slice(MAGIC);
        bytes[13..17].copy_from_slice(&self.codec.slot.to_le_bytes());
        bytes[17..21].copy_from_slice(&self.codec.generation.to_le_bytes());
        bytes[21..25].copy_from_slice(&count.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8; LENGTH]) -> Option<Self> {
        let [kind, _, _, _, _, _, _, _, _, _, _, _, _, s0, s1, s2, s3, g0, g1, g2, g3, c0, c1, c2, c3] = *bytes;
        let count = u32::from_le_bytes([c0, c1, c2, c3]);
        let record = Self {
            codec: CodecId {
                slot: u32::from_le_bytes([s0, s1, s2, s3]),
                generation: u32::from_le_bytes([g0, g1, g2, g3]),
            },
            content: if kind == TYPE_ALERT { Content::Farewell } else { Content::Plaintext(count) },
        };
        // Head, magic and all: there is one spelling of a record.
        (record.encode() == *bytes).then_some(record)
    }
}

/// Whether bytes begin with a record; `None` if there are too few to tell.
pub(crate) fn begins_with_record(bytes: &[u8]) -> Option<bool> {
    let mut start = [0; HEAD + MAGIC.len()];
    start[1..3].copy_from_slice(&VERSION);
    start[4] = PAYLOAD;
    start[HEAD..].copy_from_slice(MAGIC);
    let (kind, rest) = bytes.split_first()?;
    let length = rest.len().min(start.len() - 1);
    let is_one = matches!(*kind, TYPE_DATA | TYPE_ALERT) && rest[..length] == start[1..=length];
    if is_one && length < start.len() - 1 { None } else { Some(is_one) }
}

/// Puts records together, whatever the pieces they come in.
#[derive(Debug, Default)]
pub(crate) struct RecordReader {
    partial: [u8; LENGTH],
    length: usize,
}

/// Bytes which are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoRecord;

impl RecordReader {
    /// Takes bytes up to the end of the first record in them, which it gives if it is whole.
    pub(crate) fn take(&mut self, bytes: &mut &[u8]) -> Result<Option<Record>, NoRecord> {
        let length = bytes.len().min(LENGTH - self.length);
        let (piece, rest) = bytes.split_at(length);
        self.partial[self.length..self.length + length].copy_from_slice(piece);
        self.length += length;
        *bytes = rest;
        if self.length < LENGTH {
            return Ok(None);
        }
        self.length = 0;
        Record::decode(&self.partial).map(Some).ok_or(NoRecord)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODEC: CodecId = CodecId { slot: 3, generation: 7 };

    #[test]
    fn records_come_whole_out_of_any_pieces() {
        let records = [Content::Plaintext(5), Content::Plaintext(u32::MAX), Content::Plaintext(0), Content::Farewell]
            .map(|content| Record { codec: CODEC, content });
        let bytes: Vec<u8> = records.iter().flat_map(Record::encode).collect();
        for size in 1..=bytes.len() {
            let mut reader = RecordReader::default();
            let mut found = Vec::new();
            for mut piece in bytes.chunks(size) {
                while !piece.is_empty() {
                    found.extend(reader.take(&mut piece).expect("records"));
                }
            }
            assert_eq!(found, records);
        }
    }

    #[test]
    fn records_are_told_from_other_bytes() {
        let record = Record { codec: CODEC, content: Content::Farewell }.encode();
        for length in 0..=LENGTH {
            assert_eq!(begins_with_record(&record[..length]), (length >= 13).then_some(true));
        }
        assert_eq!(begins_with_record(b"GET"), Some(false));
        assert_eq!(begins_with_record(&[0x17, 3, 3, 1]), Some(false));
    }

    #[test]
    fn every_changed_byte_is_noticed_or_names_another_codec_or_count() {
        let record = Record { codec: CODEC, content: Content::Plaintext(1) };
        for place in 0..LENGTH {
            let mut bytes = record.encode();
            bytes[place] ^= 0x40;
            let found = RecordReader::default().take(&mut bytes.as_slice());
            match place {
                ..13 => assert_eq!(found, Err(NoRecord)),
                _ => assert!(matches!(found, Ok(Some(other)) if other != record)),
            }
        }
    }
}
