//! The JSON Schema of `prewasm.toml`, for editors.

use schemars::{Schema, generate::SchemaSettings, transform::transform_subschemas};
use serde_json::{Map, Value};

use super::raw::RawConfig;

/// The schema.
pub fn schema() -> Value {
    let generator = SchemaSettings::draft2020_12().with_transform(without_null).into_generator();
    generator.into_root_schema_for::<RawConfig>().to_value()
}

/// TOML has no null: a key that is optional is left out.
fn without_null(schema: &mut Schema) {
    if let Some(object) = schema.as_object_mut() {
        remove_null_type(object);
        if let Some(Value::Array(words)) = object.get_mut("enum") {
            words.retain(|word| !word.is_null());
        }
        remove_null_branch(object);
    }
    transform_subschemas(&mut without_null, schema);
}

fn remove_null_type(object: &mut Map<String, Value>) {
    let Some(Value::Array(types)) = object.get_mut("type") else { return };
    types.retain(|name| name != "null");
    if let [only] = &types[..] {
        let only = only.clone();
        object.insert("type".to_owned(), only);
    }
}

fn remove_null_branch(object: &mut Map<String, Value>) {
    let Some(Value::Array(branches)) = object.get_mut("anyOf") else { return };
    let before = branches.len();
    branches.retain(|branch| branch != &serde_json::json!({ "type": "null" }));
    if let ([only], true) = (&branches[..], branches.len() < before) {
        let only = only.as_object().cloned().unwrap_or_default();
        object.remove("anyOf");
        for (key, value) in only {
            object.entry(key).or_insert(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, env, fs, path::Path};

    use toml::de::DeTable;

    use super::*;
    use crate::config::{
        raw::{RawApp, RawDirectory, RawFiles, RawLimits, RawRespond, RawReuse, RawServer},
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
    fn read<T: Record>() -> BTreeSet<&'static str> {
        let reading = Reading::new("");
        let empty = DeTable::new();
        let mut table = Table::new(&reading, "", Origin::Default, &empty);
        T::take(&mut table);
        table.finish()
    }

    fn described<'a>(schema: &'a Value) -> BTreeSet<&'a str> {
        schema["properties"].as_object().expect("properties").keys().map(String::as_str).collect()
    }

    #[test]
    fn reader_and_schema_know_the_same_keys() {
        let schema = schema();
        assert_eq!(described(&schema), read::<RawConfig>());
        for (name, keys) in [
            ("server", read::<RawServer>()),
            ("app", read::<RawApp>()),
            ("directory", read::<RawDirectory>()),
            ("limits", read::<RawLimits>()),
            ("reuse", read::<RawReuse>()),
            ("files", read::<RawFiles>()),
            ("respond", read::<RawRespond>()),
        ] {
            assert_eq!(described(&schema["$defs"][name]), keys, "{name}");
        }
    }
}
