//! The configuration that holds, written down again: as a `prewasm.toml`, or as JSON.

mod describe;

use std::fmt::Write as _;

use serde_json::{Map, json};

use super::{effective::Config, setting::Origin};

/// Version of the JSON.
const SCHEMA_VERSION: u32 = 1;

/// A configuration as it is shown.
#[derive(Debug)]
pub struct Shown(Vec<(&'static str, Node)>);

/// A part of it.
#[derive(Debug)]
enum Node {
    Value(toml::Value, Origin),
    /// A value which comes from elsewhere, and a remark that says from where.
    Secret(toml::Value, Origin, String),
    /// What `prewasm.toml` has no key for.
    Remark(toml::Value, Origin),
    Table(Vec<(String, Node)>),
    List(Vec<Node>),
}

impl Shown {
    /// Describes a configuration.
    pub fn of(config: &Config) -> Self {
        Self(describe::describe(config))
    }

    /// As a `prewasm.toml`.
    pub fn toml(&self, with_origin: bool) -> String {
        let mut text = String::new();
        for (name, node) in &self.0 {
            write_node(&mut text, name, node, with_origin);
        }
        text.trim_start().to_owned()
    }

    /// As JSON; where values come from is a map of JSON pointers.
    pub fn json(&self, with_origin: bool) -> serde_json::Value {
        let mut object = Map::from_iter([("schemaVersion".to_owned(), json!(SCHEMA_VERSION))]);
        let mut origins = Map::new();
        for (name, node) in &self.0 {
            object.insert((*name).to_owned(), to_json(node, &format!("/{name}"), &mut origins));
        }
        if with_origin {
            object.insert("origins".to_owned(), origins.into());
        }
        object.into()
    }
}

/// Writing to a string cannot fail.
fn write_node(text: &mut String, path: &str, node: &Node, with_origin: bool) {
    match node {
        Node::List(tables) => {
            for table in tables {
                let _ = writeln!(text, "\n[[{path}]]");
                write_table(text, path, table, with_origin);
            }
        }
        table => {
            let _ = writeln!(text, "\n[{path}]");
            write_table(text, path, table, with_origin);
        }
    }
}

/// Values first: what follows the heading of an inner table is that table's.
fn write_table(text: &mut String, path: &str, node: &Node, with_origin: bool) {
    let Node::Table(entries) = node else { return };
    for (key, node) in entries {
        let key = spelled(key);
        let _ = match node {
            Node::Value(value, origin) if with_origin => writeln!(text, "{key} = {value}  # {origin}"),
            Node::Value(value, _) => writeln!(text, "{key} = {value}"),
            Node::Secret(value, origin, remark) if with_origin => {
                writeln!(text, "{key} = {value}  # {origin} {remark}")
            }
            Node::Secret(value, _, remark) => writeln!(text, "{key} = {value}  # {remark}"),
            Node::Remark(value, origin) if with_origin => writeln!(text, "# {key} = {value}  # {origin}"),
            Node::Remark(value, _) => writeln!(text, "# {key} = {value}"),
            Node::Table(_) | Node::List(_) => Ok(()),
        };
    }
    for (key, node) in entries {
        if let Node::Table(_) | Node::List(_) = node {
            write_node(text, &format!("{path}.{}", spelled(key)), node, with_origin);
        }
    }
}

/// A key, in quotes if it needs them.
fn spelled(key: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    match !key.is_empty() && key.chars().all(is_bare) {
        true => key.to_owned(),
        false => toml::Value::from(key).to_string(),
    }
}

fn to_json(node: &Node, pointer: &str, origins: &mut Map<String, serde_json::Value>) -> serde_json::Value {
    match node {
        Node::Value(value, origin) | Node::Secret(value, origin, _) | Node::Remark(value, origin) => {
            origins.insert(pointer.to_owned(), origin.to_string().into());
            plain_json(value)
        }
        Node::Table(entries) => {
            let one = |(key, node): &(String, Node)| {
                // RFC 6901: these two characters have a meaning in pointers.
                let step = key.replace('~', "~0").replace('/', "~1");
                (key.clone(), to_json(node, &format!("{pointer}/{step}"), origins))
            };
            serde_json::Value::Object(entries.iter().map(one).collect())
        }
        Node::List(nodes) => {
            let one = |(index, node)| to_json(node, &format!("{pointer}/{index}"), origins);
            nodes.iter().enumerate().map(one).collect()
        }
    }
}

fn plain_json(value: &toml::Value) -> serde_json::Value {
    match value {
        toml::Value::String(text) => json!(text),
        toml::Value::Integer(number) => json!(number),
        toml::Value::Float(number) => json!(number),
        toml::Value::Boolean(value) => json!(value),
        toml::Value::Datetime(date) => json!(date.to_string()),
        toml::Value::Array(values) => values.iter().map(plain_json).collect(),
        toml::Value::Table(table) => {
            serde_json::Value::Object(table.iter().map(|(key, value)| (key.clone(), plain_json(value))).collect())
        }
    }
}
