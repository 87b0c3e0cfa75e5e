//! What is known of targets from their traffic: latencies, success, speed, cost, health.
//!
//! A [`Tracker`] keeps a [`Slot`] for each target. [`TrackLayer`] fills them with what passes; a
//! [`Trip`] does the same by hand. [`Slot::figures`] reads a few atomics, so that a router can ask
//! for each target of each decision.
//!
//! ```
//! use std::time::Duration;
//! use tokio::time::Instant;
//! use tollway_core::Target;
//! use tollway_route::{Health, facts::{Config, Outcome, Tracker}};
//!
//! let tracker = Tracker::new(Config { min_samples: 1, ..Config::default() })?;
//! let slot = tracker.slot(&Target::new("groq", "main", Some("llama".into())));
//!
//! let now = Instant::now();
//! let mut trip = slot.begin(now);
//! assert_eq!(slot.figures(now).in_flight, 1);
//! trip.first_token(now + Duration::from_millis(300));
//! trip.end(now + Duration::from_millis(900), Outcome::success());
//!
//! let figures = slot.figures(now + Duration::from_secs(1));
//! let median = figures.first_token.unwrap().p50.as_secs_f64();
//! assert!((0.285..0.315).contains(&median), "within 5 %");
//! assert_eq!((figures.in_flight, figures.samples), (0, 1));
//! assert_eq!(figures.health, Health::Healthy);
//! // What has left the window counts no more.
//! assert_eq!(slot.figures(now + Duration::from_secs(600)).samples, 0);
//! # Ok::<_, tollway_route::facts::ConfigError>(())
//! ```
//!
//! The moments that are passed in are the only clock. They may come from several threads and so
//! step back a little.

mod book;
mod classify;
mod config;
mod future;
mod health;
mod layer;
mod lengths;
mod measures;
mod probe;
mod published;
mod service;
mod sketch;
mod slot;
mod snapshot;
mod tracker;
mod trip;
mod window;

pub use classify::{ByFailure, Classify, Verdict};
pub use config::{Config, ConfigError, Thresholds};
pub use future::ResponseFuture;
pub use health::Issue;
pub use layer::{CostOf, TrackLayer};
pub use probe::{Pacing, Probes};
pub use service::{TrackService, Tracked};
pub use sketch::Sketch;
pub use slot::{PastError, Slot};
pub use snapshot::{GroupFacts, Snapshot, TargetFacts};
pub use tracker::Tracker;
pub use trip::{Outcome, Trip};

use std::time::Duration;

/// Nanoseconds since a tracker was made.
type Nanos = u64;

fn nanos(time: Duration) -> Nanos {
    time.as_secs().saturating_mul(1_000_000_000).saturating_add(time.subsec_nanos().into())
}
