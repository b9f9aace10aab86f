//! How a ported program's answers differ from the original's.

use std::{collections::BTreeMap, fmt};

use prewasm_gateway::{Answer, Reason};
use prewasm_snapshot::WarmUp;
use serde::Serialize;

/// Version of the JSON.
const SCHEMA_VERSION: u32 = 1;
/// Fields which belong to a connection, or to the moment of an answer.
const PASSING: [&str; 5] = ["connection", "date", "keep-alive", "transfer-encoding", "trailer"];

/// The answers to a script.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub(super) struct Comparison {
    schema_version: u32,
    /// Whether all answers are the same.
    pub(super) same: bool,
    requests: Vec<Row>,
}

/// One request.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
struct Row {
    request: String,
    /// What the original answered.
    status: u16,
    differences: Vec<Difference>,
}

/// Something that is not the same.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
struct Difference {
    /// `status`, `expected status`, `failure`, `field NAME`, `body` or `end of body`.
    what: String,
    original: String,
    ported: String,
}

impl Default for Comparison {
    fn default() -> Self {
        Self { schema_version: SCHEMA_VERSION, same: true, requests: Vec::new() }
    }
}

impl Comparison {
    pub(super) fn add(&mut self, request: &WarmUp, original: &Answer, ported: &Answer) {
        let mut row = Row { request: request.to_string(), status: original.status.as_u16(), differences: Vec::new() };
        row.compare("status", original.status.as_u16(), ported.status.as_u16());
        if let Some(expected) = request.status.filter(|expected| *expected != original.status) {
            row.differences.push(Difference {
                what: "expected status".to_owned(),
                original: original.status.as_u16().to_string(),
                ported: format!("{} was expected of both", expected.as_u16()),
            });
        }
        // The gateway answers for an app that fails, and has other words for a module's failure than for a component's.
        let failures = (original.failure.is_some(), ported.failure.is_some());
        if failures.0 != failures.1 {
            row.compare("failure", failure(original), failure(ported));
        } else if !failures.0 {
            let (original_fields, ported_fields) = (fields(original), fields(ported));
            let mut names: Vec<_> = original_fields.keys().chain(ported_fields.keys()).collect();
            names.sort();
            names.dedup();
            for name in names {
                let value = |fields: &BTreeMap<String, Vec<String>>| match fields.get(name) {
                    Some(values) => values.join(", "),
                    None => "none".to_owned(),
                };
                row.compare(&format!("field {name}"), value(&original_fields), value(&ported_fields));
            }
            row.compare_bodies(&original.body, &ported.body);
            let end = |answer: &Answer| if answer.is_complete { "whole" } else { "broken off" };
            row.compare("end of body", end(original), end(ported));
        }
        self.same &= row.differences.is_empty();
        self.requests.push(row);
    }
}

impl Row {
    fn compare<T: PartialEq + fmt::Display>(&mut self, what: &str, original: T, ported: T) {
        if original != ported {
            let (original, ported) = (original.to_string(), ported.to_string());
            self.differences.push(Difference { what: what.to_owned(), original, ported });
        }
    }

    fn compare_bodies(&mut self, original: &[u8], ported: &[u8]) {
        if original == ported {
            return;
        }
        let at = original.iter().zip(ported).take_while(|(a, b)| a == b).count();
        let show = |body: &[u8]| {
            let excerpt = &body[at..body.len().min(at + 40)];
            format!("{} bytes, from byte {at} on \"{}\"", body.len(), excerpt.escape_ascii())
        };
        self.differences.push(Difference { what: "body".to_owned(), original: show(original), ported: show(ported) });
    }
}

fn failure(answer: &Answer) -> String {
    match &answer.failure {
        Some(Reason::NotHttp(reason) | Reason::Other(reason)) => reason.clone(),
        None => "none".to_owned(),
    }
}

fn fields(answer: &Answer) -> BTreeMap<String, Vec<String>> {
    let mut fields: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (name, value) in &answer.headers {
        if !PASSING.contains(&name.as_str()) {
            fields.entry(name.to_string()).or_default().push(value.as_bytes().escape_ascii().to_string());
        }
    }
    // A body which is streamed may be sent with its length or without: the body itself is compared.
    fields.remove("content-length");
    fields
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in &self.requests {
            let verdict = if row.differences.is_empty() { "same" } else { "DIFFERENT" };
            writeln!(f, "{}: {verdict} ({})", row.request, row.status)?;
            for Difference { what, original, ported } in &row.differences {
                writeln!(f, "  {what}\n    original: {original}\n    ported:   {ported}")?;
            }
        }
        Ok(())
    }
}
