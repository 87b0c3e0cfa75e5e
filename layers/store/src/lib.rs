//! Where a proxy's state lives: in memory, in SQLite beside the process, or in Redis for several
//! instances.
//!
//! A store is chosen, not rewritten: what keeps state asks for it by a small trait, and one suite
//! of tests runs against every store.

pub mod board;
mod error;
pub mod ledger;
pub mod limits;
pub mod records;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(feature = "sqlite")]
pub mod sqlite;

pub use error::StoreError;
