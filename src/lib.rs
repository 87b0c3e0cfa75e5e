//! Tollway.

pub mod policy;
pub mod simulate;
