//! The tables behind the totals: plain data, the date is an argument.

use std::{sync::Arc, time::SystemTime};

use tollway_core::NameMap;
use tollway_store::ledger::millis;

use crate::{Event, NO_KEY, OTHER_KEYS, Period, Record, Total, TotalsConfig};

/// What totals are kept by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dimension {
    /// [`Caller::user`](tollway_core::Caller::user)
    User,
    /// [`Caller::key`](tollway_core::Caller::key)
    Key,
    /// Provider that served.
    Provider,
    /// Model that served, or the one asked for where nobody served.
    Model,
}

impl Dimension {
    /// Every dimension.
    pub const ALL: [Self; 4] = [Self::User, Self::Key, Self::Provider, Self::Model];

    /// The lower-case name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Key => "key",
            Self::Provider => "provider",
            Self::Model => "model",
        }
    }

    fn key(self, record: &Record) -> Option<&Arc<str>> {
        match self {
            Self::User => record.caller.user.as_ref(),
            Self::Key => record.caller.key.as_ref(),
            Self::Provider => record.target.as_ref().map(tollway_core::Target::provider),
            Self::Model => record.model(),
        }
    }
}

/// A quarter of an hour in milliseconds: no zone's day begins inside of one.
const QUARTER: u64 = 15 * 60 * 1000;

type Rows = NameMap<Arc<str>, Total>;

#[derive(Debug)]
struct Page {
    period: Period,
    rows: [Rows; Dimension::ALL.len()],
}

/// Pages of one granularity, oldest period first.
#[derive(Debug, Default)]
struct Pages(Vec<Page>);

impl Pages {
    /// The page of `period`. A new one beyond `keep` takes the place of the oldest other page, so
    /// a clock that jumps, in either direction, costs at most one old page and never the present.
    fn page(&mut self, period: Period, keep: usize) -> &mut Page {
        let pages = &mut self.0;
        // Nearly always the last one.
        let place = pages.iter().rposition(|page| page.period <= period);
        if let Some(place) = place.filter(|&place| pages[place].period == period) {
            return &mut pages[place];
        }
        let mut place = place.map_or(0, |place| place + 1);
        if pages.len() >= keep {
            pages.remove(0);
            place = place.saturating_sub(1);
        }
        pages.insert(place, Page { period, rows: Default::default() });
        &mut pages[place]
    }
}

#[derive(Debug)]
pub(crate) struct Tables {
    config: TotalsConfig,
    days: Pages,
    months: Pages,
    /// The latest quarter of an hour, and the day that it lies in.
    today: (u64, Period),
    none: Arc<str>,
    other: Arc<str>,
}

/// Events of one record: at most one for each dimension, by day and by month.
pub(crate) type Told = [Option<Event>; 2 * Dimension::ALL.len()];

impl Tables {
    pub(crate) fn new(config: TotalsConfig) -> Self {
        Self {
            config,
            days: Pages::default(),
            months: Pages::default(),
            today: (u64::MAX, Period::day(SystemTime::UNIX_EPOCH)),
            none: NO_KEY.into(),
            other: OTHER_KEYS.into(),
        }
    }

    /// Adds `record` to the day and month that it ended in.
    pub(crate) fn add(&mut self, record: &Record) -> Told {
        let ended = millis(record.ended());
        let quarter = ended / QUARTER;
        if self.today.0 != quarter {
            self.today = (quarter, Period::day_in(ended, &self.config.zone));
        }
        let today = self.today.1;
        let month = today.whole_month();
        let pages =
            [self.days.page(today, self.config.days), self.months.page(month, self.config.months)];
        let mut told = Told::default();
        let mut slots = told.iter_mut();
        for page in pages {
            for (dimension, rows) in Dimension::ALL.into_iter().zip(&mut page.rows) {
                let key = dimension.key(record).unwrap_or(&self.none);
                let folded = row(rows, key, self.config.max_keys, &self.other, |total| {
                    total.add(record.usage.as_ref(), record.cost);
                });
                if let (true, Some(slot)) = (folded, slots.next()) {
                    *slot = Some(Event::KeysFolded { dimension, period: page.period });
                }
            }
        }
        told
    }

    /// Adds sums that were kept elsewhere.
    pub(crate) fn restore(
        &mut self,
        dimension: Dimension,
        period: Period,
        key: &Arc<str>,
        more: &Total,
    ) {
        let page = match period.is_month() {
            true => self.months.page(period, self.config.months),
            false => self.days.page(period, self.config.days),
        };
        if let Some(rows) = page.rows.get_mut(dimension as usize) {
            row(rows, key, self.config.max_keys, &self.other, |total| total.merge(more));
        }
    }

    pub(crate) fn periods(&self) -> Vec<Period> {
        self.days.0.iter().chain(&self.months.0).map(|page| page.period).collect()
    }

    pub(crate) fn rows(&self, dimension: Dimension, period: Period) -> Vec<(Arc<str>, Total)> {
        let pages = if period.is_month() { &self.months.0 } else { &self.days.0 };
        let page = pages.iter().find(|page| page.period == period);
        let rows = page.and_then(|page| page.rows.get(dimension as usize));
        rows.into_iter().flatten().map(|(key, total)| (key.clone(), *total)).collect()
    }
}

/// Updates the row of `key`, or of `other` when there are `max` keys without it.
/// True when that was the first time.
fn row(
    rows: &mut Rows,
    key: &Arc<str>,
    max: usize,
    other: &Arc<str>,
    update: impl FnOnce(&mut Total),
) -> bool {
    if let Some(total) = rows.get_mut(key) {
        update(total);
        return false;
    }
    if rows.len() < max {
        update(rows.entry(key.clone()).or_default());
        return false;
    }
    let first = !rows.contains_key(other);
    update(rows.entry(other.clone()).or_default());
    first
}
