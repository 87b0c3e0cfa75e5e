//! Tollway.

pub mod simulate;
