//! The whole proxy over real sockets: scenarios, bytes, bad input, bad providers, the command line.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests: a panic is how they fail")]

mod admin;
mod away;
mod bad_input;
mod bad_provider;
mod borrowing;
mod budgets;
mod bytes;
mod cli;
mod counted;
mod disk;
mod estimates;
mod explain;
mod hangup;
mod health;
mod keys;
mod ledger;
mod load;
mod outage;
mod pacing;
mod quotas;
mod refusals;
mod reload;
mod remote;
mod routing;
mod routing_able;
mod routing_groups;
mod routing_rules;
mod routing_told;
mod scale;
mod served;
#[cfg(feature = "redis")]
mod sharing;
#[cfg(feature = "sqlite")]
mod stopping;
mod streams;
mod support;
mod tollway_keys;
mod translate;
mod uploads;
mod windows;
