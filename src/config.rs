//! What is served, and how: read from flags, variables and files, checked as a whole, and turned into what the gateway
//! serves.
//!
//! The phases are types. A file becomes a raw configuration, whose values know where they were written; resolving it
//! gives a `Config`, in which every value is there, with its `Origin`; and that is loaded as a site. Whatever is wrong
//! on the way is collected, so that one run shows all problems.
//!
//! `prewasm.toml` is ours; `spin.toml` and WAGI's `modules.toml` are read into the same `Config`.

mod effective;
mod file;
mod position;
mod problem;
mod raw;
mod reader;
mod resolve;
mod routes;
mod schema;
mod scratch;
mod secret;
mod setting;
mod show;
mod site;
mod spin;
mod suggest;
mod values;
mod wagi;

pub use file::read;
pub use problem::ConfigError;
pub use raw::{RawApp, RawDirectory, RawEnv, RawLimits, RawServer};
pub use reader::Named;
pub use schema::schema;
pub use setting::{Origin, Setting};
pub use show::Shown;
pub use site::Source;
pub use values::Size;
