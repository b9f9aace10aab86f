//! Memories and stacks of served instances: recycled, and reset at the cost of what the request has touched.
//!
//! A program's data segments are taken out of it ([`lift`]) and make up an image. A memory is a slot in which the image
//! is mapped. After a request, the slot's pages that differ from the image are restored: *hot* ones, which most requests
//! of the app write to, always; others as far as Linux says that they have been written. In steady state no request
//! changes the memory map or takes a page fault, and a second thread makes none dearer.
//!
//! Instances are made anew by Wasmtime each time, with their globals, tables and segments: only memories and stacks are
//! recycled.
//!
//! All `unsafe` code of this feature is in this folder. Each file says at its top what must hold.

mod lift;
mod reset;

#[cfg(target_os = "linux")]
mod heat;
#[cfg(target_os = "linux")]
mod image;
#[cfg(target_os = "linux")]
mod memories;
#[cfg(target_os = "linux")]
mod pool;
#[cfg(target_os = "linux")]
mod reservation;
#[cfg(all(test, target_os = "linux"))]
mod residue;
#[cfg(target_os = "linux")]
mod slot;
#[cfg(target_os = "linux")]
mod stacks;
#[cfg(all(test, target_os = "linux"))]
mod tests;
#[cfg(target_os = "linux")]
mod threads;
#[cfg(target_os = "linux")]
mod tracker;

#[cfg(not(target_os = "linux"))]
mod elsewhere;

#[cfg(not(target_os = "linux"))]
pub(crate) use self::elsewhere::{Memories, Pool, Unsupported, trial, within};
pub(crate) use self::lift::lift;
pub use self::reset::{Choice, Reset, ResetError};
#[cfg(target_os = "linux")]
pub(crate) use self::{
    memories::{Memories, within},
    pool::Pool,
    tracker::{Unsupported, trial},
};
