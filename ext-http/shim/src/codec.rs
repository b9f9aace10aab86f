//! WasmEdge's TLS codec, without TLS: the host of `wasi:http` encrypts, and it is the program that carries the bytes.
//!
//! What the program writes to a codec waits here; what it is given to send are records which stand for those bytes.
//! The socket that it sends them on takes the bytes from here, and leaves the answer here too. There is no handshake:
//! published programs do without one when the codec says that it is over.

use crate::{
    errno::Errno,
    queue::{LIMIT, Queue},
    record::{CodecId, Content, Record, RecordReader},
};

/// As many as the native host allows.
const MAX_CODECS: usize = 64;
/// The largest content of a real record.
const MAX_RECORD: usize = 16 * 1024;

const WANTS_READ: i32 = 1;
const WANTS_WRITE: i32 = 2;

/// Why a call did not succeed, in the plugin's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub(crate) enum CodecError {
    Parameter = -1,
    CorruptMessage = -4,
    General = -18,
    WouldBlock = -25,
}

impl CodecError {
    pub(crate) fn code(self) -> i32 {
        self as i32
    }
}

/// One codec.
#[derive(Debug)]
struct Codec {
    name: String,
    generation: u32,
    /// A socket has been sent its records.
    is_bound: bool,
    outgoing: Outgoing,
    incoming: Incoming,
}

#[derive(Debug, Default)]
struct Outgoing {
    plaintext: Queue,
    /// Bytes of `plaintext`, the first ones, for which records have been made.
    recorded: usize,
    records: Queue,
    farewell: Farewell,
}

/// Whether the program has said that it will write no more.
#[derive(Debug, Default, PartialEq, Eq)]
enum Farewell {
    #[default]
    NotSaid,
    Said,
    Recorded,
}

#[derive(Debug, Default)]
struct Incoming {
    plaintext: Queue,
    reader: RecordReader,
    /// Bytes of `plaintext` whose records the program has handed in.
    announced: usize,
    /// Those of them which it may read.
    readable: usize,
    farewell_announced: bool,
    has_ended: bool,
    is_corrupt: bool,
}

/// The codecs of one run.
#[derive(Debug)]
pub(crate) struct Codecs {
    slots: Vec<Option<Codec>>,
    generations: u32,
}

impl Codecs {
    pub(crate) const fn new() -> Self {
        Self { slots: Vec::new(), generations: 0 }
    }

    pub(crate) fn open(&mut self, config: i32, name: &[u8]) -> Result<i32, CodecError> {
        let name = std::str::from_utf8(name).map_err(|_| CodecError::Parameter)?;
        let is_host = crate::names::is_name(name) || name.parse::<std::net::IpAddr>().is_ok();
        // There is one configuration.
        if config != 0 || !is_host {
            return Err(CodecError::Parameter);
        }
        let slot = self.slots.iter().position(Option::is_none).unwrap_or(self.slots.len());
        if slot >= MAX_CODECS {
            return Err(CodecError::General);
        }
        if slot == self.slots.len() {
            self.slots.push(None);
        }
        self.generations = self.generations.wrapping_add(1);
        self.slots[slot] = Some(Codec {
            name: name.to_owned(),
            generation: self.generations,
            is_bound: false,
            outgoing: Outgoing::default(),
            incoming: Incoming::default(),
        });
        i32::try_from(slot).map_err(|_| CodecError::General)
    }

    /// Forgets a codec; one that does not exist is no error.
    pub(crate) fn close(&mut self, slot: i32) {
        if let Some(slot) = usize::try_from(slot).ok().and_then(|slot| self.slots.get_mut(slot)) {
            *slot = None;
        }
    }

    fn get(&mut self, slot: i32) -> Result<&mut Codec, CodecError> {
        let slot = usize::try_from(slot).ok().and_then(|slot| self.slots.get_mut(slot));
        slot.and_then(Option::as_mut).ok_or(CodecError::Parameter)
    }

    /// Only whether there is such a codec can be wrong.
    pub(crate) fn is_handshaking(&mut self, slot: i32) -> Result<i32, CodecError> {
        self.get(slot).map(|_| 0)
    }

