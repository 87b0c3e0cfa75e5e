//! Limits: how much of a quota one key has used.
//!
//! [`State`] is the algorithm, without a lock and without a clock: token bucket, sliding window,
//! calendar window, places. Everything is a whole number, and every moment is told to it.
//!
//! [`SharedLimits`] is the same for several instances: all that a request wants is decided in one
//! step by the store, and settled there when it has ended. `RedisLimits` is the one that there is.

mod calendar;
#[cfg(feature = "redis")]
mod redis;
mod shared;
mod state;
#[cfg(test)]
mod state_tests;

pub use calendar::{Calendar, Period, Zone, span};
#[cfg(feature = "redis")]
pub use redis::RedisLimits;
pub use shared::{Deciding, Had, Lack, Settlement, SharedLimits, Take, Verdict, Want};
pub use state::{Kind, Now, Receipt, Shape, State};
