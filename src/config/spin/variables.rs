//! The application's variables: their values come from `SPIN_VARIABLE_NAME`, or are the defaults.

use std::collections::BTreeMap;

use super::{
    manifest::RawVariable,
    template::{Part, parts},
};
use crate::config::{problem::What, reader::Named, resolve::Resolver, secret::Secret, setting::Setting};

/// The variables and their values.
#[derive(Debug)]
pub(super) struct Variables(BTreeMap<String, Variable>);

#[derive(Debug)]
struct Variable {
    /// None if there is none, which was reported.
    value: Option<String>,
    is_secret: bool,
}

/// A template with the values in it.
#[derive(Debug)]
pub(super) struct Filled {
    pub(super) text: String,
    /// The variables of the environment that are secret, and are in the text.
    pub(super) secrets: Vec<String>,
    /// Whether it is the value of one variable, and nothing else.
    pub(super) is_whole: bool,
}

impl Variables {
    /// Looks for the values.
    pub(super) fn new(raw: Named<RawVariable>, resolver: &mut Resolver<'_>) -> Self {
        let one = |(name, raw): (Setting<String>, Setting<RawVariable>)| {
            let value = value(&name, &raw.value, resolver);
            let is_secret = raw.value.secret.is_some_and(|secret| secret.value);
            (name.value, Variable { value, is_secret })
        };
        Self(raw.into_iter().map(one).collect())
    }

    /// Fills a template; what is wrong with it is reported.
    pub(super) fn fill(&self, key: &str, template: &Setting<String>, resolver: &mut Resolver<'_>) -> Option<Filled> {
        let parts = match parts(&template.value) {
            Ok(parts) => parts,
            Err(error) => {
                resolver.wrong(key, template.origin, error);
                return None;
            }
        };
        let is_whole = matches!(parts[..], [Part::Variable(_)]);
        let mut filled = Some(Filled { text: String::new(), secrets: Vec::new(), is_whole });
        for part in parts {
            match part {
                Part::Text(text) => filled.iter_mut().for_each(|filled| filled.text.push_str(text)),
                Part::Variable(name) => match self.0.get(name) {
                    Some(variable) => filled = filled.and_then(|filled| filled.with(name, variable)),
                    None => {
                        let name = Setting::new(name.to_owned(), template.origin);
                        resolver.unknown("variable", &name, self.0.keys().map(String::as_str));
                        filled = None;
                    }
                },
            }
        }
        filled
    }
}

impl Filled {
    fn with(mut self, name: &str, variable: &Variable) -> Option<Self> {
        self.text.push_str(variable.value.as_deref()?);
        if variable.is_secret {
            self.secrets.push(environment_name(name));
        }
        Some(self)
    }
}

fn value(name: &Setting<String>, raw: &RawVariable, resolver: &mut Resolver<'_>) -> Option<String> {
    let variable = environment_name(&name.value);
    if let Ok(secret) = Secret::of_variable(&variable) {
        return Some(secret.reveal().to_owned());
    }
    let default = raw.default.as_ref().map(|default| default.value.clone());
    if default.is_none() {
        let reason = match &raw.required {
            Some(Setting { value: true, .. }) => {
                format!("it is required, and has no value\n  hint: set variable `{variable}`")
            }
            _ => "it needs a `default`, or `required = true`".to_owned(),
        };
        resolver.report(name.origin, What::Secret { key: name.value.clone(), reason });
    }
    default
}

/// Spin's own rule.
fn environment_name(name: &str) -> String {
    format!("SPIN_VARIABLE_{}", name.to_ascii_uppercase())
}
