//! What answers without a program: files, and fixed responses.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::Resolver;
use crate::config::{
    effective::{FilesConfig, ResponseConfig},
    raw::{RawFiles, RawRespond},
    reader::Named,
    setting::Setting,
};

impl Resolver<'_> {
    /// A `[[files]]`.
    pub(super) fn files(&mut self, raw: RawFiles) -> Option<FilesConfig> {
        let root = raw.root.map(|root| root.map(|path| self.path(&path)));
        if let Some(root) = &root {
            self.check_directory(&root.value, root.origin);
        }
        if let Some(value) = &raw.cache_control {
            self.check_header_value("cache_control", value);
        }
        Some(FilesConfig {
            reach: raw.routes.map(|routes| self.reach(routes, raw.hosts))?,
            root: root?,
            index: Setting::or(raw.index, "index.html".to_owned()),
            cache_control: raw.cache_control,
            fallback: raw.fallback,
        })
    }

    /// A `[[respond]]`.
    pub(super) fn response(&mut self, raw: RawRespond) -> Option<ResponseConfig> {
        let reach = raw.routes.map(|routes| self.reach(routes, raw.hosts));
        let headers = raw.headers.unwrap_or_else(|| Setting::default_of(Vec::new()));
        let headers = headers.map(|named| self.headers(&named));
        let status = self.status("status", Setting::or(raw.status, 200));
        let body = Setting::or(raw.body, String::new());
        Some(ResponseConfig { reach: reach?, status: status?, headers, body })
    }

    /// The status of a fixed response: a final one.
    pub fn status(&mut self, key: &str, status: Setting<u16>) -> Option<Setting<StatusCode>> {
        let Setting { value, origin } = status;
        match StatusCode::from_u16(value) {
            Ok(code) if (200..600).contains(&value) => Some(Setting::new(code, origin)),
            _ => {
                self.wrong(key, origin, format_args!("{value} is no status of a response: 200 to 599 are"));
                None
            }
        }
    }

    /// The headers of a fixed response.
    pub fn headers(&mut self, named: &Named<String>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in named {
            self.check_header_value(&name.value, value);
            match (HeaderName::try_from(&name.value), HeaderValue::try_from(&value.value)) {
                (Ok(name), Ok(value)) => drop(headers.insert(name, value)),
                (Ok(_), Err(_)) => {}
                (Err(_), _) => self.wrong(&name.value, name.origin, "this is no name of a header"),
            }
        }
        headers
    }
}
