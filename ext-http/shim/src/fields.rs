//! Heads, from and to the host's resources.

use prewasm_translation::{Fields, RequestHead};

use crate::bindings::wasi::http::types::{Fields as HostFields, Method};

/// The fields of a message of the host which go beyond this connection.
pub(crate) fn received(fields: &HostFields) -> Fields {
    let mut all = Fields::new();
    for (name, value) in fields.entries() {
        all.push(&name, &value);
    }
    let mut end_to_end = Fields::new();
    for (name, value) in all.end_to_end() {
        end_to_end.push(name, value);
    }
    end_to_end
}

/// Fields for the host: those of the program that go beyond its connection, and the length as it really is. One which
/// the host forbids is left out.
pub(crate) fn sent(fields: &Fields, content_length: Option<u64>) -> HostFields {
    let sent = HostFields::new();
    for (name, value) in fields.end_to_end().filter(|(name, _)| *name != "content-length") {
        let _ = sent.append(name, value);
    }
    if let Some(length) = content_length {
        let _ = sent.append("content-length", decimal(length).as_bytes());
    }
    sent
}

/// A number as text.
pub(crate) fn decimal(mut number: u64) -> String {
    let mut digits = Vec::new();
    while number > 0 || digits.is_empty() {
        digits.push(b'0' + (number % 10) as u8);
        number /= 10;
    }
    digits.iter().rev().map(|digit| char::from(*digit)).collect()
}

pub(crate) fn method_of(head: &RequestHead) -> Method {
    match head.method.as_str() {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "DELETE" => Method::Delete,
        "CONNECT" => Method::Connect,
        "OPTIONS" => Method::Options,
        "TRACE" => Method::Trace,
        "PATCH" => Method::Patch,
        other => Method::Other(other.to_owned()),
    }
}

pub(crate) fn method_name(method: &Method) -> &str {
    match method {
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Delete => "DELETE",
        Method::Connect => "CONNECT",
        Method::Options => "OPTIONS",
        Method::Trace => "TRACE",
        Method::Patch => "PATCH",
        Method::Other(other) => other,
    }
}

#[cfg(test)]
mod tests {
    use super::decimal;

    #[test]
    fn numbers_are_spelled() {
        assert_eq!(decimal(0), "0");
        assert_eq!(decimal(10_203), "10203");
        assert_eq!(decimal(u64::MAX), u64::MAX.to_string());
    }
}
