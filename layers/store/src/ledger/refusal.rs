use std::sync::Arc;

use super::Period;

/// What one limit refused one key on one day: rolled up, so that a flood fills no disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// On which day.
    pub day: Period,
    /// Name of the limit.
    pub limit: Arc<str>,
    /// Whose quota.
    pub key: Arc<str>,
    /// How often.
    pub count: u64,
    /// What the last refused request asked for, in the limit's unit.
    pub asked: u64,
    /// What there was at that time.
    pub available: u64,
    /// When the last one was refused, in milliseconds since 1970.
    pub last: u64,
}

/// How often one limit let in and refused on one day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitDay {
    /// Which day.
    pub day: Period,
    /// Name of the limit.
    pub limit: Arc<str>,
    /// Requests let in.
    pub allowed: u64,
    /// Requests refused.
    pub refused: u64,
}
