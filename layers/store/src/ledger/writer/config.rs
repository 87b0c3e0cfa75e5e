use std::{fmt, time::Duration};

use jiff::tz::TimeZone;
use tollway_core::{Hook, SystemClock, WallClock};

use super::super::{Old, Period};

/// How long things are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Rows, in days; `None`: as long as `most_rows` lets them.
    pub rows: Option<u32>,
    /// Rows at most. A flood pushes the oldest rows out; sums stay.
    pub most_rows: u64,
    /// Totals of days, refusals and days of limits, in days; `None`: for ever.
    pub days: Option<u32>,
    /// Totals of months, in days; `None`: for ever.
    pub months: Option<u32>,
}

impl Default for Keep {
    /// Rows for 90 days and ten million of them, days for two years, months for ever.
    fn default() -> Self {
        Self { rows: Some(90), most_rows: 10_000_000, days: Some(731), months: None }
    }
}

impl Keep {
    pub(super) fn old(&self, now: u64, zone: &TimeZone) -> Old {
        const DAY: u64 = 86_400_000;
        let today = Period::day_in(now, zone);
        let before = |days: Option<u32>| today.days_before(days.unwrap_or(u32::MAX));
        Old {
            rows: self.rows.map_or(0, |days| now.saturating_sub(u64::from(days) * DAY)),
            most_rows: self.most_rows,
            days: before(self.days),
            months: before(self.months).whole_month(),
        }
    }
}

/// Settings of a [`Writer`](super::Writer).
pub struct WriterConfig {
    /// Rows that may wait. One more is dropped, counted and told. Default 65,536, some 20 MB at
    /// worst.
    pub queue: usize,
    /// Rows that are written in one step; so many don't wait for `every`. Default 2,000.
    pub batch: usize,
    /// How long the first row of a batch waits for others. Default 200 ms.
    pub every: Duration,
    /// How long it is tried at the end to write what still waits. Default 5 s.
    pub last: Duration,
    /// How often is looked for what is old. Default a minute.
    pub clean_every: Duration,
    /// How long things are kept.
    pub keep: Keep,
    /// Whose days count. Default UTC.
    pub zone: TimeZone,
    /// The date. Default the machine's.
    pub clock: Box<dyn WallClock>,
    /// Is told what goes wrong. Default nobody.
    pub hook: Box<dyn Hook<Event> + Send + Sync>,
}

impl Default for WriterConfig {
    fn default() -> Self {
        Self {
            queue: 65_536,
            batch: 2_000,
            every: Duration::from_millis(200),
            last: Duration::from_secs(5),
            clean_every: Duration::from_secs(60),
            keep: Keep::default(),
            zone: TimeZone::UTC,
            clock: Box::new(SystemClock),
            hook: Box::new(()),
        }
    }
}

impl fmt::Debug for WriterConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriterConfig").finish_non_exhaustive()
    }
}

/// What a [`Writer`](super::Writer) tells.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The ledger can't be written; it is tried again, and rows wait meanwhile. Told once, until it
    /// works again.
    Failing {
        /// Why.
        why: String,
    },
    /// It works again.
    Works,
    /// Rows were dropped.
    Dropped {
        /// How many.
        rows: u64,
        /// Why.
        why: Loss,
    },
}

/// Why rows were dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Loss {
    /// As many waited as have room.
    TooMany,
    /// The ledger answers, and would never take them.
    Refused,
    /// The writer had to end, and the ledger could not be written.
    Ended,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooMany => "too many waited",
            Self::Refused => "it would not take them",
            Self::Ended => "the process ends, and it can't be written",
        })
    }
}

/// What a [`Writer`](super::Writer) has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Rows in the ledger.
    pub written: u64,
    /// Rows that are lost.
    pub dropped: u64,
    /// Rows that wait, those that are being written left out.
    pub waiting: usize,
    /// Why it can't be written at present.
    pub failing: Option<String>,
}
