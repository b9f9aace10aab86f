//! Tables, of which keys are taken one by one.

use std::collections::{BTreeMap, BTreeSet};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{Place, Reading, Value};
use crate::config::{
    problem::What,
    setting::{Origin, Setting},
    suggest::closest,
};

/// A table of which keys are taken one by one; those that are left over in the end are unknown.
#[derive(Debug)]
pub struct Table<'a> {
    reading: &'a Reading<'a>,
    /// What the table is called in messages.
    name: String,
    origin: Origin,
    entries: BTreeMap<&'a str, (Origin, &'a Spanned<DeValue<'a>>)>,
    known: BTreeSet<&'static str>,
}

impl<'a> Table<'a> {
    /// The keys of a table.
    pub fn new(reading: &'a Reading<'a>, name: impl Into<String>, origin: Origin, table: &'a DeTable<'a>) -> Self {
        let entries = table.iter().map(|(key, value)| {
            let text: &str = key.get_ref();
            (text, (reading.origin(key.span().start), value))
        });
        Self { reading, name: name.into(), origin, entries: entries.collect(), known: BTreeSet::new() }
    }

    /// The whole document.
    pub fn root(reading: &'a Reading<'a>, table: &'a Spanned<DeTable<'a>>) -> Self {
        Self::new(reading, "the file", Origin::Default, table.get_ref())
    }

    /// Where a key is that was not taken yet.
    pub fn origin_of(&self, key: &str) -> Option<Origin> {
        self.entries.get(key).map(|(origin, _)| *origin)
    }

    /// The value of a key, if it is there and as expected.
    pub fn optional<T: Value>(&mut self, key: &'static str) -> Option<Setting<T>> {
        self.known.insert(key);
        let (_, value) = self.entries.remove(key)?;
        Place { reading: self.reading, key, within: &self.name, value }.read()
    }

    /// The value of a key which must be there.
    pub fn required<T: Value>(&mut self, key: &'static str) -> Option<Setting<T>> {
        if !self.entries.contains_key(key) {
            self.report(self.origin, What::MissingKey { key: key.to_owned(), within: self.name.clone() });
        }
        self.optional(key)
    }

    /// Everything that is left, as values of one type.
    pub fn rest<T: Value>(&mut self) -> Vec<(Setting<String>, Setting<T>)> {
        let (reading, within) = (self.reading, &self.name);
        let entries = std::mem::take(&mut self.entries).into_iter();
        let read = entries.filter_map(|(key, (origin, value))| {
            let read = Place { reading, key, within, value }.read()?;
            Some((Setting::new(key.to_owned(), origin), read))
        });
        read.collect()
    }

    /// A key which is known, and has no meaning here.
    pub fn ignore(&mut self, key: &'static str) {
        self.known.insert(key);
        self.entries.remove(key);
    }

    /// Everything that is left has no meaning here.
    pub fn ignore_rest(&mut self) {
        self.entries.clear();
    }

    /// A key which other versions or hosts have; it is not supported unless its value is empty.
    pub fn refuse(&mut self, key: &str, remedy: Option<&'static str>) {
        let Some((origin, value)) = self.entries.remove(key) else { return };
        let is_empty = match value.get_ref() {
            DeValue::Array(array) => array.is_empty(),
            DeValue::Table(table) => table.is_empty(),
            _ => false,
        };
        if !is_empty {
            self.report(origin, What::NotSupported { what: format!("`{key}` in {}", self.name), remedy });
        }
    }

    /// Everything that is left is not supported.
    pub fn refuse_rest(&mut self, remedy: Option<&'static str>) {
        let keys: Vec<_> = self.entries.keys().copied().collect();
        for key in keys {
            self.refuse(key, remedy);
        }
    }

    /// Reports a problem.
    pub fn report(&self, origin: Origin, what: What) {
        self.reading.report(origin, what);
    }

    /// Reports the keys that are left over, and returns those that are known.
    pub fn finish(self) -> BTreeSet<&'static str> {
        for (key, (origin, _)) in &self.entries {
            let suggestion = closest(key, self.known.iter().copied()).map(str::to_owned);
            let what = What::UnknownKey { key: (*key).to_owned(), within: self.name.clone(), suggestion };
            self.report(*origin, what);
        }
        self.known
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::problem::Problem;

    fn problems(text: &str, take: impl FnOnce(&mut Table<'_>)) -> Vec<String> {
        let reading = Reading::new(text);
        {
            let parsed = reading.parse(text);
            let mut table = Table::root(&reading, &parsed);
            take(&mut table);
            table.finish();
        }
        let mut problems = reading.into_problems();
        problems.sort_by_key(|problem| problem.origin);
        problems.iter().map(|Problem { origin, what }| format!("{origin:?} {what}")).collect()
    }

    #[test]
    fn reading_goes_on_behind_a_problem() {
        let found = problems("size = true\nname = 3\nother = 1\n", |table| {
            assert!(table.optional::<u32>("size").is_none());
            assert!(table.optional::<String>("name").is_none());
            assert!(table.required::<String>("missing").is_none());
        });
        let expected = ["`size` must be", "`name` must be", "unknown key `other`", "the file needs `missing`"];
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.contains(expected), "{found}");
        }
    }

    #[test]
    fn several_syntax_errors_are_found_in_one_go() {
        let found = problems("a = \nb = 'x\nc = 1\n", |table| {
            table.ignore("a");
            table.ignore("b");
            assert_eq!(table.optional::<u32>("c").map(|c| c.value), Some(1));
        });
        assert!(found.len() >= 2, "{found:#?}");
    }

    #[test]
    fn what_is_not_supported_may_be_empty() {
        let refuse = |table: &mut Table<'_>| table.refuse("stores", Some("do without"));
        assert_eq!(problems("stores = []", refuse), [""; 0]);
        assert!(problems("stores = ['a']", refuse)[0].contains("not supported\n  hint: do without"));
    }
}
