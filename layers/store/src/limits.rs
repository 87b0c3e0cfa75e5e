//! Limits: how much of a quota one key has used.
//!
//! [`State`] is the algorithm, without a lock and without a clock: token bucket, sliding window,
//! calendar window, places. Everything is a whole number, and every moment is told to it.

mod calendar;
mod state;
#[cfg(test)]
mod state_tests;

pub use calendar::Period;
pub use state::{Kind, Now, Receipt, Shape, State};
