use std::{fmt::Write as _, sync::Arc};

use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tollway_core::Usd;
use tollway_rate_limit::Unit;

use super::told::Seen;

/// How grave an alert is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// A budget that was nearly or wholly spent has begun anew.
    Info,
    /// The mark to warn at was crossed.
    Warning,
    /// It is spent, or a request found too little of it.
    Critical,
}

impl Level {
    /// In small letters.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// A period of the calendar, in nanoseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its first moment.
    pub start: u64,
    /// The next period's first moment.
    pub end: u64,
}

/// What is told of a limit and key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// The same for the same limit, key, period and level, in every instance and after a restart.
    pub id: String,
    /// How grave it is.
    pub level: Level,
    /// The limit's name.
    pub limit: Arc<str>,
    /// Whose quota.
    pub key: String,
    /// What the limit counts.
    pub unit: Unit,
    /// What was used and what there is, where that is known.
    pub figures: Option<(u64, u64)>,
    /// The period; `None`: the limit has none.
    pub period: Option<Span>,
    /// When it happened, in nanoseconds since 1970.
    pub at: u64,
}

impl Alert {
    pub(super) fn new(
        seen: Seen<'_>,
        level: Level,
        figures: Option<(u64, u64)>,
        period: Option<Span>,
        at: u64,
        since: u64,
    ) -> Self {
        let key = seen.key.to_string();
        let mut hash = Sha256::new();
        for part in [seen.limit, key.as_str(), level.as_str()] {
            hash.update(part.len().to_be_bytes());
            hash.update(part);
        }
        hash.update(since.to_be_bytes());
        let id = hex(hash.finalize().get(..16).unwrap_or_default());
        let (limit, unit) = (seen.limit.clone(), seen.unit);
        Self { id, level, limit, key, unit, figures, period, at }
    }

    /// In one sentence.
    pub fn text(&self) -> String {
        let what = match (self.level, self.unit) {
            (Level::Info, _) => "has begun anew",
            (Level::Warning, _) => "is nearly used up",
            (Level::Critical, Unit::NanoUsd) => "is spent",
            (Level::Critical, _) => "is used up",
        };
        let mut text = format!("limit {} of {} {what}", self.limit, self.key);
        if let Some((used, of)) = self.figures {
            let (used, of, unit) = match self.unit {
                Unit::NanoUsd => {
                    let usd = |nanos| Usd::from_nanos(nanos).to_string();
                    (usd(used), usd(of), "USD")
                }
                unit => (used.to_string(), of.to_string(), unit.as_str()),
            };
            // A text never fails to be written to.
            let _ = write!(text, ": {used} of {of} {unit}");
        }
        if let (Some(period), true) = (self.period, self.level != Level::Info) {
            let _ = write!(text, ", until {}", date(period.end));
        }
        text
    }

    /// As the webhook is told.
    pub fn json(&self) -> Value {
        let number = |amount: u64| match self.unit {
            Unit::NanoUsd => json!(amount as f64 / 1e9),
            _ => json!(amount),
        };
        let unit = match self.unit {
            Unit::NanoUsd => "usd",
            unit => unit.as_str(),
        };
        let figures = self.figures.map(|(used, of)| (number(used), number(of)));
        let (used, of) = figures.unzip();
        json!({
            "id": self.id,
            "at": date(self.at),
            "level": self.level.as_str(),
            "limit": &*self.limit,
            "key": self.key,
            "unit": unit,
            "used": used,
            "of": of,
            "period": self.period.map(|it| json!({ "start": date(it.start), "end": date(it.end) })),
            "text": self.text(),
        })
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn date(nanos: u64) -> String {
    let at = i64::try_from(nanos / 1_000_000).unwrap_or(i64::MAX);
    Timestamp::from_millisecond(at).unwrap_or(Timestamp::MAX).to_string()
}
