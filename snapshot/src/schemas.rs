//! The JSON that programs read is described in `schemas/`: generated from the types, so that it is what they are.

use std::{env, fs, path::PathBuf};

use prewasm_artifact::Artifact;
use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::Value;

use crate::{Difference, Options, Report, build, silent};

/// Compares with the file, or writes it with `BLESS=1`.
fn check<T: JsonSchema>(file: &str) -> Value {
    let schema = SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<T>();
    let schema = schema.to_value();
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../schemas")).join(file);
    if env::var_os("BLESS").is_some() {
        let text = serde_json::to_string_pretty(&schema).expect("JSON") + "\n";
        fs::write(&path, text).expect("writable");
    }
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"));
    let found: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(found, schema, "{file} is not what the types say: run the tests with BLESS=1");
    schema
}

/// Whether an object has the properties that its schema asks for, and no others.
fn fits(schema: &Value, value: &Value) {
    let properties = schema["properties"].as_object().expect("of an object");
    let required = schema["required"].as_array().expect("some are");
    let value = value.as_object().expect("an object");
    for name in value.keys() {
        assert!(properties.contains_key(name), "`{name}` is not in the schema");
    }
    for name in required {
        assert!(value.contains_key(name.as_str().expect("a name")), "{name} is missing");
    }
}

#[test]
fn the_schema_of_reports_is_that_of_the_type() {
    let schema = check::<Report>("snapshot-report.schema.json");
    let artifact = Artifact::from_bytes("app", b"(module (func (export \"wizer-initialize\")))".into()).expect("valid");
    let report = build(&artifact, &Options::default(), &silent()).expect("built").report;
    fits(&schema, &serde_json::to_value(report).expect("JSON"));
}

#[test]
fn the_schema_of_differences_is_that_of_the_type() {
    let schema = check::<Difference>("inspect-diff.schema.json");
    let artifact = |wat: &str| Artifact::from_bytes("app", wat.into()).expect("valid");
    let difference = Difference::between(&artifact("(module)"), &artifact("(module (func))"));
    fits(&schema, &serde_json::to_value(difference).expect("JSON"));
}
