//! Finding out whether a head is worth parsing.

/// Looks for empty lines in bytes that grow. Parsing a head anew at each further byte would cost its square.
#[derive(Clone, Copy, Debug, Default)]
pub struct HeadScan {
    at: usize,
}

impl HeadScan {
    /// From the beginning.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether there is an empty line which was not found before. It ends a head, or came before one.
    pub fn finds_end(&mut self, bytes: &[u8]) -> bool {
        while let Some(offset) = bytes.get(self.at..).and_then(|rest| rest.iter().position(|byte| *byte == b'\n')) {
            let after = self.at + offset + 1;
            match &bytes[after..] {
                // The next bytes will tell.
                [] | [b'\r'] => return false,
                [b'\n', ..] | [b'\r', b'\n', ..] => {
                    self.at = after;
                    return true;
                }
                _ => self.at = after,
            }
        }
        self.at = bytes.len();
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_empty_line_is_found_once() {
        let bytes = b"a\r\nb\r\n\r\nc\n\nd";
        let mut scan = HeadScan::new();
        let found: Vec<_> = (0..=bytes.len()).filter(|end| scan.finds_end(&bytes[..*end])).collect();
        assert_eq!(found, [8, 11]);
    }
}
