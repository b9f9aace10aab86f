//! Differences for people.

use std::fmt;

use super::{Change, Detail, Difference, Few, First, MemoryDifference, ModuleDifference, Place, Provenance};

/// Names and values are cut here: a file may say anything.
const MAX_TEXT: usize = 200;

/// Text from a file, for a terminal: cut, without control characters and marks which change the direction of writing.
pub(super) fn printable(text: &str) -> String {
    let mut printable = String::new();
    for (count, c) in text.chars().enumerate() {
        if count == MAX_TEXT {
            printable.push('…');
            break;
        }
        let is_mark =
            matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
        match c.is_control() || is_mark {
            true => printable.extend(c.escape_unicode()),
            false => printable.push(c),
        }
    }
    printable
}

/// A size in bytes.
pub(super) fn size(bytes: u64) -> String {
    format!("{bytes} bytes")
}

/// Several lines, the last without its end.
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (a, b) = (printable(&self.a.name), printable(&self.b.name));
        if self.same {
            return write!(f, "`{a}` and `{b}` are the same: {} bytes, sha256 {}", self.a.bytes, self.a.sha256);
        }
        write!(f, "`{a}` ({} bytes) and `{b}` ({} bytes) differ", self.a.bytes, self.b.bytes)?;
        write!(f, "{}", self.provenance)?;
        if let Some(first) = &self.first {
            write!(f, "{first}")?;
        }
        write_changes(f, "sections", &self.sections)?;
        self.modules.first.iter().try_for_each(|module| write!(f, "{module}"))?;
        write_more(f, "modules", &self.modules)
    }
}

impl fmt::Display for Provenance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for missing in &self.missing {
            write!(f, "\n  {missing}")?;
        }
        if !self.fields.is_empty() {
            write!(f, "\n  made in different ways, so that their bytes cannot be the same")?;
        }
        write_changes(f, "provenance", &self.fields)
    }
}

impl fmt::Display for First {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n  first at offset {:#x}", self.offset)?;
        match (&self.a, &self.b) {
            (Some(a), Some(b)) if a == b => write!(f, ": {a}"),
            (a, b) => {
                let text =
                    |place: &Option<Place>| place.as_ref().map_or_else(|| "nothing".to_owned(), Place::to_string);
                write!(f, ": {}; in the other, {}", text(a), text(b))
            }
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "section {} ({})", self.index, self.section)?;
        if let Some(within) = &self.within {
            write!(f, " of {within}")?;
        }
        match (&self.detail, self.offset) {
            (Some(detail), _) => write!(f, ", {detail}"),
            (None, Some(offset)) => write!(f, ", {offset:#x} into it"),
            (None, None) => write!(f, ", in its header"),
        }
    }
}

impl fmt::Display for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Function { index, name, offset } => {
                write!(f, "function {index}")?;
                if let Some(name) = name {
                    write!(f, " `{name}`")?;
                }
                write!(f, ", {offset:#x} into it")
            }
            Self::Data { segment, memory, address } => {
                write!(f, "segment {segment}")?;
                match (memory, address) {
                    (Some(memory), Some(address)) => write!(f, ", memory {memory} at {address:#x}"),
                    (Some(memory), None) => write!(f, ", for memory {memory}"),
                    (None, _) => write!(f, ", passive"),
                }
            }
        }
    }
}

impl fmt::Display for ModuleDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(module) = &self.module {
            write!(f, "\n {module}")?;
        }
        self.memories.iter().try_for_each(|memory| write!(f, "{memory}"))?;
        let Self { module: _, memories: _, globals, functions, imports, exports } = self;
        for (name, changes) in
            [("globals", globals), ("functions", functions), ("imports", imports), ("exports", exports)]
        {
            write_changes(f, name, changes)?;
        }
        Ok(())
    }
}

impl fmt::Display for MemoryDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n  memory {}: ", self.memory)?;
        match self.bytes {
            None => write!(f, "what it starts with depends on imports")?,
            Some(bytes) => write!(f, "{bytes} bytes in {} ranges", self.ranges.count)?,
        }
        if let Some(pages) = self.pages {
            let text = |pages: Option<u64>| pages.map_or_else(|| "none".to_owned(), |pages| pages.to_string());
            write!(f, ", {} -> {} pages", text(pages.a), text(pages.b))?;
        }
        for range in &self.ranges.first {
            write!(f, "\n    {:#x}..{:#x}", range.start, range.end)?;
        }
        write_more(f, "ranges", &self.ranges)
    }
}

fn write_changes(f: &mut fmt::Formatter<'_>, name: &str, changes: &Few<Change>) -> fmt::Result {
    if changes.is_empty() {
        return Ok(());
    }
    write!(f, "\n  {name}: {}", changes.count)?;
    for Change { what, a, b } in &changes.first {
        let text = |side: &Option<String>| side.clone().unwrap_or_else(|| "none".to_owned());
        match a == b {
            true => write!(f, "\n    {what}: {}, of other content", text(a))?,
            false => write!(f, "\n    {what}: {} -> {}", text(a), text(b))?,
        }
    }
    write_more(f, name, changes)
}

fn write_more<T>(f: &mut fmt::Formatter<'_>, name: &str, few: &Few<T>) -> fmt::Result {
    match few.count.saturating_sub(few.first.len() as u64) {
        0 => Ok(()),
        more => write!(f, "\n    and {more} more {name}"),
    }
}
