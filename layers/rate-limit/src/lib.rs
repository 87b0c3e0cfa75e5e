//! Tower layer for limits by any key, in requests, tokens, money or concurrency: reserve, then settle

mod calendar;
mod config;
mod decide;
mod error;
mod events;
mod future;
mod guard;
mod handle;
mod headers;
mod key;
mod layer;
mod limiter;
mod queue;
mod rule;
mod service;
mod settle;
mod state;
mod table;

pub use config::{ConfigError, Limit, LimitBuilder, Period, Quota, WhenFull};
pub use error::{LimitExceeded, Standing};
pub use events::{Event, EventKind};
pub use future::ResponseFuture;
pub use guard::Reservation;
pub use handle::Handle;
pub use key::{Key, Part};
pub use layer::{RateLimitLayer, RateLimitLayerBuilder};
pub use rule::{Rule, Unit};
pub use service::RateLimit;
pub use settle::Settle;
