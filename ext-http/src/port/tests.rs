//! Whole programs: what comes out of them, or what stands in the way.

mod customs;
mod hostile;
mod objections;
mod whole;
