//! Limits: how much of a quota one key has used.
//!
//! [`State`] is the algorithm, without a lock and without a clock: token bucket, sliding window,
//! calendar window, places. Everything is a whole number, and every moment is told to it.
//!
//! [`SharedLimits`] is the same for several instances: all that a request wants is decided in one
//! step by the store, and settled there when it has ended. `RedisLimits` is the one that there is.
//! [`LimitJournal`] is for a single process: its own memory decides, and outlives it.

mod calendar;
mod journal;
#[cfg(feature = "redis")]
mod redis;
mod reshape;
mod shared;
#[cfg(feature = "redis")]
mod slices;
#[cfg(all(test, feature = "redis"))]
mod slices_tests;
mod state;
#[cfg(test)]
mod state_tests;
mod window;

pub use calendar::{Calendar, Period, Zone, span};
pub use journal::{LimitJournal, Saved};
#[cfg(feature = "redis")]
pub use redis::RedisLimits;
pub use shared::{
    Crossing, Deciding, Figures, Finding, Had, Lack, Looking, Resetting, Seen, Settlement,
    SharedLimits, Take, Tell, Verdict, Want,
};
pub use state::{Kind, Now, Receipt, Shape, State};
