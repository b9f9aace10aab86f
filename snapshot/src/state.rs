//! What an instance holds: the content of memories, globals and tables.

mod content;
mod differences;
mod initial;
mod memory;
mod value;

use std::collections::BTreeMap;

pub(crate) use content::{Content, contents};
pub(crate) use differences::{Differences, Place};
pub(crate) use initial::{Constants, Placed, bytes, initial_states, modules, placed};
pub(crate) use memory::{MemoryImage, image};
pub(crate) use value::Value;

/// Everything an instance holds outside of its frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) memories: Vec<MemoryImage>,
    /// Mutable globals by index.
    pub(crate) globals: BTreeMap<u32, Value>,
    /// Tables which code can change; `None` for any other.
    pub(crate) tables: Vec<Option<Vec<Value>>>,
}
