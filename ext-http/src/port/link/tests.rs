//! What a linked program does, run without a component around it.

mod addresses;
mod calls;
mod case;
mod descriptors;
mod driver;
mod frozen;
mod harness;
mod leaving;
mod lists;
mod memory;
mod recycle;
pub(in crate::port) mod sprinkled;
