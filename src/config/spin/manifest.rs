//! Spin's manifest as it is written: the tables that have a meaning here.

use std::path::PathBuf;

use toml::de::DeValue;

use crate::config::{
    reader::{Named, Place, Record, Table, Value},
    setting::Setting,
};

type Written<T> = Option<Setting<T>>;
type List<T> = Option<Setting<Vec<Setting<T>>>>;

const NO_STORES: Option<&str> = Some("the gateway offers no stores, databases or models to guests");

/// `[application]`.
#[derive(Clone, Debug)]
pub(super) struct RawApplication {
    pub(super) name: Written<String>,
    pub(super) version: Written<String>,
}

/// A variable of the application.
#[derive(Clone, Debug)]
pub(super) struct RawVariable {
    pub(super) required: Written<bool>,
    pub(super) default: Written<String>,
    pub(super) secret: Written<bool>,
}

/// `[[trigger.http]]`; there are other kinds of triggers.
#[derive(Clone, Debug)]
pub(super) struct RawTriggers {
    pub(super) http: Vec<Setting<RawTrigger>>,
}

/// One trigger.
#[derive(Clone, Debug)]
pub(super) struct RawTrigger {
    pub(super) id: Written<String>,
    pub(super) component: Written<RawComponentSpec>,
    pub(super) static_response: Written<RawStaticResponse>,
    pub(super) route: Written<RawRoute>,
    pub(super) executor: Written<RawExecutor>,
}

/// A response without a component.
#[derive(Clone, Debug)]
pub(super) struct RawStaticResponse {
    pub(super) status_code: Written<u16>,
    pub(super) headers: Written<Named<String>>,
    pub(super) body: Written<String>,
}

/// How a component is called.
#[derive(Clone, Debug)]
pub(super) struct RawExecutor {
    pub(super) kind: Written<String>,
    pub(super) argv: Written<String>,
    pub(super) entrypoint: Written<String>,
}

/// A component by its name, or all of it.
#[derive(Clone, Debug)]
pub(super) enum RawComponentSpec {
    Named(String),
    Inline(Box<RawComponent>),
}

/// Where a trigger is reached.
#[derive(Clone, Debug)]
pub(super) enum RawRoute {
    Path(String),
    /// By other components only.
    Private,
}

/// `[component.NAME]`.
#[derive(Clone, Debug)]
pub(super) struct RawComponent {
    pub(super) source: Written<RawSource>,
    pub(super) environment: Written<Named<String>>,
    pub(super) variables: Written<Named<String>>,
    pub(super) files: List<RawMount>,
    pub(super) exclude_files: List<String>,
    pub(super) allowed_outbound_hosts: List<String>,
}

/// Where a component comes from.
#[derive(Clone, Debug)]
pub(super) enum RawSource {
    File(PathBuf),
    /// A URL or a registry.
    Remote,
}

/// Files for a component.
#[derive(Clone, Debug)]
pub(super) enum RawMount {
    Pattern(String),
    Placement { source: String, destination: String },
}

impl Record for RawApplication {
    fn take(table: &mut Table<'_>) -> Self {
        for key in ["description", "authors", "targets", "trigger", "tool"] {
            table.ignore(key);
        }
        Self { name: table.required("name"), version: table.optional("version") }
    }
}

impl Record for RawVariable {
    fn take(table: &mut Table<'_>) -> Self {
        table.ignore("description");
        Self {
            required: table.optional("required"),
            default: table.optional("default"),
            secret: table.optional("secret"),
        }
    }
}

impl Record for RawTriggers {
    fn take(table: &mut Table<'_>) -> Self {
        let http = table.optional("http").map(|triggers: Setting<Vec<_>>| triggers.value).unwrap_or_default();
        table.refuse_rest(Some("only `[[trigger.http]]` is served"));
        Self { http }
    }
}

impl Record for RawTrigger {
    fn take(table: &mut Table<'_>) -> Self {
        table.refuse("components", None);
        table.refuse("dependencies", Some("middleware is composed into the component at build time, with `wac plug`"));
        Self {
            id: table.optional("id"),
            component: table.optional("component"),
            static_response: table.optional("static_response"),
            route: table.required("route"),
            executor: table.optional("executor"),
        }
    }
}

impl Record for RawStaticResponse {
    fn take(table: &mut Table<'_>) -> Self {
        Self {
            status_code: table.optional("status_code"),
            headers: table.optional("headers"),
            body: table.optional("body"),
        }
    }
}

impl Record for RawExecutor {
    fn take(table: &mut Table<'_>) -> Self {
        Self { kind: table.required("type"), argv: table.optional("argv"), entrypoint: table.optional("entrypoint") }
    }
}

impl Record for RawComponent {
    fn take(table: &mut Table<'_>) -> Self {
        for key in ["description", "build", "tool", "targets", "profile", "dependencies_inherit_configuration"] {
            table.ignore(key);
        }
        for key in ["key_value_stores", "key-value-stores", "sqlite_databases", "sqlite-databases", "ai_models"] {
            table.refuse(key, NO_STORES);
        }
        table.refuse(
            "dependencies",
            Some("dependencies are composed into the component at build time, with `wac plug`"),
        );
        table.refuse("allowed_http_hosts", Some("`allowed_outbound_hosts` has replaced it"));
        Self {
            source: table.required("source"),
            environment: table.optional("environment"),
            variables: table.optional("variables"),
            files: table.optional("files"),
            exclude_files: table.optional("exclude_files"),
            allowed_outbound_hosts: table.optional("allowed_outbound_hosts"),
        }
    }
}

impl Value for RawComponentSpec {
    fn read(place: Place<'_, '_>) -> Option<Self> {
        match place.value() {
            DeValue::String(name) => Some(Self::Named(name.to_string())),
            DeValue::Table(_) => RawComponent::read(place).map(Box::new).map(Self::Inline),
            _ => place.expected("the name of a component, or a table"),
        }
    }
}

impl Value for RawRoute {
    fn read(place: Place<'_, '_>) -> Option<Self> {
        match place.value() {
            DeValue::String(route) => Some(Self::Path(route.to_string())),
            DeValue::Table(_) => {
                let mut table = place.table()?;
                let private = table.required::<bool>("private");
                table.finish();
                match private?.value {
                    true => Some(Self::Private),
                    false => place.wrong("a path, or `{ private = true }` is expected"),
                }
            }
            _ => place.expected("a path, or `{ private = true }`"),
        }
    }
}

impl Value for RawSource {
    fn read(place: Place<'_, '_>) -> Option<Self> {
        match place.value() {
            DeValue::String(_) => PathBuf::read(place).map(Self::File),
            DeValue::Table(_) => Some(Self::Remote),
            _ => place.expected("the path of a file"),
        }
    }
}

impl Value for RawMount {
    fn read(place: Place<'_, '_>) -> Option<Self> {
        match place.value() {
            DeValue::String(pattern) => Some(Self::Pattern(pattern.to_string())),
            DeValue::Table(_) => {
                let mut table = place.table()?;
                let (source, destination) =
                    (table.required::<String>("source"), table.required::<String>("destination"));
                table.finish();
                Some(Self::Placement { source: source?.value, destination: destination?.value })
            }
            _ => place.expected("a pattern, or `{ source = …, destination = … }`"),
        }
    }
}
