use std::{collections::BTreeSet, env, fs, path::Path};

use toml::de::DeTable;

use super::*;
use crate::config::{
    Shown,
    raw::{RawApp, RawDirectory, RawFiles, RawLimits, RawRespond, RawReuse, RawServer},
    read,
    reader::{Reading, Record, Table},
    setting::Origin,
};

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).expect("JSON") + "\n"
}

#[test]
fn the_published_schema_is_that_of_the_types() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/config.schema.json");
    if env::var_os("BLESS").is_some() {
        fs::write(&path, pretty(&schema())).expect("writable");
    }
    let found = fs::read_to_string(&path).expect("readable");
    assert_eq!(found, pretty(&schema()), "run the tests with BLESS=1");
}

#[test]
fn nothing_can_be_null() {
    assert!(!schema().to_string().contains("null"), "{}", pretty(&schema()));
}

/// The keys which the reader of a table asks for.
fn keys<T: Record>() -> BTreeSet<&'static str> {
    let reading = Reading::new("");
    let empty = DeTable::new();
    let mut table = Table::new(&reading, "", Origin::Default, &empty);
    T::take(&mut table);
    table.finish()
}

fn described(schema: &Value) -> BTreeSet<&str> {
    schema["properties"].as_object().expect("properties").keys().map(String::as_str).collect()
}

#[test]
fn reader_and_schema_know_the_same_keys() {
    let schema = schema();
    assert_eq!(described(&schema), keys::<RawConfig>());
    for (name, keys) in [
        ("server", keys::<RawServer>()),
        ("app", keys::<RawApp>()),
        ("directory", keys::<RawDirectory>()),
        ("limits", keys::<RawLimits>()),
        ("reuse", keys::<RawReuse>()),
        ("files", keys::<RawFiles>()),
        ("respond", keys::<RawRespond>()),
    ] {
        assert_eq!(described(&schema["$defs"][name]), keys, "{name}");
    }
}

/// The tables of `docs/configuration.md`, by the names of their markers.
fn tables() -> Vec<(String, String)> {
    let schema = schema();
    let parts = ["server", "app", "limits", "reuse", "directory", "files", "respond"];
    parts.iter().map(|name| ((*name).to_owned(), table(&schema["$defs"][name]))).collect()
}

fn table(schema: &Value) -> String {
    let required: Vec<_> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let mut text = "| Key | Value | Default | Meaning |\n|---|---|---|---|\n".to_owned();
    for (key, described) in schema["properties"].as_object().expect("properties") {
        let default = match &described["default"] {
            Value::Null if required.contains(&key.as_str()) => "required".to_owned(),
            Value::Null => "–".to_owned(),
            Value::String(text) => format!("`{text}`"),
            other => format!("`{other}`"),
        };
        let meaning = described["description"].as_str().expect("documented");
        text.push_str(&format!("| `{key}` | {} | {default} | {meaning} |\n", kind(described)));
    }
    text
}

/// What a value looks like.
fn kind(schema: &Value) -> String {
    if let Some(words) = schema["enum"].as_array() {
        let words: Vec<_> = words.iter().filter_map(Value::as_str).map(|word| format!("`{word}`")).collect();
        return words.join(", ");
    }
    match (schema["title"].as_str(), schema["type"].as_str(), schema["$ref"].as_str()) {
        (Some(title), ..) => title.to_owned(),
        (None, Some("array"), _) => format!("list: {}", kind(&schema["items"])),
        (None, Some("object"), _) => format!("table: {}", kind(&schema["additionalProperties"])),
        (None, _, Some(reference)) => format!("table [{0}](#{0})", reference.rsplit('/').next().expect("a name")),
        _ => panic!("{schema}"),
    }
}

#[test]
fn the_documentation_has_all_keys_with_their_defaults() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let found = fs::read_to_string(&path).expect("readable");
    let mut expected = found.clone();
    for (name, table) in tables() {
        let (start, end) = (format!("<!-- keys of {name} -->\n"), "<!-- end -->".to_owned());
        let from = expected.find(&start).unwrap_or_else(|| panic!("no `{start}`")) + start.len();
        let to = from + expected[from..].find(&end).expect("an end");
        expected.replace_range(from..to, &table);
    }
    if env::var_os("BLESS").is_some() {
        fs::write(&path, &expected).expect("writable");
        return;
    }
    assert_eq!(found, expected, "run the tests with BLESS=1");
}

#[test]
fn the_defaults_in_the_schema_are_those_that_hold() {
    let schema = schema();
    let text = "[[app]]\nname = 'a'\nsource = 'a.wat'\nroutes = []\n[[files]]\nroutes = ['/...']\nroot = '.'\n[[respond]]\nroutes = ['/a']\n";
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("a.wat"), "(module (func (export \"_start\")))").expect("writable");
    fs::write(folder.path().join("prewasm.toml"), text).expect("writable");
    let config = read(&folder.path().join("prewasm.toml"), RawServer::default()).expect("right");
    let shown = Shown::of(&config).json(false);
    for (name, place) in [
        ("server", &shown["server"]),
        ("app", &shown["app"][0]),
        ("limits", &shown["app"][0]["limits"]),
        ("reuse", &shown["app"][0]["reuse"]),
        ("files", &shown["files"][0]),
        ("respond", &shown["respond"][0]),
    ] {
        for (key, described) in schema["$defs"][name]["properties"].as_object().expect("properties") {
            if let Some(default) = described.get("default") {
                assert_eq!(&place[key], default, "{name}.{key}");
            }
        }
    }
}
