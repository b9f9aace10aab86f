//! Reading TOML so that every problem is found: a value that is wrong is reported and left out, and reading goes on.

mod table;

use std::cell::RefCell;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    position::Text,
    problem::{Problem, What},
    setting::{Origin, Setting},
};

pub use table::Table;

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
