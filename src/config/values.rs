//! How single values are written.

use std::{net::SocketAddr, num::NonZero, path::PathBuf, str::FromStr, time::Duration};

use prewasm_ext_http::{Pattern, Resolution};
use prewasm_gateway::{HostPattern, Injected, Mode, Route};
use schemars::{Schema, SchemaGenerator, json_schema};
use toml::de::DeValue;

use super::reader::{Described, Place, Value};
use crate::cli::parse_size;

impl Value for String {
    fn read(place: Place<'_, '_>) -> Option<Self> {
        place.text("a string").map(str::to_owned)
    }
}

impl Described for String {
    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "title": "text", "type": "string" })
    }
}

impl Value for bool {
    fn read(place: Place<'_, '_>) -> Option<Self> {
        match place.value() {
            DeValue::Boolean(value) => Some(*value),
            _ => place.expected("`true` or `false`"),
        }
    }
}

impl Described for bool {
    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "title": "`true` or `false`", "type": "boolean" })
    }
}

impl Value for PathBuf {
    fn read(place: Place<'_, '_>) -> Option<Self> {
        match place.text("a path")? {
            "" => place.wrong("a path is expected"),
            text => Some(text.into()),
        }
    }
}

impl Described for PathBuf {
    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "title": "path", "type": "string", "minLength": 1 })
    }
}

impl Value for Duration {
    fn read(place: Place<'_, '_>) -> Option<Self> {
        let text = place.text("a duration such as \"30s\"")?;
        humantime::parse_duration(text).map_or_else(|error| place.wrong(error), Some)
    }
}

impl Described for Duration {
    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "title": "duration", "type": "string", "examples": ["500ms", "30s", "1h 30m"] })
    }
}

/// A number of bytes: an integer, or text with a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

impl Value for Size {
    fn read(place: Place<'_, '_>) -> Option<Self> {
        let parsed = match place.value() {
            DeValue::Integer(number) => {
                u64::from_str_radix(number.as_str(), number.radix()).map_err(|_| "not a size".to_owned())
            }
            DeValue::String(text) => parse_size(text),
            _ => return place.expected("a size such as \"64MiB\""),
        };
        parsed.map_or_else(|reason| place.wrong(reason), |bytes| Some(Self(bytes)))
    }
}

impl Described for Size {
    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "title": "size",
            "type": ["integer", "string"],
            "minimum": 0,
            "examples": [65536, "64MiB", "16MB"]
        })
    }
}

/// An integer within the bounds of its type.
macro_rules! integers {
    ($($type:ty: $minimum:literal),+) => {
        $(impl Value for $type {
            fn read(place: Place<'_, '_>) -> Option<Self> {
                let DeValue::Integer(number) = place.value() else { return place.expected("an integer") };
                let parsed = u64::from_str_radix(number.as_str(), number.radix()).ok();
                let value = parsed.and_then(|number| Self::try_from(number).ok());
                value.map_or_else(|| place.wrong("a whole number is expected, and this one is negative or too large"), Some)
            }
        }

        impl Described for $type {
            fn schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "title": "number", "type": "integer", "minimum": $minimum })
            }
        })+
    };
}

integers!(u16: 0, u32: 0, u64: 0);

/// An integer from 1.
macro_rules! counts {
    ($($type:ty),+) => {
        $(impl Value for NonZero<$type> {
            fn read(place: Place<'_, '_>) -> Option<Self> {
                let DeValue::Integer(number) = place.value() else { return place.expected("an integer") };
                let parsed = <$type>::from_str_radix(number.as_str(), number.radix()).ok();
                parsed.and_then(Self::new).map_or_else(
                    || place.wrong("a whole number from 1 is expected"),
                    Some,
                )
            }
        }

        impl Described for NonZero<$type> {
            fn schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "title": "number from 1", "type": "integer", "minimum": 1 })
            }
        })+
    };
}

counts!(u32, usize);

/// Text which its type can parse.
macro_rules! spelled {
    ($($type:ty: $title:literal, $expected:literal, $example:literal);+) => {
        $(impl Value for $type {
            fn read(place: Place<'_, '_>) -> Option<Self> {
                let text = place.text($expected)?;
                match <$type>::from_str(text) {
                    Ok(value) => Some(value),
                    // Some errors say what to write instead.
                    Err(error) if error.to_string().contains("hint:") => place.wrong(error),
                    Err(error) => place.wrong(format_args!("{error}\n  hint: {} is expected", $expected)),
                }
            }
        }

        impl Described for $type {
            fn schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "title": $title, "type": "string", "examples": [$example] })
            }
        })+
    };
}

spelled!(
    SocketAddr: "address", "an address such as \"127.0.0.1:8080\"", "127.0.0.1:8080";
    Pattern: "pattern", "a pattern such as \"https://api.example.com\"", "https://api.example.com";
    Resolution: "address", "an address such as \"10.0.0.7\" or \"10.0.0.7:80\"", "10.0.0.7:80";
    Route: "route", "a route such as \"/shop/...\"", "GET /shop/...";
    HostPattern: "host", "a host such as \"shop.example\"", "*.shop.example"
);

/// One of a few words.
macro_rules! words {
    ($($type:ty { $($word:literal => $value:expr),+ })+) => {
        $(impl Value for $type {
            fn read(place: Place<'_, '_>) -> Option<Self> {
                match place.text("a word")? {
                    $($word => Some($value),)+
                    other => {
                        let words = [$(concat!("`", $word, "`")),+].join(", ");
                        place.wrong(format_args!("`{other}` is none of {words}"))
                    }
                }
            }
        }

        impl Described for $type {
            fn schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "enum": [$($word),+] })
            }
        })+
    };
}

words! {
    Mode { "auto" => Self::Auto, "isolated" => Self::Isolated, "resident" => Self::Resident }
    Injected { "none" => Self::None, "spin" => Self::Spin }
}