    pub(crate) fn wants(&mut self, slot: i32) -> Result<i32, CodecError> {
        let codec = self.get(slot)?;
        let read = if codec.incoming.wants_more() { WANTS_READ } else { 0 };
        let write = if codec.outgoing.wants_to_go() { WANTS_WRITE } else { 0 };
        Ok(read | write)
    }

    pub(crate) fn send_close_notify(&mut self, slot: i32) -> Result<i32, CodecError> {
        let outgoing = &mut self.get(slot)?.outgoing;
        if outgoing.farewell == Farewell::NotSaid {
            outgoing.farewell = Farewell::Said;
        }
        Ok(0)
    }

    pub(crate) fn process(&mut self, slot: i32) -> Result<i32, CodecError> {
        let incoming = &mut self.get(slot)?.incoming;
        if incoming.is_corrupt {
            return Err(CodecError::CorruptMessage);
        }
        incoming.readable += std::mem::take(&mut incoming.announced);
        incoming.has_ended = incoming.farewell_announced;
        Ok(0)
    }

    /// Word 0: bytes to write; 1: plaintext to read; 2: whether the peer has closed.
    pub(crate) fn state(&mut self, slot: i32, word: u32) -> u32 {
        let Ok(codec) = self.get(slot) else { return 0 };
        let length = match word {
            0 => codec.outgoing.records.len() + codec.outgoing.unrecorded(),
            1 => codec.incoming.readable,
            2 => codec.incoming.has_ended.into(),
            _ => 0,
        };
        // Bounded by the queues.
        u32::try_from(length).unwrap_or(u32::MAX)
    }

    /// Takes plaintext; how much, which may be less than offered.
    pub(crate) fn write_raw(&mut self, slot: i32, plaintext: &[u8]) -> Result<i32, CodecError> {
        let outgoing = &mut self.get(slot)?.outgoing;
        let length = plaintext.len().min(LIMIT.saturating_sub(outgoing.unrecorded()));
        outgoing.plaintext.push(&plaintext[..length]);
        i32::try_from(length).map_err(|_| CodecError::General)
    }

    /// Plaintext which has come; none is the end.
    pub(crate) fn read_raw(&mut self, slot: i32, max: usize) -> Result<Vec<u8>, CodecError> {
        let incoming = &mut self.get(slot)?.incoming;
        if incoming.readable == 0 && !incoming.has_ended {
            return Err(CodecError::WouldBlock);
        }
        let bytes = incoming.plaintext.take(max.min(incoming.readable));
        incoming.readable -= bytes.len();
        Ok(bytes)
    }

    /// Records for the program to send.
    pub(crate) fn write_tls(&mut self, slot: i32, max: usize) -> Result<Vec<u8>, CodecError> {
        let codec = self.get(slot)?;
        let id = CodecId { slot: slot.cast_unsigned(), generation: codec.generation };
        if max == 0 {
            return Ok(Vec::new());
        }
        codec.outgoing.make_records(id);
        Ok(codec.outgoing.records.take(max))
    }

    /// Takes all records which the program has received: what they stand for is here already. What is wrong with them,
    /// processing tells.
    pub(crate) fn read_tls(&mut self, slot: i32, mut records: &[u8]) -> Result<i32, CodecError> {
        let length = i32::try_from(records.len()).map_err(|_| CodecError::Parameter)?;
        let codec = self.get(slot)?;
        let own = CodecId { slot: slot.cast_unsigned(), generation: codec.generation };
        while !records.is_empty() && !codec.incoming.is_corrupt {
            match codec.incoming.reader.take(&mut records) {
                Ok(None) => {}
                Ok(Some(record)) if record.codec == own => codec.incoming.announce(record.content),
                Ok(Some(_)) | Err(_) => codec.incoming.is_corrupt = true,
            }
        }
        Ok(length)
    }
}

impl Outgoing {
    fn unrecorded(&self) -> usize {
        self.plaintext.len() - self.recorded
    }

    fn wants_to_go(&self) -> bool {
        !self.records.is_empty() || self.unrecorded() > 0 || self.farewell == Farewell::Said
    }

