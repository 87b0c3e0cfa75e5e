//! The whole proxy over real sockets: scenarios, bytes, bad input, bad providers, the command line.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests: a panic is how they fail")]

mod admin;
mod bad_input;
mod bad_provider;
mod budgets;
mod bytes;
mod cli;
mod counted;
mod estimates;
mod explain;
mod hangup;
mod health;
mod keys;
mod ledger;
mod load;
mod outage;
mod pacing;
mod refusals;
mod reload;
mod remote;
mod routing;
mod routing_able;
mod routing_rules;
mod routing_told;
#[cfg(feature = "redis")]
mod sharing;
mod streams;
mod support;
mod translate;
mod uploads;
mod windows;
