//! `--dir HOST::GUEST[::ro|rw]`.

use std::{path::PathBuf, str::FromStr};

use prewasm_ext_http::{Access, Directory};

/// A directory for a guest, as the user wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectorySpec {
    host: PathBuf,
    guest: String,
    access: Option<Access>,
}

impl DirectorySpec {
    /// The directory; `default` is the access for which the user has not asked.
    pub fn resolve(&self, default: Access) -> Directory {
        Directory { host: self.host.clone(), guest: self.guest.clone(), access: self.access.unwrap_or(default) }
    }
}

impl FromStr for DirectorySpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts: Vec<_> = text.split("::").collect();
        let (host, guest, access) = match parts[..] {
            [host, guest] => (host, guest, None),
            [host, guest, "ro"] => (host, guest, Some(Access::ReadOnly)),
            [host, guest, "rw"] => (host, guest, Some(Access::ReadWrite)),
            [_, _, access] => return Err(format!("the access `{access}` is neither `ro` nor `rw`")),
            _ => return Err(no_separator(text)),
        };
        if host.is_empty() || guest.is_empty() {
            return Err("host and guest must both be named\n  hint: write `HOST::GUEST`".to_owned());
        }
        Ok(Self { host: host.into(), guest: guest.to_owned(), access })
    }
}

/// WasmEdge's order is the other way round, so turning it silently would open the wrong directory.
fn no_separator(text: &str) -> String {
    match text.split_once(':') {
        Some((guest, host)) if !guest.is_empty() && !host.is_empty() && !host.contains(':') => format!(
            "WasmEdge's `GUEST:HOST` is not understood\n  hint: write `HOST::GUEST[::ro|rw]`, here `{host}::{guest}`"
        ),
        _ => format!("it names no guest path\n  hint: write `HOST::GUEST[::ro|rw]`, for example `{text}::/data`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_access_is_the_verbs_unless_named() {
        let access = |text: &str| text.parse::<DirectorySpec>().expect(text).resolve(Access::ReadOnly).access;
        assert_eq!(access("./a::/b"), Access::ReadOnly);
        assert_eq!(access("./a::/b::rw"), Access::ReadWrite);
        let spec: DirectorySpec = "C:/x::/b::ro".parse().expect("valid");
        assert_eq!(spec.resolve(Access::ReadWrite).host, PathBuf::from("C:/x"));
    }

    #[test]
    fn wasmedges_order_gets_a_hint_at_ours() {
        let error = "/guest:./host".parse::<DirectorySpec>().expect_err("refused");
        assert!(error.contains("`./host::/guest`"), "{error}");
        let error = "./host".parse::<DirectorySpec>().expect_err("refused");
        assert!(error.contains("`./host::/data`"), "{error}");
        for wrong in ["a::b::rx", "::b", "a::", "a::b::ro::x", ""] {
            assert!(wrong.parse::<DirectorySpec>().is_err(), "{wrong}");
        }
    }
}