    /// As many as there may be. If the socket does not take the bytes of those that there are, the program gets a record
    /// which stands for none: on sending it, it will be told to wait.
    fn make_records(&mut self, codec: CodecId) {
        while self.unrecorded() > 0 && self.recorded < LIMIT {
            let length = self.unrecorded().min(MAX_RECORD).min(LIMIT - self.recorded);
            let Ok(count) = u32::try_from(length) else { return };
            self.records.push(&Record { codec, content: Content::Plaintext(count) }.encode());
            self.recorded += length;
        }
        if self.unrecorded() > 0 && self.records.is_empty() {
            self.records.push(&Record { codec, content: Content::Plaintext(0) }.encode());
        }
        if self.unrecorded() == 0 && self.farewell == Farewell::Said {
            self.records.push(&Record { codec, content: Content::Farewell }.encode());
            self.farewell = Farewell::Recorded;
        }
    }
}

impl Incoming {
    /// As rustls has it: while there is something to read, the program is not to fetch more.
    fn wants_more(&self) -> bool {
        self.readable == 0 && !self.has_ended
    }

    fn announce(&mut self, content: Content) {
        match content {
            Content::Farewell => self.farewell_announced = true,
            Content::Plaintext(count) => {
                let count = usize::try_from(count).unwrap_or(usize::MAX);
                let left = self.plaintext.len() - self.announced - self.readable;
                if count > left {
                    self.is_corrupt = true;
                } else {
                    self.announced += count;
                }
            }
        }
    }
}

/// What the sockets do.
impl Codecs {
    /// The server's name of the codec whose record is sent first on a socket. A codec has one socket.
    pub(crate) fn bind(&mut self, id: CodecId) -> Result<String, Errno> {
        let codec = self.of(id).ok_or(Errno::Proto)?;
        if std::mem::replace(&mut codec.is_bound, true) { Err(Errno::Proto) } else { Ok(codec.name.clone()) }
    }

    fn of(&mut self, id: CodecId) -> Option<&mut Codec> {
        let codec = usize::try_from(id.slot).ok().and_then(|slot| self.slots.get_mut(slot))?.as_mut()?;
        (codec.generation == id.generation).then_some(codec)
    }

    /// How many bytes there are records for.
    pub(crate) fn recorded(&mut self, id: CodecId) -> usize {
        self.of(id).map_or(0, |codec| codec.outgoing.recorded)
    }

    /// Moves up to `max` bytes for which there are records out of the codec.
    pub(crate) fn fetch(&mut self, id: CodecId, max: usize) -> Vec<u8> {
        let Some(codec) = self.of(id) else { return Vec::new() };
        let bytes = codec.outgoing.plaintext.take(max.min(codec.outgoing.recorded));
        codec.outgoing.recorded -= bytes.len();
        bytes
    }

    /// Leaves as much of an answer in the codec as there is room for, and gives the record for it. `None`: no room, or no
    /// such codec any more.
    pub(crate) fn leave(&mut self, id: CodecId, answer: &[u8]) -> Option<(usize, Record)> {
        let incoming = &mut self.of(id)?.incoming;
        let length = incoming.plaintext.push_up_to_limit(&answer[..answer.len().min(MAX_RECORD)]);
        let count = u32::try_from(length).ok().filter(|count| *count > 0)?;
        Some((length, Record { codec: id, content: Content::Plaintext(count) }))
    }

