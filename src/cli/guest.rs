//! What a guest may see and whom it may call: declared on the command line, and only there.

use std::{collections::BTreeMap, path::PathBuf, str::FromStr};

use clap::Args;
use prewasm_ext_http::{Access, Authorities, AuthorityError, Directory, OutboundPolicy, Pattern, Resolution};

use super::DirectorySpec;

/// Directories and environment variables.
#[derive(Args, Clone, Debug)]
pub struct GuestArgs {
    /// Let the guest use a directory, seen as GUEST; `::ro` and `::rw` set what it may do there (repeatable).
    #[arg(long = "dir", value_name = "HOST::GUEST[::ro|rw]", help_heading = "Guest")]
    dirs: Vec<DirectorySpec>,
    /// Set an environment variable of the guest; nothing is inherited (repeatable).
    #[arg(long, value_name = "NAME=VALUE", help_heading = "Guest")]
    env: Vec<Pair>,
    /// Allow calls to SCHEME://HOST:PORT; `*` as scheme or port and `*.` before a host match all (repeatable).
    #[arg(long, value_name = "PATTERN", help_heading = "Guest")]
    allow_outbound: Vec<Pattern>,
}

impl GuestArgs {
    /// The directories; `default` is the access of those that name none.
    pub fn directories(&self, default: Access) -> Vec<Directory> {
        self.dirs.iter().map(|spec| spec.resolve(default)).collect()
    }

    /// The environment variables.
    pub fn env(&self) -> Vec<(String, String)> {
        self.env.iter().map(|Pair(name, value)| (name.clone(), value.clone())).collect()
    }

    /// Whom the guest may call.
    pub fn outbound(&self) -> Vec<Pattern> {
        self.allow_outbound.clone()
    }
}

/// Names with fixed addresses, and whom to trust.
#[derive(Args, Clone, Debug)]
pub struct NetworkArgs {
    /// Give a name a fixed address, for calls of the guest; the address counts as allowed by name (repeatable).
    #[arg(long, value_name = "NAME=IP[:PORT]", help_heading = "Guest")]
    resolve: Vec<Mapping>,
    /// Trust the certificate authorities in a PEM file for HTTPS calls of the guest, besides the public ones (repeatable).
    #[arg(long, value_name = "FILE", help_heading = "Guest")]
    tls_ca: Vec<PathBuf>,
}

impl NetworkArgs {
    /// Names with fixed addresses.
    pub fn resolutions(&self) -> Vec<(String, Resolution)> {
        self.resolve.iter().map(|Mapping(name, resolution)| (name.clone(), *resolution)).collect()
    }

    /// Files of authorities.
    pub fn tls_ca(&self) -> &[PathBuf] {
        &self.tls_ca
    }

    /// The policy for the guest's calls.
    ///
    /// # Errors
    /// If a file of authorities cannot be used.
    pub fn policy(&self, guest: &GuestArgs) -> Result<OutboundPolicy, AuthorityError> {
        let resolve: BTreeMap<_, _> = self.resolutions().into_iter().collect();
        let mut authorities = Authorities::default();
        for file in &self.tls_ca {
            authorities.add_file(file)?;
        }
        Ok(OutboundPolicy { allow: guest.outbound(), resolve, authorities, ..OutboundPolicy::default() })
    }
}

/// `NAME=VALUE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair(String, String);

impl FromStr for Pair {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok(Self(name.to_owned(), value.to_owned())),
            _ => Err("it gives no value, and values are not inherited\n  hint: write `NAME=VALUE`".to_owned()),
        }
    }
}

/// `NAME=IP[:PORT]`; names are compared in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping(String, Resolution);

impl FromStr for Mapping {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || "it maps no name to an address\n  hint: write `NAME=IP` or `NAME=IP:PORT`".to_owned();
        let (name, address) = text.split_once('=').ok_or_else(wrong)?;
        if name.is_empty() {
            return Err(wrong());
        }
        Ok(Self(name.to_ascii_lowercase(), address.parse().map_err(|_| wrong())?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_needs_a_value() {
        assert_eq!("A=b=c".parse(), Ok(Pair("A".into(), "b=c".into())));
        assert_eq!("A=".parse(), Ok(Pair("A".into(), String::new())));
        assert!("A".parse::<Pair>().is_err());
        assert!("=b".parse::<Pair>().is_err());
    }

    #[test]
    fn a_name_is_mapped_to_an_address_with_or_without_a_port() {
        let Mapping(name, to) = "API.test=127.0.0.1:80".parse().expect("valid");
        assert_eq!((name.as_str(), to.port), ("api.test", Some(80)));
        let Mapping(_, to) = "a=::1".parse().expect("valid");
        assert_eq!(to.port, None);
        assert!("a=b".parse::<Mapping>().is_err());
    }
}
