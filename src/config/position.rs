//! Places in a text, as editors count them.

use std::fmt;

/// Line and column, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The character within the line.
    pub column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// A text whose places are asked for.
#[derive(Debug)]
pub struct Text<'a> {
    text: &'a str,
    /// Where each line starts.
    lines: Vec<usize>,
}

impl<'a> Text<'a> {
    /// Looks for the lines of a text.
    pub fn new(text: &'a str) -> Self {
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(offset, _)| offset + 1);
        Self { text, lines: std::iter::once(0).chain(breaks).collect() }
    }

    /// The place of a byte.
    pub fn position(&self, offset: usize) -> Position {
        let line = self.lines.partition_point(|start| *start <= offset).saturating_sub(1);
        let before = self.lines.get(line).and_then(|start| self.text.get(*start..offset));
        Position { line: line + 1, column: before.map_or(0, |text| text.chars().count()) + 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_characters() {
        let text = Text::new("a\nöb\n");
        for (offset, expected) in [(0, "1:1"), (1, "1:2"), (2, "2:1"), (4, "2:2"), (6, "3:1"), (99, "3:1")] {
            assert_eq!(text.position(offset).to_string(), expected, "{offset}");
        }
    }
}
