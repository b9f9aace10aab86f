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
        if let Some(Value::String(text)) = object.get_mut("description") {
            // Where comments are wrapped says nothing.
            *text = text.replace('\n', " ");
        }
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
mod tests;
