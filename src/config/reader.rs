//! Reading TOML so that every problem is found: a value that is wrong is reported and left out, and reading goes on.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    position::Text,
    problem::{Problem, What},
    setting::{Origin, Setting},
    suggest::closest,
};

/// A document which is being read, and what is wrong with it.
#[derive(Debug)]
pub struct Reading<'a> {
    text: Text<'a>,
    problems: RefCell<Vec<Problem>>,
}

impl<'a> Reading<'a> {
    /// Starts with a text, and what the parser says about it.
    pub fn new(text: &'a str) -> Self {
        Self { text: Text::new(text), problems: RefCell::default() }
    }

    /// Parses the text; what the parser stumbles over is reported, and the rest is returned.
    pub fn parse(&self, text: &'a str) -> Spanned<DeTable<'a>> {
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            let offset = error.span().map_or(0, |span| span.start);
            self.report(self.origin(offset), What::Syntax(error.message().to_owned()));
        }
        table
    }

    /// Whether nothing was reported.
    pub fn is_right(&self) -> bool {
        self.problems.borrow().is_empty()
    }

    /// Reports a problem.
    pub fn report(&self, origin: Origin, what: What) {
        self.problems.borrow_mut().push(Problem { origin, what });
    }

    /// What was reported.
    pub fn into_problems(self) -> Vec<Problem> {
        self.problems.into_inner()
    }

    fn origin(&self, offset: usize) -> Origin {
        Origin::File(self.text.position(offset))
    }
}

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

/// A value in the document, and how to speak about it.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a, 'k> {
    reading: &'a Reading<'a>,
    key: &'k str,
    within: &'k str,
    value: &'a Spanned<DeValue<'a>>,
}

impl<'a> Place<'a, '_> {
    fn read<T: Value>(self) -> Option<Setting<T>> {
        T::read(self).map(|value| Setting::new(value, self.origin()))
    }

    /// The value.
    pub fn value(&self) -> &'a DeValue<'a> {
        self.value.get_ref()
    }

    /// Where the value is.
    pub fn origin(&self) -> Origin {
        self.reading.origin(self.value.span().start)
    }

    /// Reports that the value is of another type.
    pub fn expected<T>(&self, expected: &'static str) -> Option<T> {
        let found = match self.value() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a float",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "an array",
            DeValue::Table(_) => "a table",
        };
        self.reading.report(self.origin(), What::Type { key: self.key.to_owned(), expected, found });
        None
    }

    /// Reports that the value is of the right type, and wrong.
    pub fn wrong<T>(&self, reason: impl ToString) -> Option<T> {
        self.reading.report(self.origin(), What::Value { key: self.key.to_owned(), reason: reason.to_string() });
        None
    }

    /// The text of a string.
    pub fn text(&self, expected: &'static str) -> Option<&'a str> {
        match self.value() {
            DeValue::String(text) => Some(text),
            _ => self.expected(expected),
        }
    }

    /// The table, to take its keys.
    pub fn table(&self) -> Option<Table<'a>> {
        match self.value() {
            DeValue::Table(table) => {
                let name = format!("`{}`", self.key);
                Some(Table::new(self.reading, name, self.origin(), table))
            }
            _ => self.expected("a table"),
        }
    }

    /// The elements of an array which are as expected.
    pub fn elements<T: Value>(&self) -> Option<Vec<Setting<T>>> {
        match self.value() {
            DeValue::Array(array) => {
                let (reading, key, within) = (self.reading, self.key, self.within);
                Some(array.iter().filter_map(|value| Place { reading, key, within, value }.read()).collect())
            }
            _ => self.expected("an array"),
        }
    }
}

/// What a key can hold.
pub trait Value: Sized {
    /// Takes the value, or reports why not.
    fn read(place: Place<'_, '_>) -> Option<Self>;
}

/// A value of a format that is ours, so that there is a schema of it.
pub trait Described: Value {
    /// The schema of what is written.
    fn schema(generator: &mut SchemaGenerator) -> Schema;
}

/// A table with keys of its own.
pub trait Record: Sized {
    /// Takes the keys.
    fn take(table: &mut Table<'_>) -> Self;
}

impl<T: Record> Value for T {
    fn read(place: Place<'_, '_>) -> Option<Self> {
        let mut table = place.table()?;
        let record = T::take(&mut table);
        table.finish();
        Some(record)
    }
}

impl<T: Record + JsonSchema> Described for T {
    fn schema(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<T>()
    }
}

impl<T: Value> Value for Vec<Setting<T>> {
    fn read(place: Place<'_, '_>) -> Option<Self> {
        place.elements()
    }
}

impl<T: Described> Described for Vec<Setting<T>> {
    fn schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "array", "items": T::schema(generator) })
    }
}

/// A table whose keys are the user's.
pub type Named<T> = Vec<(Setting<String>, Setting<T>)>;

impl<T: Value> Value for Named<T> {
    fn read(place: Place<'_, '_>) -> Option<Self> {
        Some(place.table()?.rest())
    }
}

impl<T: Described> Described for Named<T> {
    fn schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object", "additionalProperties": T::schema(generator) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
