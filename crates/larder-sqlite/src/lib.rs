//! Placeholder.

pub mod analysis;
