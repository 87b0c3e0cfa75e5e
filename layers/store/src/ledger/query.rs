use std::sync::Arc;

use super::{By, Period, Row};

/// Which rows are asked for; they come newest first.
#[derive(Clone, Debug)]
pub struct RowsOf {
    /// From this moment on, in milliseconds since 1970.
    pub from: u64,
    /// Until before this moment.
    pub to: u64,
    /// Of this user only.
    pub user: Option<Arc<str>>,
    /// Of this key only.
    pub key: Option<Arc<str>>,
    /// How many at most.
    pub most: usize,
}

impl Default for RowsOf {
    /// The latest hundred.
    fn default() -> Self {
        Self { from: 0, to: u64::MAX, user: None, key: None, most: 100 }
    }
}

impl RowsOf {
    pub(crate) fn holds(&self, row: &Row) -> bool {
        let is = |asked: &Option<Arc<str>>, has: &Option<Arc<str>>| asked.is_none() || asked == has;
        (self.from..self.to).contains(&row.at)
            && is(&self.user, &row.caller.user)
            && is(&self.key, &row.caller.key)
    }
}

/// Which totals are asked for; they come by period, then by name.
#[derive(Clone, Debug)]
pub struct TotalsOf {
    /// By what.
    pub by: By,
    /// From this day or month on. Whether days or months are asked for is told by `to`.
    pub from: Period,
    /// Up to this day or month, with it.
    pub to: Period,
    /// Of this one only.
    pub name: Option<Arc<str>>,
}

impl TotalsOf {
    /// The first and the last period, both days or both months.
    pub(crate) fn bounds(&self) -> (Period, Period) {
        if self.to.is_month() { (self.from.whole_month(), self.to) } else { (self.from, self.to) }
    }

    pub(crate) fn holds(&self, period: Period) -> bool {
        let (from, to) = self.bounds();
        period.is_month() == to.is_month() && (from..=to).contains(&period)
    }
}

/// Which refusals are asked for; the latest come first.
#[derive(Clone, Debug)]
pub struct RefusalsOf {
    /// From this day on.
    pub from: Period,
    /// Of this key only.
    pub key: Option<Arc<str>>,
    /// How many at most.
    pub most: usize,
}

/// What may be removed.
#[derive(Clone, Copy, Debug)]
pub struct Old {
    /// Rows from before this moment, in milliseconds since 1970.
    pub rows: u64,
    /// Of the rows that are left, the oldest beyond this many.
    pub most_rows: u64,
    /// Totals of days, refusals and days of limits from before this day.
    pub days: Period,
    /// Totals of months before this one.
    pub months: Period,
}
