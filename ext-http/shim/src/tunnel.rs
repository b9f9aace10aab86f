//! A connection whose bytes go through a codec: the program sends and receives records, which stand for them.

use crate::{
    codec::Codecs,
    errno::Errno,
    queue::{LIMIT, Queue},
    record::{CodecId, Content, Record, RecordReader},
};

/// Between a socket and a codec.
#[derive(Debug, Default)]
pub(crate) struct Tunnel {
    reader: RecordReader,
    /// Known from the first record on.
    codec: Option<CodecId>,
    name: String,
    /// Bytes in the codec whose records have been sent here.
    granted: usize,
    /// The program will write no more.
    has_said_farewell: bool,
    /// Records for the program to receive.
    pub(crate) wire: Queue,
    is_farewell_due: bool,
}

impl Tunnel {
    /// The server's name, as the codec has it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn has_room(&self) -> bool {
        self.granted < LIMIT
    }

    pub(crate) fn has_said_farewell(&self) -> bool {
        self.has_said_farewell && self.granted == 0
    }

    /// Takes all bytes that the program sends: what they stand for waits in the codec, which bounds it.
    pub(crate) fn receive(&mut self, mut bytes: &[u8], codecs: &mut Codecs) -> Result<(), Errno> {
        while !bytes.is_empty() {
            if let Some(record) = self.reader.take(&mut bytes).map_err(|_| Errno::Proto)? {
                self.accept(record, codecs)?;
            }
        }
        Ok(())
    }

    fn accept(&mut self, record: Record, codecs: &mut Codecs) -> Result<(), Errno> {
        match self.codec {
            None => {
                self.name = codecs.bind(record.codec)?;
                self.codec = Some(record.codec);
            }
            Some(codec) if codec == record.codec => {}
            Some(_) => return Err(Errno::Proto),
        }
        match record.content {
            Content::Farewell => self.has_said_farewell = true,
            Content::Plaintext(count) => {
                let granted = usize::try_from(count).ok().and_then(|count| self.granted.checked_add(count));
                self.granted = granted.filter(|all| *all <= codecs.recorded(record.codec)).ok_or(Errno::Proto)?;
            }
        }
        Ok(())
    }

    /// Moves what has been sent out of the codec.
    pub(crate) fn fetch(&mut self, codecs: &mut Codecs, into: &mut Queue) {
        if let Some(codec) = self.codec
            && self.granted > 0
            && into.room() > 0
        {
            let bytes = codecs.fetch(codec, self.granted.min(into.room()));
            // A codec that was closed has nothing any more.
            self.granted = if bytes.is_empty() { 0 } else { self.granted - bytes.len() };
            into.push(&bytes);
        }
    }

    /// Moves an answer into the codec, and makes records for it; after the end of it a farewell.
    pub(crate) fn leave(&mut self, codecs: &mut Codecs, answer: &mut Queue, is_end: bool) {
        let Some(codec) = self.codec else { return };
        while !answer.is_empty() {
            match codecs.leave(codec, answer.bytes()) {
                Some((length, record)) => {
                    answer.consume(length);
                    self.wire.push(&record.encode());
                }
                None if codecs.has(codec) => return,
                None => answer.clear(),
            }
        }
        if is_end && !std::mem::replace(&mut self.is_farewell_due, true) {
            self.wire.push(&Record { codec, content: Content::Farewell }.encode());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_pass_in_both_directions() {
        let mut codecs = Codecs::new();
        let slot = codecs.open(0, b"example.com").expect("a name");
        codecs.write_raw(slot, b"question").expect("room");
        codecs.send_close_notify(slot).expect("open");
        let records = codecs.write_tls(slot, 4096).expect("records");
        let mut tunnel = Tunnel::default();
        for piece in records.chunks(4) {
            tunnel.receive(piece, &mut codecs).expect("records");
        }
        let (mut input, mut output) = (Queue::default(), Queue::default());
        assert!(!tunnel.has_said_farewell(), "not before the bytes");
        tunnel.fetch(&mut codecs, &mut input);
        assert_eq!((tunnel.name(), input.bytes()), ("example.com", b"question".as_slice()));
        assert!(tunnel.has_said_farewell());
        assert_eq!(tunnel.receive(&records[..25], &mut codecs), Err(Errno::Proto), "there is nothing left to grant");
        assert_eq!(tunnel.receive(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", &mut codecs), Err(Errno::Proto));

        output.push(b"answer");
        tunnel.leave(&mut codecs, &mut output, true);
        codecs.read_tls(slot, &tunnel.wire.take(4096)).expect("open");
        codecs.process(slot).expect("records");
        assert_eq!(codecs.read_raw(slot, 99).as_deref(), Ok(b"answer".as_slice()));
        assert_eq!(codecs.read_raw(slot, 99).as_deref(), Ok(b"".as_slice()));
    }
}
