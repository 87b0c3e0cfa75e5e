use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tollway_core::Hook;

use crate::{
    ConfigError, Dimension, Event, Period, Record, Total, TotalsConfig,
    state::{Tables, Told},
};

/// Totals by user, key, provider and model, each by day and by month, of UTC unless
/// [`TotalsConfig::zone`] says otherwise.
///
/// A request counts for the day it ended. Memory is bounded (see [`TotalsConfig`]). An update
/// holds a mutex for eight map look-ups and allocates only for a key or period it has not seen.
/// Clones share the state; this is also the handle to read from.
///
/// ```
/// use std::time::SystemTime;
/// use tollway_core::Ending;
/// use tollway_cost::{Dimension, Period, Record, Totals};
///
/// let totals = Totals::default();
/// let record = Record::new(SystemTime::UNIX_EPOCH, Ending::Complete);
/// totals.add(&record);
/// let rows = totals.rows(Dimension::User, Period::month(SystemTime::UNIX_EPOCH));
/// assert_eq!(rows[0].1.requests, 1);
/// ```
#[derive(Clone)]
pub struct Totals {
    tables: Arc<Mutex<Tables>>,
    hook: Arc<dyn Hook<Event> + Send + Sync>,
}

/// One row of a [`Totals::snapshot`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Row {
    /// Totals by what.
    pub dimension: Dimension,
    /// Day or month.
    pub period: Period,
    /// The user, key, provider or model; [`NO_KEY`](crate::NO_KEY) and
    /// [`OTHER_KEYS`](crate::OTHER_KEYS) are not names.
    pub key: Arc<str>,
    /// The sums.
    pub total: Total,
}

impl Totals {
    /// Empty totals.
    ///
    /// # Errors
    /// When a figure in `config` is zero.
    pub fn new(config: TotalsConfig) -> Result<Self, ConfigError> {
        Ok(Self { tables: Arc::new(Mutex::new(Tables::new(config.check()?))), hook: Arc::new(()) })
    }

    /// Tells `hook` when keys begin to be folded together.
    pub fn with_hook(mut self, hook: impl Hook<Event> + Send + Sync + 'static) -> Self {
        self.hook = Arc::new(hook);
        self
    }

    /// Adds a record.
    pub fn add(&self, record: &Record) {
        let told: Told = self.lock().add(record);
        for event in told.iter().flatten() {
            self.hook.on(event);
        }
    }

    /// Adds sums that were kept elsewhere: what a process had counted before it was started anew.
    /// Periods older than those that are kept push none of these out if they come oldest first.
    pub fn restore(&self, dimension: Dimension, period: Period, key: &Arc<str>, total: &Total) {
        self.lock().restore(dimension, period, key, total);
    }

    /// Days, then months, that have totals, each oldest first.
    pub fn periods(&self) -> Vec<Period> {
        self.lock().periods()
    }

    /// The rows of one day or month, in no order; none if it saw no request or is too old.
    pub fn rows(&self, dimension: Dimension, period: Period) -> Vec<(Arc<str>, Total)> {
        self.lock().rows(dimension, period)
    }

    /// Every row there is. Requests are let in between periods, so rows of different periods
    /// may differ by those.
    pub fn snapshot(&self) -> Vec<Row> {
        let mut all = Vec::new();
        for period in self.periods() {
            for dimension in Dimension::ALL {
                let rows = self.rows(dimension, period).into_iter();
                all.extend(rows.map(|(key, total)| Row { dimension, period, key, total }));
            }
        }
        all
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Totals {
    fn default() -> Self {
        let tables = Tables::new(TotalsConfig::default());
        Self { tables: Arc::new(Mutex::new(tables)), hook: Arc::new(()) }
    }
}

impl fmt::Debug for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Totals").field("periods", &self.periods()).finish_non_exhaustive()
    }
}
