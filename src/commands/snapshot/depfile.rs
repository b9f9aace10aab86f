//! `--depfile`: what the output depends on, as a rule which Make and Ninja understand.

use std::path::{Path, PathBuf};

use super::declared::{Declared, Entry, EntryKind};
use crate::exit::Failure;

/// The rule. A rule without a recipe follows for each dependency, so that one which is deleted later is no error but a
/// reason to build again (as with the compilers' option `-MP`).
///
/// `written` are files that the build writes: what depends on them would never be up to date.
pub(super) fn text(output: &Path, files: &[&Path], declared: &Declared, written: &[&Path]) -> Result<String, Failure> {
    let written: Vec<_> = written.iter().filter_map(|path| place(path)).collect();
    let is_written = |path: &Path| {
        // Writing a file also changes the folder that it is in.
        let is = |path: &Path| written.iter().any(|written| written == path || written.parent() == Some(path));
        path.canonicalize().is_ok_and(|path| is(&path))
    };
    // Another link in the place of one is a change of its folder; Make would look at what it leads to.
    let has_time = |entry: &&Entry| matches!(entry.kind, EntryKind::File | EntryKind::Folder);
    let found = declared.entries.iter().filter(has_time).map(|entry| entry.path.as_path());
    let mut dependencies = Vec::new();
    for path in files.iter().copied().chain(found.filter(|path| !is_written(path))) {
        let name = escape(path)?;
        if !dependencies.contains(&name) {
            dependencies.push(name);
        }
    }
    // Make takes `target: name=…` for the setting of a variable, but only directly behind the colon.
    dependencies.sort_by_key(|name| name.contains('='));
    if let Some(first) = dependencies.first().filter(|first| first.contains('=')) {
        return Err(unwritable(Path::new(first)));
    }
    let mut text = format!("{}:", escape(output)?);
    dependencies.iter().for_each(|name| text.extend([" \\\n  ", name]));
    text.push('\n');
    for name in dependencies.iter().filter(|name| !name.contains('=')) {
        text.extend(["\n", name, ":\n"]);
    }
    Ok(text)
}

/// Where a file is, or will be.
fn place(path: &Path) -> Option<PathBuf> {
    let folder = path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
    Some(folder.canonicalize().ok()?.join(path.file_name()?))
}

/// A name as both Make and Ninja read it.
fn escape(path: &Path) -> Result<String, Failure> {
    let name = path.to_str().ok_or_else(|| unwritable(path))?;
    let mut escaped = String::new();
    let mut last = ' ';
    for c in name.chars() {
        match c {
            // Here the two count backslashes in different ways.
            ' ' | '#' | ':' if last == '\\' => return Err(unwritable(path)),
            ' ' | '#' | ':' => escaped.extend(['\\', c]),
            '$' => escaped.push_str("$$"),
            // For these, there is no spelling that both understand.
            ';' | '|' => return Err(unwritable(path)),
            c if c.is_control() => return Err(unwritable(path)),
            c => escaped.push(c),
        }
        last = c;
    }
    // It would continue the line.
    if last == '\\' {
        return Err(unwritable(path));
    }
    Ok(escaped)
}

fn unwritable(path: &Path) -> Failure {
    Failure::usage(format_args!(
        "`{}` cannot be named in a depfile: Make and Ninja have no common spelling for it\n  hint: rename it, or leave `--depfile` out",
        path.display().to_string().escape_debug()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(output: &str, files: &[&str]) -> Result<String, Failure> {
        let files: Vec<_> = files.iter().map(Path::new).collect();
        text(Path::new(output), &files, &Declared { entries: Vec::new() }, &[])
    }

    #[test]
    fn what_has_a_meaning_for_make_is_escaped() {
        let text = rule("a b.wasm", &["x#y", "$z", "c:d", "x#y", r"e\f"]).expect("writable");
        let expected =
            "a\\ b.wasm: \\\n  x\\#y \\\n  $$z \\\n  c\\:d \\\n  e\\f\n\nx\\#y:\n\n$$z:\n\nc\\:d:\n\ne\\f:\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn an_equals_sign_does_not_come_first() {
        let text = rule("o", &["a=b", "c"]).expect("writable");
        assert_eq!(text, "o: \\\n  c \\\n  a=b\n\nc:\n");
        assert!(rule("o", &["a=b"]).is_err());
    }

    #[test]
    fn names_without_a_common_spelling_are_refused() {
        for name in ["a\nb", "a;b", "a|b", "a\\ b", "a\\"] {
            assert!(rule("o", &["x", name]).is_err(), "{name}");
        }
    }
}
