use std::{collections::HashMap, sync::Arc};

use jiff::tz::TimeZone;
use tollway_core::{Target, Usage, Usd};

use super::{Period, Row};

/// What totals are kept by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum By {
    /// All requests together; the name is empty.
    All,
    /// [`Caller::user`](tollway_core::Caller::user)
    User,
    /// [`Caller::key`](tollway_core::Caller::key)
    Key,
    /// The provider that served.
    Provider,
    /// The model that served, or the one asked for where nobody served.
    Model,
    /// A tag of the caller, as `name=value`; a request counts once for each of its tags.
    Tag,
}

impl By {
    /// Every one.
    pub const ALL: [Self; 6] =
        [Self::All, Self::User, Self::Key, Self::Provider, Self::Model, Self::Tag];

    /// The lower-case name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::User => "user",
            Self::Key => "key",
            Self::Provider => "provider",
            Self::Model => "model",
            Self::Tag => "tag",
        }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|by| by.as_str() == name)
    }
}

/// Stands for a row that has no name here (nobody served, say).
pub const NO_KEY: &str = "(none)";
/// Stands for all names beyond the bound.
pub const OTHER_KEYS: &str = "(other)";

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

/// How many figures a total has, in the order of [`Total::figures`].
pub(crate) const FIGURES: usize = 12;

impl Total {
    /// Adds one request.
    pub fn add(&mut self, usage: Option<&Usage>, cost: Option<Usd>) {
        let usage_known = usage.copied().unwrap_or_default();
        self.merge(&Self {
            requests: 1,
            estimated: usage.is_some_and(Usage::is_estimate).into(),
            unpriced: (usage.is_some() && cost.is_none()).into(),
            usage: usage_known,
            cost: cost.unwrap_or_default(),
        });
    }

    /// Adds other sums.
    pub fn merge(&mut self, more: &Self) {
        let mut sums = self.figures();
        for (sum, more) in sums.iter_mut().zip(more.figures()) {
            *sum = sum.saturating_add(more);
        }
        *self = Self::from_figures(sums);
    }

    pub(crate) fn figures(&self) -> [u64; FIGURES] {
        let of = &self.usage;
        [
            self.requests,
            self.estimated,
            self.unpriced,
            self.cost.nanos(),
            of.input,
            of.cached,
            of.cache_write,
            of.cache_write_1h,
            of.input_audio,
            of.output,
            of.reasoning,
            of.output_audio,
        ]
    }

    pub(crate) fn from_figures(figures: [u64; FIGURES]) -> Self {
        let [requests, estimated, unpriced, cost, rest @ ..] = figures;
        let mut usage = Usage::default();
        [
            usage.input,
            usage.cached,
            usage.cache_write,
            usage.cache_write_1h,
            usage.input_audio,
            usage.output,
            usage.reasoning,
            usage.output_audio,
        ] = rest;
        Self { requests, estimated, unpriced, usage, cost: Usd::from_nanos(cost) }
    }
}

/// The sums of one day or month, of one user, key, provider, model or tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rollup {
    /// Which day or month.
    pub period: Period,
    /// Totals by what.
    pub by: By,
    /// Of whom.
    pub name: Arc<str>,
    /// The sums.
    pub total: Total,
}

/// Sums up rows: each counts for the day and the month that it ended in.
pub(crate) fn roll_up(rows: &[Row], zone: &TimeZone) -> Vec<Rollup> {
    let mut sums: HashMap<(Period, By, Arc<str>), Total> = HashMap::new();
    let none: Arc<str> = NO_KEY.into();
    let all: Arc<str> = "".into();
    for row in rows {
        let day = Period::day(row.at, zone);
        let mut add = |by: By, name: &Arc<str>| {
            for period in [day, day.whole_month()] {
                let total = sums.entry((period, by, name.clone())).or_default();
                total.add(row.usage.as_ref(), row.cost);
            }
        };
        add(By::All, &all);
        add(By::User, row.caller.user.as_ref().unwrap_or(&none));
        add(By::Key, row.caller.key.as_ref().unwrap_or(&none));
        add(By::Provider, row.target.as_ref().map_or(&none, Target::provider));
        add(By::Model, row.model().unwrap_or(&none));
        for (name, value) in row.caller.tags.iter() {
            add(By::Tag, &format!("{name}={value}").into());
        }
    }
    let sums = sums.into_iter();
    sums.map(|((period, by, name), total)| Rollup { period, by, name, total }).collect()
}
