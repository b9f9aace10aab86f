//! Bytes on their way.

/// How many bytes wait at one place: as much as the gateway's own streams hold.
pub(crate) const LIMIT: usize = 64 * 1024;

/// Bytes in the order in which they came, all in one piece, since parsers and hosts take slices.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    bytes: Vec<u8>,
    /// Those before are gone.
    start: usize,
}

impl Queue {
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many more bytes should come before some have gone.
    pub(crate) fn room(&self) -> usize {
        LIMIT.saturating_sub(self.len())
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 && self.bytes.len() + bytes.len() > self.bytes.capacity() {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// For encoders which append.
    pub(crate) fn push_with(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        encode(&mut self.bytes);
    }

    /// Pushes as much as there is room for, and tells how much that was.
    pub(crate) fn push_up_to_limit(&mut self, bytes: &[u8]) -> usize {
        let length = bytes.len().min(self.room());
        self.push(&bytes[..length]);
        length
    }

    /// Lets the first bytes go; more than there are is all of them.
    pub(crate) fn consume(&mut self, length: usize) {
        self.start += length.min(self.len());
        if self.start == self.bytes.len() {
            self.clear();
        }
    }

    pub(crate) fn take(&mut self, max: usize) -> Vec<u8> {
        let taken = self.peek(max);
        self.consume(taken.len());
        taken
    }

    pub(crate) fn peek(&self, max: usize) -> Vec<u8> {
        let bytes = self.bytes();
        bytes[..bytes.len().min(max)].to_vec()
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.start = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_leave_in_the_order_in_which_they_came() {
        let mut queue = Queue::default();
        queue.push(b"abc");
        assert_eq!(queue.take(2), b"ab");
        queue.push(b"de");
        assert_eq!(queue.bytes(), b"cde");
        assert_eq!(queue.peek(9), b"cde");
        queue.consume(9);
        assert!(queue.is_empty());
        assert_eq!(queue.push_up_to_limit(&vec![0; LIMIT + 1]), LIMIT);
        assert_eq!(queue.push_up_to_limit(&[0]), 0);
    }
}