    /// Whether the codec is still there.
    pub(crate) fn has(&mut self, id: CodecId) -> bool {
        self.of(id).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a socket does with records: takes the bytes they stand for.
    fn deliver(codecs: &mut Codecs, records: &[u8]) -> Vec<u8> {
        let mut reader = RecordReader::default();
        let mut rest = records;
        let mut all = Vec::new();
        while !rest.is_empty() {
            if let Some(Record { codec, content: Content::Plaintext(count) }) = reader.take(&mut rest).expect("records")
            {
                all.extend(codecs.fetch(codec, count as usize));
            }
        }
        all
    }

    #[test]
    fn plaintext_goes_by_reference_both_ways() {
        let mut codecs = Codecs::new();
        let slot = codecs.open(0, b"example.com").expect("a name");
        assert_eq!(codecs.wants(slot), Ok(WANTS_READ));
        assert_eq!(codecs.write_raw(slot, b"GET / HTTP/1.1"), Ok(14));
        assert_eq!(codecs.wants(slot), Ok(WANTS_READ | WANTS_WRITE));
        let records = codecs.write_tls(slot, 4096).expect("records");
        assert!(!records.windows(3).any(|window| window == b"GET"), "no plaintext leaves");
        assert_eq!(codecs.wants(slot), Ok(WANTS_READ));
        let id = CodecId { slot: 0, generation: 1 };
        assert_eq!(codecs.bind(id).as_deref(), Ok("example.com"));
        assert_eq!(codecs.bind(id), Err(Errno::Proto), "to one socket only");
        assert_eq!(deliver(&mut codecs, &records), b"GET / HTTP/1.1");
        assert_eq!(deliver(&mut codecs, &records), b"", "a record does not count twice");

        let (length, record) = codecs.leave(id, b"HTTP/1.1 200 OK").expect("room");
        assert_eq!(length, 15);
        assert_eq!(codecs.read_raw(slot, 99), Err(CodecError::WouldBlock));
        for piece in record.encode().chunks(7) {
            assert_eq!(codecs.read_tls(slot, piece), Ok(i32::try_from(piece.len()).expect("small")));
        }
        assert_eq!(codecs.process(slot), Ok(0));
        assert_eq!((codecs.state(slot, 1), codecs.wants(slot)), (15, Ok(0)));
        assert_eq!(codecs.read_raw(slot, 4).as_deref(), Ok(b"HTTP".as_slice()));
        assert_eq!(codecs.read_raw(slot, 99).as_deref(), Ok(b"/1.1 200 OK".as_slice()));
        let farewell = Record { codec: id, content: Content::Farewell }.encode();
        assert_eq!(codecs.read_tls(slot, &farewell), Ok(25));
        assert_eq!(codecs.process(slot), Ok(0));
        assert_eq!((codecs.state(slot, 2), codecs.read_raw(slot, 9).as_deref()), (1, Ok([].as_slice())));
    }

    #[test]
    fn a_full_codec_takes_no_more_and_keeps_the_program_waiting() {
        let mut codecs = Codecs::new();
        let slot = codecs.open(0, b"h").expect("a name");
        let much = vec![1; 2 * LIMIT];
        assert_eq!(codecs.write_raw(slot, &much), Ok(LIMIT as i32));
        assert_eq!(codecs.write_raw(slot, &much), Ok(0));
        let records = codecs.write_tls(slot, 4096).expect("records");
        assert_eq!(records.len() / crate::record::LENGTH, LIMIT / MAX_RECORD);
        assert_eq!(codecs.write_raw(slot, &much), Ok(LIMIT as i32), "what has its records makes room");
        assert_eq!(codecs.wants(slot).map(|wants| wants & WANTS_WRITE), Ok(WANTS_WRITE));
        let idle = codecs.write_tls(slot, 4096).expect("records");
        assert_eq!(idle.len(), crate::record::LENGTH);
        assert_eq!(deliver(&mut codecs, &idle), b"", "stands for nothing");
        assert_eq!(deliver(&mut codecs, &records).len(), LIMIT);
    }

    #[test]
    fn made_up_records_lead_to_nothing() {
        let mut codecs = Codecs::new();
        let slot = codecs.open(0, b"h").expect("a name");
        let id = CodecId { slot: 0, generation: 1 };
        assert_eq!(codecs.bind(CodecId { generation: 2, ..id }), Err(Errno::Proto));
        assert_eq!(codecs.fetch(id, 100), b"");
        let record = Record { codec: id, content: Content::Plaintext(1) };
        assert_eq!(codecs.read_tls(slot, &record.encode()), Ok(25));
        assert_eq!(codecs.process(slot), Err(CodecError::CorruptMessage));
        assert_eq!(codecs.read_tls(slot, b"HTTP/1.1 200 OK"), Ok(15));
        codecs.close(slot);
        codecs.close(99);
        assert_eq!(codecs.wants(slot), Err(CodecError::Parameter));
        assert_eq!(codecs.open(1, b"h"), Err(CodecError::Parameter));
        assert_eq!(codecs.open(0, b"a b"), Err(CodecError::Parameter));
        for number in 0..MAX_CODECS {
            assert_eq!(codecs.open(0, b"h"), Ok(number as i32));
        }
        assert_eq!(codecs.open(0, b"h"), Err(CodecError::General));
    }
}
