use std::{collections::BTreeMap, sync::Arc};

use jiff::tz::TimeZone;
use tollway_core::{NameMap, Target, Usage, Usd};

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

/// Sums of one period, by every name; looking a name up allocates nothing.
#[derive(Debug, Default)]
struct Sums {
    all: Total,
    named: [NameMap<Arc<str>, Total>; NAMED.len()],
    tags: NameMap<Arc<str>, NameMap<Arc<str>, Total>>,
}

/// What a row has one name of, at most.
const NAMED: [By; 4] = [By::User, By::Key, By::Provider, By::Model];

impl Sums {
    fn add(&mut self, row: &Row, none: &Arc<str>) {
        let mut one = Total::default();
        one.add(row.usage.as_ref(), row.cost);
        self.all.merge(&one);
        let caller = &row.caller;
        let provider = row.target.as_ref().map(Target::provider);
        let names = [caller.user.as_ref(), caller.key.as_ref(), provider, row.model()];
        for (sums, name) in self.named.iter_mut().zip(names) {
            merge(sums, name.unwrap_or(none), &one);
        }
        for (name, value) in caller.tags.iter() {
            match self.tags.get_mut(name) {
                Some(values) => merge(values, value, &one),
                None => merge(self.tags.entry(name.clone()).or_default(), value, &one),
            }
        }
    }

    fn merge(&mut self, more: &Self) {
        self.all.merge(&more.all);
        for (sums, more) in self.named.iter_mut().zip(&more.named) {
            more.iter().for_each(|(name, total)| merge(sums, name, total));
        }
        for (name, more) in &more.tags {
            let values = self.tags.entry(name.clone()).or_default();
            more.iter().for_each(|(value, total)| merge(values, value, total));
        }
    }

    fn told(&self, period: Period, to: &mut Vec<Rollup>) {
        let mut tell = |by, name, total: &Total| {
            to.push(Rollup { period, by, name, total: *total });
        };
        tell(By::All, "".into(), &self.all);
        for (by, sums) in NAMED.into_iter().zip(&self.named) {
            sums.iter().for_each(|(name, total)| tell(by, name.clone(), total));
        }
        for (name, values) in &self.tags {
            for (value, total) in values {
                tell(By::Tag, format!("{name}={value}").into(), total);
            }
        }
    }
}

fn merge(sums: &mut NameMap<Arc<str>, Total>, name: &Arc<str>, more: &Total) {
    match sums.get_mut(name) {
        Some(sum) => sum.merge(more),
        None => {
            sums.insert(name.clone(), *more);
        }
    }
}

/// Sums up rows: each counts for the day and the month that it ended in.
pub(crate) fn roll_up(rows: &[Row], zone: &TimeZone) -> Vec<Rollup> {
    // No zone's day begins inside of a quarter of an hour.
    const QUARTER: u64 = 900_000;
    let none: Arc<str> = NO_KEY.into();
    let mut days: BTreeMap<Period, Sums> = BTreeMap::new();
    let mut latest = None;
    for row in rows {
        let quarter = row.at / QUARTER;
        let day = match latest {
            Some((same, day)) if same == quarter => day,
            _ => Period::day_in(row.at, zone),
        };
        latest = Some((quarter, day));
        days.entry(day).or_default().add(row, &none);
    }
    let mut months: BTreeMap<Period, Sums> = BTreeMap::new();
    let mut told = Vec::new();
    for (day, sums) in &days {
        sums.told(*day, &mut told);
        months.entry(day.whole_month()).or_default().merge(sums);
    }
    for (month, sums) in &months {
        sums.told(*month, &mut told);
    }
    told
}
