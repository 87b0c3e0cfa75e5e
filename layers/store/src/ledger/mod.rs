//! One row a request, written behind it, and exact sums by day and month.
//!
//! | | |
//! |---|---|
//! | [`Row`] | one request: who, what, where, tokens, money, times |
//! | [`Rollup`] | sums of a day or month, [by](By) user, key, provider, model, tag and all together |
//! | [`Refusal`], [`LimitDay`] | what limits refused and how often, rolled up by day |
//! | [`Ledger`] | where they are kept: [`MemoryLedger`], SQLite, Redis |
//! | [`Writer`] | the queue in front of it: no request ever waits for a ledger |
//!
//! ```
//! use std::sync::Arc;
//! use tollway_core::Ending;
//! use tollway_store::ledger::*;
//!
//! let ledger = Arc::new(MemoryLedger::default());
//! let writer = Writer::start(ledger.clone(), WriterConfig::default()).unwrap();
//! writer.row(Row::new(1_795_305_600_000, Id::default(), Ending::Complete));
//! assert!(writer.flush(std::time::Duration::from_secs(10)));
//!
//! let day: Period = "2026-11-22".parse().unwrap();
//! let asked = TotalsOf { by: By::All, from: day, to: day, name: None };
//! assert_eq!(ledger.totals(&asked).unwrap()[0].total.requests, 1);
//! ```

mod memory;
mod period;
mod query;
mod refusal;
mod row;
mod stored;
mod total;
mod writer;

use jiff::tz::TimeZone;

pub use memory::MemoryLedger;
pub use period::{ParsePeriodError, Period, millis};
pub use query::{Old, RefusalsOf, RowsOf, TotalsOf};
pub use refusal::{LimitDay, Refusal};
pub use row::{Decided, Id, ParseIdError, Row};
pub use total::{By, NO_KEY, OTHER_KEYS, Rollup, Total};
pub use writer::{Event, Keep, Loss, Pen, Stats, Writer, WriterConfig};

#[cfg(any(feature = "sqlite", feature = "redis"))]
pub(crate) use total::FIGURES;
#[cfg(feature = "sqlite")]
pub(crate) use {
    row::{ending_name, ending_of, micros},
    stored::{tags_from_json, tags_to_json},
};

use crate::StoreError;

/// Names kept in one day or month of one kind of total, and keys in one limit's refusals of a day;
/// further ones are counted together, as [`OTHER_KEYS`].
pub const MOST_NAMES: usize = 100_000;

/// Where rows and their sums are kept. Every method may block: call it from a thread that may wait.
pub trait Ledger: Send + Sync + 'static {
    /// Adds a batch, all of it or nothing. A batch that was added before, by its id, is not added
    /// again where the ledger can't tell for sure what became of it.
    ///
    /// # Errors
    /// When it could not be written; it may be tried again.
    fn append(&self, batch: &Batch) -> Result<(), StoreError>;

    /// Rows, newest first.
    ///
    /// # Errors
    /// When it can't be read.
    fn rows(&self, asked: &RowsOf) -> Result<Vec<Row>, StoreError>;

    /// Sums, by period and name.
    ///
    /// # Errors
    /// When it can't be read.
    fn totals(&self, asked: &TotalsOf) -> Result<Vec<Rollup>, StoreError>;

    /// What limits refused, the latest first.
    ///
    /// # Errors
    /// When it can't be read.
    fn refusals(&self, asked: &RefusalsOf) -> Result<Vec<Refusal>, StoreError>;

    /// What each limit let in and refused from one day to another, both with it; by day and limit.
    ///
    /// # Errors
    /// When it can't be read.
    fn limits(&self, from: Period, to: Period) -> Result<Vec<LimitDay>, StoreError>;

    /// Removes some of what is old, so little that nobody waits long; whether there is more.
    ///
    /// # Errors
    /// When it could not be removed.
    fn clean(&self, old: &Old) -> Result<bool, StoreError>;
}

/// What is written in one step.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Tells it from all others.
    pub id: u128,
    /// Requests.
    pub rows: Vec<Row>,
    /// Their sums.
    pub totals: Vec<Rollup>,
    /// What was refused meanwhile; counts are added to those of the day.
    pub refusals: Vec<Refusal>,
    /// What limits let in and refused meanwhile; the same.
    pub limits: Vec<LimitDay>,
}

impl Batch {
    /// These rows and their sums, by days of this zone.
    pub fn of_rows(id: u128, rows: Vec<Row>, zone: &TimeZone) -> Self {
        Self { id, totals: total::roll_up(&rows, zone), rows, ..Self::default() }
    }
}
