//! What a linked program does, run without a component around it.

mod driver;
mod harness;
mod lists;
