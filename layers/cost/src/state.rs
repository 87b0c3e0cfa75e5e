//! The tables behind the totals: plain data, the date is an argument.

use std::{collections::HashMap, ops::Range, sync::Arc, time::SystemTime};

use tollway_core::{Usage, Usd};

use crate::{Event, Period, Record, TotalsConfig, period::seconds};

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

/// Sums over requests. All counts saturate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Total {
    /// Requests, refused and failed ones included.
    pub requests: u64,
    /// Requests whose tokens are an estimate; part of `requests`.
    pub estimated: u64,
    /// Requests whose tokens are known and whose price is not; part of `requests`.
    pub unpriced: u64,
    /// Tokens by class.
    pub usage: Usage,
    /// Known cost.
    pub cost: Usd,
}

impl Total {
    /// Adds one request.
    pub fn add(&mut self, usage: Option<&Usage>, cost: Option<Usd>) {
        let add = |sum: &mut u64, more: u64| *sum = sum.saturating_add(more);
        add(&mut self.requests, 1);
        self.cost = self.cost + cost.unwrap_or_default();
        let Some(usage) = usage else { return };
        add(&mut self.estimated, usage.is_estimate().into());
        add(&mut self.unpriced, cost.is_none().into());
        let sum = &mut self.usage;
        add(&mut sum.input, usage.input);
        add(&mut sum.cached, usage.cached);
        add(&mut sum.cache_write, usage.cache_write);
        add(&mut sum.cache_write_1h, usage.cache_write_1h);
        add(&mut sum.input_audio, usage.input_audio);
        add(&mut sum.output, usage.output);
        add(&mut sum.reasoning, usage.reasoning);
        add(&mut sum.output_audio, usage.output_audio);
    }
}

/// Stands for a record that has no key in a dimension (nobody served, say).
pub const NO_KEY: &str = "(none)";
/// Stands for all keys beyond the bound.
pub const OTHER_KEYS: &str = "(other)";

type Rows = HashMap<Arc<str>, Total>;

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
    /// The latest day, and the seconds since 1970 that it lasts.
    today: (Range<i64>, Period),
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
            today: (0..0, Period::day(SystemTime::UNIX_EPOCH)),
            none: NO_KEY.into(),
            other: OTHER_KEYS.into(),
        }
    }

    /// Adds `record` to the day and month that hold `at`.
    pub(crate) fn add(&mut self, record: &Record, at: SystemTime) -> Told {
        if !self.today.0.contains(&seconds(at)) {
            let day = Period::day_in(at, &self.config.zone);
            self.today = (day.lasts(&self.config.zone), day);
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
