//! A rate-limiting, cost-accounting, self-healing reverse proxy for LLM APIs, as a library.
//!
//! [`Proxy`] is the whole program: a [`policy`] goes in, a running proxy comes out. Every concern is
//! a Tower layer in a crate of its own, re-exported here so that one page shows them all.
//!
//! | module | what |
//! |---|---|
//! | [`identify`] | who is calling |
//! | [`dialect`] | what is asked and what was used: the wire formats |
//! | [`rate_limit`] | limits in requests, tokens, money and concurrency |
//! | [`cost`] | prices, totals |
//! | [`route`] | where to send, in which order, and why |
//! | [`retry`] | again, or elsewhere |
//! | [`circuit_breaker`] | not there, for now |
//! | [`store`] | where state lives: memory, SQLite, Redis |
//! | [`core`] | the values they tell each other |

pub mod admin;
pub mod alerts;
pub mod cli;
pub mod policy;
mod proxy;
pub mod server;
pub mod simulate;
pub mod stack;
pub mod telemetry;
pub mod upstream;

pub use proxy::{Proxy, ReloadError, Reloader, StartError};

pub use tollway_circuit_breaker as circuit_breaker;
pub use tollway_core as core;
pub use tollway_cost as cost;
pub use tollway_dialect as dialect;
pub use tollway_identify as identify;
pub use tollway_pace as pace;
pub use tollway_rate_limit as rate_limit;
pub use tollway_retry as retry;
pub use tollway_route as route;
pub use tollway_store as store;
