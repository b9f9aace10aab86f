//! What a linked program does, run without a component around it.

mod calls;
mod driver;
mod harness;
mod leaving;
mod lists;
mod memory;
mod recycle;
mod sprinkled;
